// Prints which of the SDK's modules a plugin imports, of those whose powers an operator has to grant, one a line.
// Nothing of the plugin runs: its files are parsed, from its main file along relative imports. The packages of others
// cannot reach the SDK.
//
// node --experimental-vm-modules uses.mjs MAIN POWER…

import { readFileSync, statSync } from "node:fs";
import { pathToFileURL } from "node:url";
import vm from "node:vm";

const [main, ...powers] = process.argv.slice(2);
const open = [pathToFileURL(main).href];
const seen = new Set(open);
const used = new Set();

while (open.length) {
  const file = open.pop();
  for (const name of imports(file)) {
    const power = powers.find((power) => name === `hostler-guest/${power}`);
    if (power) used.add(power);
    const next = /^\.\.?\//.test(name) ? found(new URL(name, file).href) : undefined;
    if (next && !seen.has(next)) {
      seen.add(next);
      open.push(next);
    }
  }
}
for (const power of used) console.log(power);

/** What a file imports. Of one that cannot be parsed the compiler tells, with its reasons. */
function imports(file) {
  try {
    const module = new vm.SourceTextModule(readFileSync(new URL(file), "utf8"));
    // Named otherwise by newer releases.
    return module.moduleRequests?.map(({ specifier }) => specifier) ?? module.dependencySpecifiers;
  } catch {
    return [];
  }
}

function found(url) {
  return ["", ".js", ".mjs", "/index.js"].map((end) => url + end).find((url) => {
    return statSync(new URL(url), { throwIfNoEntry: false })?.isFile();
  });
}
