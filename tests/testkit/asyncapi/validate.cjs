// The diagnostics of AsyncAPI's own parser: node validate.cjs NODE_MODULES DOCUMENT. Prints a JSON array; exit code 0.
const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");

const [modules, document] = process.argv.slice(2);
const { Parser } = createRequire(`${modules}/`)("@asyncapi/parser");

new Parser().validate(readFileSync(document, "utf-8")).then((diagnostics) => {
  const found = diagnostics.map(({ severity, code, message, path }) => ({ severity, code, message, path }));
  process.stdout.write(JSON.stringify(found));
});
