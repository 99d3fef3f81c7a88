// Buckets of values that outlive the task (`wasi:keyvalue`). The plugin's grants name them (`[keyvalue]` in
// `PLUGIN.toml`).
//
//     import * as keyvalue from "hostler-guest/keyvalue";
//
//     const visits = keyvalue.bucket("visits");
//     const seen = visits.increment("page");

import { Failure } from "./failure.js";
import { power } from "./power.js";
import { decode, encode } from "./text.js";

const host = power("keyvalue");

/** The bucket of this name. It is opened where it is first used, so it may stand outside of any task. */
export const bucket = (name) => new Bucket(name);

/**
 * A bucket. What is written is on disk when the call returns. Each call is a transaction of its own.
 *
 * Each throws a Failure KEYVALUE_FAILED, with the reason: the bucket is not granted, it is full, or storage failed.
 */
export class Bucket {
  #name;
  #opened = [];

  /** Use `bucket`. */
  constructor(name) {
    this.#name = name;
  }

  /** The bytes under a key, or undefined. */
  get(key) {
    return this.#with((open) => open.get(key) ?? undefined);
  }

  /** What is under a key as text, which has to be UTF-8, or undefined. */
  text(key) {
    return this.#with((open) => {
      const value = open.get(key) ?? undefined;
      return value && decode(value);
    });
  }

  /** Writes bytes, or a string as UTF-8, in place of what was there. */
  set(key, value) {
    this.#with((open) => open.set(key, typeof value === "string" ? encode(value) : value));
  }

  /** Deletes what is under a key, if there is anything. */
  delete(key) {
    this.#with((open) => open.delete(key));
  }

  /** Whether there is anything under a key. */
  exists(key) {
    return this.#with((open) => open.exists(key));
  }

  /** All keys, in the order in which they were first written. They are asked for as they are needed. */
  *keys() {
    let cursor = null;
    do {
      const page = this.#with((open) => open.listKeys(cursor));
      yield* page.keys;
      cursor = page.cursor ?? null;
    } while (cursor !== null);
  }

  /** Adds to the decimal number under a key, 0 if there is none, and returns the sum. Nobody comes between. */
  increment(key, delta = 1) {
    return this.#with((open) => {
      if (!Number.isSafeInteger(delta) || delta < 0) {
        throw new TypeError(`${delta} cannot be added: it is no whole number`);
      }
      return Number(host().increment(open, key, delta));
    });
  }

  #with(call) {
    try {
      const now = host();
      // A handle is worth nothing under another host: after the build, or in the next test.
      if (this.#opened[0] !== now) this.#opened = [now, now.open(this.#name)];
      return call(this.#opened[1]);
    } catch (why) {
      throw new Failure("KEYVALUE_FAILED", `the bucket ${JSON.stringify(this.#name)}: ${words(why?.payload ?? why)}`);
    }
  }
}

function words(error) {
  if (error?.tag === "access-denied") return "it is not granted";
  if (error?.tag === "no-such-store") return "there is none of this name";
  return error?.val ?? error?.message ?? error;
}
