// What an operator has to grant. A plugin that imports one of these modules is a plugin that uses the power: `hostler
// build` gives the component the host's interfaces for it, and for nothing that no module imports. So nothing else in
// this package imports them.

import { host } from "./host.js";

const imported = new Set();

/** The way to a power, for the module of its name. */
export function power(name) {
  imported.add(name);
  return () => host()[name];
}

/** Refuses a component whose plugin imports more than its build saw. */
export function check(given) {
  for (const name of imported) {
    if (name in given) continue;
    throw new TypeError(
      `the plugin imports hostler-guest/${name} where \`hostler build\` does not look: let its main file, or a file ` +
        "that this imports by a relative path, import it",
    );
  }
}
