// For unit tests of a plugin, natively: what a task asks for, and what it said.

import { buckets, sends } from "./fakes.js";
import { NOWHERE, enter } from "./host.js";
import { describe as descriptor, run, tasksOf } from "./serve.js";
import { decode, encode } from "./text.js";

/**
 * Calls `body` as if in an attempt: `{ id, number, retries, remainingMs, previousError, cancelled, kept, buckets }`, each
 * with a default. Returns `{ result, error, logs, progress, kept, sent, buckets }`:
 *
 * - what `body` threw is in `error`;
 * - the durable steps are in `kept`, those of earlier attempts in `facts.kept` among them;
 * - the tasks sent are in `sent`, as `{ id, task, args, key, delayMs }`, one for each key;
 * - the values are in `buckets`, as `{ bucket: { key: value } }`, and so are those in `facts.buckets` that were there
 *   before: a string, or a Uint8Array if it is no UTF-8. Every send and every bucket is granted.
 */
export function withAttempt(facts, body) {
  const seen = { result: undefined, error: undefined, logs: [], progress: [], kept: { ...facts.kept }, sent: [] };
  const attempt = { ...NOWHERE.attempt };
  for (const [name, value] of Object.entries(facts)) {
    if (!["cancelled", "kept", "buckets"].includes(name)) attempt[name] = () => value;
  }
  const values = buckets(facts.buckets);
  const before = enter({
    attempt,
    log: { write: (level, message) => seen.logs.push({ level, message }) },
    progress: { report: (fraction, note) => seen.progress.push({ fraction, note }) },
    cancellation: { requested: () => facts.cancelled ?? false },
    checkpoint: {
      recall: (name) => (Object.hasOwn(seen.kept, name) ? encode(JSON.stringify(seen.kept[name])) : null),
      keep: (name, value) => void (seen.kept[name] = JSON.parse(decode(value))),
    },
    tasks: sends(seen.sent),
    keyvalue: values.host,
  });
  try {
    seen.result = body();
  } catch (error) {
    seen.error = error;
  } finally {
    enter(before);
    seen.buckets = values.all();
  }
  return seen;
}

/** Calls a task of a module as the host does: through JSON, with its arguments checked. Throws a Failure. */
export function call(module, task, args) {
  return JSON.parse(run({ name: "test" }, tasksOf(module), task, JSON.stringify(args)));
}

/** What the host will read of a module: names, schemas, policies. */
export function describe(module) {
  return descriptor({ name: "test", version: "0.0.0" }, tasksOf(module));
}
