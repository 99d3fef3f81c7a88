// Sends other tasks: those that the plugin's grants name (`[send]` in `PLUGIN.toml`), and not without end.
//
//     import * as tasks from "hostler-guest/tasks";
//
//     tasks.send("image.thumbnail", { page: 1 }, { key: "page 1" });

import { Failure } from "./failure.js";
import { power } from "./power.js";
import { encode } from "./text.js";

const host = power("tasks");

/**
 * Sends a task into this task's queue, with its priority, and returns its id. It is on disk then.
 *
 * Under a key, of 1 to 200 bytes, this task sends it once: a later attempt gets the same id. Without one, each attempt
 * sends another one. It starts no sooner than after the delay.
 *
 * Throws a Failure SEND_FAILED, with the reason: no grant covers it, a limit is reached (which one), there is no such
 * task, the key stands for something else, or storage failed.
 *
 * @param {string} task its full name, such as "text.word_count"
 * @param {unknown} args JSON
 * @param {{ key?: string, delayMs?: number }} [how]
 * @returns {string}
 */
export function send(task, args, { key, delayMs } = {}) {
  try {
    return host().send(task, encode(JSON.stringify(args ?? null)), key ?? null, whole(delayMs ?? null));
  } catch (why) {
    throw new Failure("SEND_FAILED", `sending ${task}: ${why?.payload ?? why?.message ?? why}`);
  }
}

function whole(ms) {
  if (ms === null) return null;
  if (!Number.isFinite(ms) || ms < 0) throw new TypeError(`a task cannot be delayed by ${ms} ms`);
  return Math.min(Math.round(ms), Number.MAX_SAFE_INTEGER);
}
