// The component's side: the only file that names the host's interfaces. `hostler build` writes the module that calls it,
// and names there those that have to be granted, if the plugin uses them.

import * as attempt from "hostler:plugin/attempt@0.1.0";
import * as cancellation from "hostler:plugin/cancellation@0.1.0";
import * as checkpoint from "hostler:plugin/checkpoint@0.1.0";
import * as hostLog from "hostler:plugin/log@0.1.0";
import * as progress from "hostler:plugin/progress@0.1.0";

import { enter, log } from "./host.js";
import { check } from "./power.js";
import { describe, run, tasksOf } from "./serve.js";
import { decode, encode } from "./text.js";

/** The exported interface `guest` of a plugin's module, which has these powers beyond what every plugin has. */
export function component(plugin, module, powers) {
  check(powers);
  const tasks = tasksOf(module);
  return {
    describe: () => encode(JSON.stringify(describe(plugin, tasks))),
    run(task, args) {
      enter({ attempt, cancellation, checkpoint, log: hostLog, progress, ...powers });
      // The engine has none, and the module's own code ran when the component was built.
      globalThis.console = { ...log, log: log.info };
      Math.random = generator(`${attempt.id()} ${attempt.number()}`);
      try {
        return encode(run(plugin, tasks, task, decode(args), log.error));
      } catch (failure) {
        throw wire(failure);
      }
    },
  };
}

function wire({ code, message, data, retry }) {
  let bytes = null;
  try {
    bytes = data === undefined ? null : encode(JSON.stringify(data));
  } catch (error) {
    message += ` (its data is lost: ${error.message})`;
  }
  return { code, message, data: bytes, retry };
}

/**
 * The engine's own generator was seeded when the component was built: every attempt would get the same numbers. These
 * differ from attempt to attempt; they are no secrets.
 */
function generator(seed) {
  let state = Math.floor(Date.now()) >>> 0;
  for (const letter of seed) state = Math.imul(state ^ letter.charCodeAt(0), 0x01000193);
  const next = () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
  return () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53;
}
