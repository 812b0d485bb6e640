// Payloads: null or absent, unicode, numbers, large ones.

import { assert, client, decode, ended, EntityInstanceId, hasCode, newKey, output, run, start, TaskEntity, test, untilEntityState, useWorker } from "./hub.js";

const kind = (value) => (value === null ? "null" : typeof value);

class Keeper extends TaskEntity {
  initializeState() {
    return null;
  }
  keep(value) {
    this.state = { kept: value };
    return value;
  }
}

useWorker({
  Keeper,
  echo: (_, value) => value,
  kindOfInput: (_, value) => kind(value),
  returnNull: () => null,
  returnNothing: () => undefined,
  echoAll: async function* (context, value) {
    return value;
  },
  passAround: async function* (context, { key, value }) {
    context.setCustomStatus({ status: value });
    return [
      yield context.callActivity("echo", value),
      yield context.callSubOrchestrator("echoAll", value),
      yield context.entities.callEntity(new EntityInstanceId("Keeper", key), "keep", value),
      yield context.waitForExternalEvent("Value"),
    ];
  },
  kinds: async function* (context, input) {
    return {
      input: kind(input),
      nullToActivity: yield context.callActivity("kindOfInput", null),
      nothingToActivity: yield context.callActivity("kindOfInput"),
      nullFromActivity: kind(yield context.callActivity("returnNull")),
      nothingFromActivity: kind(yield context.callActivity("returnNothing")),
      nullFromChild: kind(yield context.callSubOrchestrator("echoAll", null)),
      nothingFromChild: kind(yield context.callSubOrchestrator("echoAll")),
      nullEvent: kind(yield context.waitForExternalEvent("Null")),
    };
  },
  once: async function* (context, value) {
    return (yield context.callActivity("echo", value)).length;
  },
});

const values = [
  true, false, 0, -1, 1.5, 1e300, 2 ** 53 - 1, "", "null", "a b", '\x00\x1f\u2028\r\n\t"\\', "ü€😀\u{10ffff}", "\ud800",
  [], {}, [null, [null]], { "": null, ü: { $text: "no box" } }, "x".repeat(5000),
];

for (const value of values)
  test(`${JSON.stringify(value).slice(0, 30)} passes everywhere`, async () => {
    const state = await ended(await start("echoAll", value));
    assert.deepEqual([decode(state.serializedInput), decode(state.serializedOutput)], [value, value]);
    const id = await start("passAround", { key: newKey(), value });
    await client.raiseOrchestrationEvent(id, "Value", value);
    assert.deepEqual(await output(id), [value, value, value, value]);
  });

test("null is told from nothing", async () => {
  for (const [input, expected] of [[null, "null"], [undefined, "undefined"]]) {
    const id = await start("kinds", input);
    await client.raiseOrchestrationEvent(id, "Null", null);
    const found = await output(id);
    assert.equal(found.input, expected);
    for (const [name, value] of Object.entries(found))
      if (name !== "input") assert.equal(value, name.startsWith("null") ? "null" : "undefined", name);
  }
});

test("an output of null, and none", async () => {
  assert.equal((await ended(await start("echoAll", null))).serializedOutput, "null");
  assert.equal((await ended(await start("echoAll"))).serializedOutput, undefined);
});

test("a large payload", async () => {
  const large = "ä".repeat(500_000);
  assert.equal(await run("echoAll", large), large);
  assert.equal(await run("once", large), large.length);
});

test("a state with text of any kind", async () => {
  const id = new EntityInstanceId("Keeper", newKey());
  await client.signalEntity(id, "keep", "ü\x00😀");
  await untilEntityState(id, { kept: "ü\x00😀" });
});

test("ids of nearly any text", async () => {
  for (const instanceId of [`ü€ ${newKey()}`, `a:b%20c&d ${newKey()}`, `UPPER ${newKey()}`])
    assert.equal(await run("echoAll", 1, { instanceId }), 1);
  await assert.rejects(run("echoAll", 1, { instanceId: `a/b ${newKey()}` }), hasCode(3));
});
