import assert from "node:assert/strict";
import { test } from "node:test";

import { Failure, attempt, cancellation, checkpoint, exponential, fixed, log, progress, task } from "../index.js";
import { misfit } from "../schema.js";
import { call, describe, withAttempt } from "../testing.js";
import { decode, encode } from "../text.js";
import { bytes, milliseconds } from "../units.js";

const wordCount = task(
  {
    description: "Counts words.",
    args: { type: "object", properties: { text: { type: "string" } }, required: ["text"] },
    retries: 3,
    backoff: exponential({ base: "1s", max: "1m" }),
    timeout: "1h30m",
    memory: "64 MiB",
  },
  ({ text }) => ({ words: text.split(" ").length }),
);
const broken = task(() => null.length);
const picky = task(() => {
  throw new Failure("SOLD_OUT", "none left").retryAfter(1500).withData({ max: 5 });
});
const odd = { async: task(() => Promise.resolve(1)), cyclic: task(cycle), nothing: task(() => {}) };

function cycle() {
  const self = {};
  self.self = self;
  return self;
}

test("a task stays a function", () => {
  assert.deepEqual(wordCount({ text: "a b" }), { words: 2 });
});

test("exported tasks are described under their names in snake case, and nothing else is", () => {
  const { tasks } = describe({ wordCount, helper: () => 1, LIMIT: 5, toJSON: odd.nothing });
  assert.deepEqual(tasks.map(({ name }) => name), ["word_count", "to_json"]);
  assert.deepEqual(tasks[0].policy, {
    max_retries: 3,
    backoff: { kind: "exponential", base_ms: 1000, factor: 2, max_ms: 60_000 },
    timeout_ms: 5_400_000,
    memory_bytes_max: 64 << 20,
  });
  assert.deepEqual(fixed("1s", "5s"), { kind: "fixed", delays_ms: [1000, 5000] });
  assert.throws(() => describe({ helper: () => 1 }), /no task/);
  assert.throws(() => describe({ wordCount, word_count: wordCount }), /two exports/);
  assert.throws(() => task({ retrys: 3 }, () => 1), /no option retrys/);
});

test("calls go through JSON, and misfits name their place", () => {
  assert.deepEqual(call({ wordCount }, "word_count", { text: "a b c" }), { words: 3 });
  const refused = (args) => {
    try {
      call({ wordCount }, "word_count", args);
    } catch (failure) {
      return [failure.code, failure.message, failure.data.path, failure.retry.tag];
    }
    return assert.fail("it was accepted");
  };
  assert.deepEqual(refused({ text: 7 }), [
    "ARGUMENT_TYPE_MISMATCH",
    "at /text: it is number and not string",
    "/text",
    "never",
  ]);
  assert.deepEqual(refused({}), ["ARGUMENT_TYPE_MISMATCH", '"text" is missing', ".", "never"]);
  assert.throws(() => call({ wordCount }, "nope", {}), { code: "WORKER_RESOLUTION_ERROR" });
});

test("schemas are checked where they say what shape there is", () => {
  const schema = {
    type: ["object", "null"],
    properties: { kind: { enum: ["a", "b"] }, rows: { type: "array", items: { type: "integer" } }, one: { const: 1 } },
    additionalProperties: false,
  };
  for (const fits of [null, {}, { kind: "a", rows: [1, 2], one: 1 }]) assert.equal(misfit(schema, fits), null);
  const wrong = [
    [[], ""],
    [{ kind: "c" }, "/kind"],
    [{ rows: [1, 1.5] }, "/rows/1"],
    [{ rows: {} }, "/rows"],
    [{ one: 2 }, "/one"],
    [{ other: 1 }, "/other"],
  ];
  for (const [value, path] of wrong) assert.equal(misfit(schema, value)?.path, path, JSON.stringify(value));
});

test("failures, exceptions and results that are no JSON are told apart", () => {
  const failing = (module, name) => {
    try {
      call(module, name, {});
    } catch (failure) {
      return failure;
    }
    return assert.fail("it did not fail");
  };
  const sold = failing({ picky }, "picky");
  assert.deepEqual([sold.code, sold.data, sold.retry], ["SOLD_OUT", { max: 5 }, { tag: "after-ms", val: 1500 }]);
  assert.match(failing({ broken }, "broken").message, /^TypeError: /);
  assert.equal(failing({ broken }, "broken").code, "TASK_FAILED");
  for (const name of ["async", "cyclic"]) assert.equal(failing(odd, name).code, "RESULT_NOT_JSON");
  assert.equal(call(odd, "nothing", {}), null);
  assert.throws(() => new Failure("A", "b").retryAfter(-1), TypeError);
});

test("a test sees what a task saw and said", () => {
  const seen = withAttempt({ number: 2, id: "x", cancelled: true }, () => {
    log.info("attempt", attempt.number(), { of: attempt.id() });
    progress.report(0.5, "half");
    return cancellation.requested();
  });
  assert.equal(seen.result, true);
  assert.deepEqual(seen.logs, [{ level: "info", message: 'attempt 2 {"of":"x"}' }]);
  assert.deepEqual(seen.progress, [{ fraction: 0.5, note: "half" }]);
  assert.equal(withAttempt({}, () => picky()).error.code, "SOLD_OUT");
});

test("a step is done once", () => {
  const seen = withAttempt({ kept: { one: 7 } }, () => [
    checkpoint.step("one", () => assert.fail("it was done before")),
    checkpoint.step("two", () => 8),
    checkpoint.step("two", () => 9),
    checkpoint.recall("three"),
  ]);
  assert.deepEqual([seen.result, seen.kept], [[7, 8, 8, undefined], { one: 7, two: 8 }]);
});

test("units", () => {
  assert.equal(milliseconds("1d 2h3m4s5ms", ""), 93_784_005);
  assert.equal(bytes("4 GiB", ""), 2 ** 32);
  for (const slip of ["", "5", "1m1h", "1.5s", "1s1s"]) assert.throws(() => milliseconds(slip, "timeout"), /timeout/);
  for (const slip of ["", "64", "64 MB", "-1 B"]) assert.throws(() => bytes(slip, "memory"), /memory/);
});

test("text survives", () => {
  for (const text of ["", "plain", "äöü – 日本 🦀", "x".repeat(5000) + "é".repeat(5000), "\u0000\u007f\u0080"]) {
    assert.deepEqual(encode(text), new Uint8Array(Buffer.from(text)), text.slice(0, 20));
    assert.equal(decode(encode(text)), text);
  }
});
