import assert from "node:assert/strict";
import { test } from "node:test";

import { call, describe, withAttempt } from "hostler-guest/testing";

import * as template from "../index.js";

test("a template is filled", () => {
  const values = { title: "<Order>", items: [{ name: "tea", price: 3 }, { name: "milk", price: 1 }] };
  const filled = template.render({ template: "{{title}}{{{title}}}:{{#items}} {{name}} {{price}};{{/items}}", values });
  assert.deepEqual(filled, { text: "&lt;Order&gt;<Order>: tea 3; milk 1;", names: ["title", "items"] });
});

test("a name without a value is told, and fails if asked to", () => {
  const args = { template: "{{a}}{{b.c}}", values: { b: {} } };
  const seen = withAttempt({}, () => template.render(args));
  assert.equal(seen.result.text, "");
  assert.deepEqual(seen.logs, [{ level: "warn", message: "no value for a, b.c" }]);
  assert.throws(() => template.render({ ...args, strict: true }), { code: "VALUE_MISSING", data: { missing: ["a", "b.c"] } });
});

test("a broken template is no accident", () => {
  assert.throws(() => call(template, "render", { template: "{{#open}}", values: {} }), { code: "TEMPLATE_BROKEN" });
  assert.throws(() => call(template, "render", { template: 1, values: {} }), { code: "ARGUMENT_TYPE_MISMATCH" });
  assert.deepEqual(describe(template).tasks.map(({ name }) => name), ["render"]);
});
