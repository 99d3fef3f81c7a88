// For unit tests of a plugin, natively: what a task asks for, and what it said.

import { NOWHERE, enter } from "./host.js";
import { describe as descriptor, run, tasksOf } from "./serve.js";

/**
 * Calls `body` as if in an attempt: `{ id, number, retries, remainingMs, previousError, cancelled }`, each with a
 * default. Returns `{ result, error, logs, progress }`; what `body` threw is in `error`.
 */
export function withAttempt(facts, body) {
  const seen = { result: undefined, error: undefined, logs: [], progress: [] };
  const attempt = { ...NOWHERE.attempt };
  for (const [name, value] of Object.entries(facts)) {
    if (name !== "cancelled") attempt[name] = () => value;
  }
  const before = enter({
    attempt,
    log: { write: (level, message) => seen.logs.push({ level, message }) },
    progress: { report: (fraction, note) => seen.progress.push({ fraction, note }) },
    cancellation: { requested: () => facts.cancelled ?? false },
  });
  try {
    seen.result = body();
  } catch (error) {
    seen.error = error;
  } finally {
    enter(before);
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
