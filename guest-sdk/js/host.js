// What a running task may ask of its host. In a component this is the host itself; natively it is the scope of a test.

import { Failure } from "./failure.js";
import { decode, encode } from "./text.js";

/** What a task sees where nobody said anything else. */
export const NOWHERE = {
  attempt: {
    id: () => "00000000-0000-0000-0000-000000000000",
    number: () => 1,
    retries: () => 0,
    remainingMs: () => 60_000,
    previousError: () => null,
  },
  log: { write: (level, message) => console.error(`${level}: ${message}`) },
  progress: { report: () => {} },
  cancellation: { requested: () => false },
  checkpoint: { recall: () => null, keep: () => {} },
  tasks: { send: () => NOWHERE.attempt.id() },
  keyvalue: {
    open: () => ({
      get: () => null,
      set: () => {},
      delete: () => {},
      exists: () => false,
      listKeys: () => ({ keys: [], cursor: null }),
    }),
    increment: (bucket, key, delta) => delta,
  },
};

let current = NOWHERE;

/** What the helpers of other modules ask. */
export const host = () => current;

/** Lets tasks meet another host, and returns the one before. For `component.js` and `testing.js`. */
export function enter(host) {
  const before = current;
  current = host;
  return before;
}

/** The attempt that is running. */
export const attempt = {
  /** The task's id, a UUID; the same in every attempt: make outside effects idempotent with it. */
  id: () => current.attempt.id(),
  /** The attempt's number, from 1. */
  number: () => current.attempt.number(),
  /** How many failed attempts were retried before this one. */
  retries: () => current.attempt.retries(),
  /** Milliseconds left until the host ends this attempt. */
  remainingMs: () => Number(current.attempt.remainingMs()),
  /** The code the attempt before this one ended with, or null. */
  previousError: () => current.attempt.previousError() ?? null,
};

const write = (level) => (...words) => current.log.write(level, words.map(text).join(" "));

/** Log lines, kept with the attempt. Anything that is no string is written as JSON. */
export const log = {
  trace: write("trace"),
  debug: write("debug"),
  info: write("info"),
  warn: write("warn"),
  error: write("error"),
};

/** Tells whoever waits how far the attempt is. */
export const progress = {
  /** A fraction from 0 to 1 and a short note. */
  report: (fraction, note = "") => current.progress.report(fraction, String(note)),
};

/** Cooperative cancellation. */
export const cancellation = {
  /** Whether somebody wants this task to stop: return what you have. */
  requested: () => current.cancellation.requested(),
};

/** Durable steps: what an attempt keeps, the attempts after it find, whatever ended this one. */
export const checkpoint = {
  /** What this step gave when it was done before; else does it, and keeps what it gives, which is JSON. */
  step(name, body) {
    const kept = checkpoint.recall(name);
    if (kept !== undefined) return kept;
    const value = body() ?? null;
    checkpoint.keep(name, value);
    return value;
  },
  /** What this attempt or an earlier one kept under this name, or undefined. */
  recall(name) {
    const kept = trying(name, () => current.checkpoint.recall(name));
    return kept === null || kept === undefined ? undefined : JSON.parse(decode(kept));
  },
  /** Keeps a value, at most 1 MiB as JSON. It is on disk when this returns. */
  keep(name, value) {
    trying(name, () => current.checkpoint.keep(name, encode(JSON.stringify(value))));
  },
};

function trying(name, call) {
  try {
    return call();
  } catch (why) {
    throw new Failure("CHECKPOINT_FAILED", `the step ${JSON.stringify(name)}: ${why?.message ?? why?.payload ?? why}`);
  }
}

function text(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return value.stack ? `${value}\n${value.stack}` : String(value);
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}
