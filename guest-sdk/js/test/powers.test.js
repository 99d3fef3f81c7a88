import assert from "node:assert/strict";
import { test } from "node:test";

import { Failure } from "../index.js";
import { enter } from "../host.js";
import * as keyvalue from "../keyvalue.js";
import { check } from "../power.js";
import * as tasks from "../tasks.js";
import { withAttempt } from "../testing.js";

// Outside of any attempt, as at the top of a plugin's module.
const visits = keyvalue.bucket("visits");

test("what is sent is seen, and a key is sent once", () => {
  const seen = withAttempt({}, () => [
    tasks.send("text.word_count", { text: "Grüße 🦀" }, { key: "a" }),
    tasks.send("text.word_count", { text: "Grüße 🦀" }, { key: "a", delayMs: 7 }),
    tasks.send("text.word_count", undefined, { delayMs: 1000.4 }),
  ]);
  const [first, again, delayed] = seen.result;
  assert.equal(first, again);
  assert.notEqual(first, delayed);
  assert.deepEqual(seen.sent, [
    { id: first, task: "text.word_count", args: { text: "Grüße 🦀" }, key: "a", delayMs: undefined },
    { id: delayed, task: "text.word_count", args: null, key: undefined, delayMs: 1000 },
  ]);
});

test("what is not sent is a failure with the reason", () => {
  const seen = withAttempt({}, () => {
    tasks.send("a.b", 1, { key: "k" });
    tasks.send("a.b", 2, { key: "k" });
  });
  assert.ok(seen.error instanceof Failure);
  assert.equal(seen.error.code, "SEND_FAILED");
  assert.match(seen.error.message, /^sending a\.b: KEY_CONFLICT: /);
  for (const delayMs of [-1, NaN, "1"]) {
    assert.match(withAttempt({}, () => tasks.send("a.b", 1, { delayMs })).error.message, /cannot be delayed/);
  }
  const cycle = {};
  cycle.self = cycle;
  assert.equal(withAttempt({}, () => tasks.send("a.b", cycle)).error.code, "SEND_FAILED");
});

test("values are kept, read and counted", () => {
  const before = { visits: { page: "41", raw: [255, 0], gone: "x", ["__proto__"]: "own" }, other: {} };
  const seen = withAttempt({ buckets: before }, () => {
    visits.set("text", "Grüße 🦀");
    visits.set("bytes", Uint8Array.of(254));
    visits.delete("gone");
    visits.delete("never");
    return [
      visits.increment("page"),
      visits.increment("new", 5),
      visits.get("raw"),
      visits.get("gone"),
      visits.text("text"),
      visits.text("gone"),
      [visits.exists("text"), visits.exists("gone")],
      [...visits.keys()].slice(0, 2),
    ];
  });
  assert.deepEqual(seen.result, [
    42, 5, Uint8Array.of(255, 0), undefined, "Grüße 🦀", undefined, [true, false], ["page", "raw"],
  ]);
  const { page, raw, text, bytes, ...rest } = seen.buckets.visits;
  assert.deepEqual([page, raw, text, bytes], ["42", Uint8Array.of(255, 0), "Grüße 🦀", Uint8Array.of(254)]);
  assert.deepEqual([Object.keys(rest).sort(), seen.buckets.other], [["__proto__", "new"], {}]);
  assert.deepEqual(withAttempt({}, () => visits.get("page")).result, undefined, "another test has other buckets");
});

test("what is not kept is a failure with the reason", () => {
  const failing = (body, buckets) => withAttempt({ buckets }, body).error;
  const odd = failing(() => visits.increment("x"), { visits: { x: "many" } });
  assert.ok(odd instanceof Failure);
  assert.deepEqual([odd.code, odd.message], [
    "KEYVALUE_FAILED",
    'the bucket "visits": the value is no decimal number',
  ]);
  for (const delta of [-1, 0.5, "1"]) assert.match(failing(() => visits.increment("x", delta)).message, /no whole number/);
});

test("all pages of keys are asked for, and the host's errors are told in words", () => {
  const pages = { none: { keys: ["a", "b"], cursor: 7 }, 7: { keys: [], cursor: 9 }, 9: { keys: ["c"], cursor: null } };
  const open = (name) => {
    if (name === "visits") return { listKeys: (cursor) => pages[cursor ?? "none"] };
    throw { tag: name };
  };
  const before = enter({ keyvalue: { open } });
  try {
    assert.deepEqual([...visits.keys()], ["a", "b", "c"]);
    assert.throws(() => keyvalue.bucket("access-denied").get("x"), { message: /it is not granted$/ });
    assert.throws(() => keyvalue.bucket("no-such-store").get("x"), { message: /there is none of this name$/ });
  } finally {
    enter(before);
  }
});

test("a component that lacks what its plugin imports is not built", () => {
  check({ tasks: {}, keyvalue: {} });
  assert.throws(() => check({ tasks: {} }), /imports hostler-guest\/keyvalue where/);
});

test("without a test around it nothing is kept, and nothing fails", () => {
  visits.set("a", "1");
  assert.deepEqual([visits.get("a"), visits.increment("a", 2), [...visits.keys()]], [undefined, 2, []]);
  assert.equal(tasks.send("a.b"), "00000000-0000-0000-0000-000000000000");
});
