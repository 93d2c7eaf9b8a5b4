// The diagnostics of AsyncAPI's own parser: node validate.cjs NODE_MODULES DOCUMENT... Prints a JSON array with an array
// for each document; exit code 0.
const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");

const [modules, ...documents] = process.argv.slice(2);
const { Parser } = createRequire(`${modules}/`)("@asyncapi/parser");

async function diagnostics(document) {
  const found = await new Parser().validate(readFileSync(document, "utf-8"));
  return found.map(({ severity, code, message, path }) => ({ severity, code, message, path }));
}

async function main() {
  const found = [];
  for (const document of documents) found.push(await diagnostics(document));
  process.stdout.write(JSON.stringify(found));
}

main();
