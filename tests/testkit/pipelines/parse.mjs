// The errors of GitHub's own parser: node parse.mjs NODE_MODULES FILE… Prints a JSON array of "file: message".
// A file named action.yml is an action, any other one a workflow.
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { basename } from "node:path";
import { pathToFileURL } from "node:url";

// The package imports its schemas without the attribute that Node.js demands: it is made for bundlers.
registerHooks({
  load: (url, context, next) =>
    next(url, url.endsWith(".json") ? { ...context, importAttributes: { type: "json" } } : context),
});
const [modules, ...files] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(`${modules}/@actions/workflow-parser/dist/${path}`).href);
const { NoOperationTraceWriter, convertWorkflowTemplate, parseWorkflow } = await load("index.js");
const { parseAction } = await load("actions/action-parser.js");

const errors = [];
for (const name of files) {
  const file = { name, content: readFileSync(name, "utf-8") };
  const isAction = basename(name) === "action.yml";
  const { context, value } = (isAction ? parseAction : parseWorkflow)(file, new NoOperationTraceWriter());
  if (value && !isAction) await convertWorkflowTemplate(context, value);
  errors.push(...context.errors.getErrors().map((error) => `${basename(name)}: ${error.message}`));
}
process.stdout.write(JSON.stringify(errors));
