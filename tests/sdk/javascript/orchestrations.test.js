// Sequences, parallel calls, children, and what the context tells.

import { assert, client, ended, newKey, output, run, start, Status, test, useWorker, whenAll, whenAny } from "./hub.js";

const seen = new Map();
const note = (key, value) => seen.set(key, [...(seen.get(key) ?? []), value]);

useWorker({
  plusOne: (_, value) => value + 1,
  plusOneLater: async (_, value) => value + 1,
  describeCall: (context) => [context.orchestrationId, context.taskId],
  nothing: async function* (context, input) {
    return input;
  },
  chain: async function* (context, length) {
    const values = [0];
    for (let n = 0; n < length; n++) values.push(yield context.callActivity("plusOne", values.at(-1)));
    return values;
  },
  asyncActivity: async function* (context, value) {
    return yield context.callActivity("plusOneLater", value);
  },
  fanOut: async function* (context, width) {
    const tasks = Array.from({ length: width }, (_, n) => context.callActivity("plusOne", n));
    return yield whenAll(tasks);
  },
  allOfNone: async function* () {
    return yield whenAll([]);
  },
  firstOfTwo: async function* (context) {
    const slow = context.createTimer(300);
    const quick = context.callActivity("plusOne", 1);
    const winner = yield whenAny([slow, quick]);
    slow.cancel();
    return [winner === quick, winner.getResult()];
  },
  nestedGroups: async function* (context) {
    const group = (base) => whenAll([context.callActivity("plusOne", base), context.callActivity("plusOne", base + 1)]);
    const winner = yield whenAny([group(1), context.createTimer(60)]);
    return winner.getResult();
  },
  tellContext: async function* (context) {
    const before = context.currentUtcDateTime;
    const first = yield context.callActivity("describeCall");
    const guids = [context.newGuid(), context.newGuid()];
    const second = yield context.callActivity("describeCall");
    return { id: context.instanceId, parent: context.parent?.name ?? null, calls: [first, second], guids, times: [before, context.currentUtcDateTime] };
  },
  noteReplaying: async function* (context, key) {
    const logger = context.createReplaySafeLogger({ ...console, info: (text) => note(`${key}.log`, text) });
    for (let n = 0; n < 3; n++) {
      logger.info(`step ${n}`);
      note(key, context.isReplaying);
      yield context.callActivity("plusOne", n);
    }
  },
  parent: async function* (context, width) {
    const children = Array.from({ length: width }, (_, n) => context.callSubOrchestrator("child", n));
    return yield whenAll(children);
  },
  child: async function* (context, value) {
    const { name, instanceId } = context.parent;
    return { name, instanceId, own: context.instanceId, value: yield context.callActivity("plusOne", value) };
  },
  parentOfNamedChild: async function* (context, instanceId) {
    return yield context.callSubOrchestrator("nothing", { x: 1 }, { instanceId });
  },
  descend: async function* (context, depth) {
    const own = [context.instanceId];
    return depth === 0 ? own : own.concat(yield context.callSubOrchestrator("descend", depth - 1));
  },
  childAfterContinue: async function* (context, round) {
    yield context.callSubOrchestrator("nothing", round);
    if (round < 3) context.continueAsNew(round + 1, false);
    else return round;
  },
  forget: async function* (context, key) {
    context.callActivity("remember", key);
    yield context.callActivity("plusOne", 1);
    return "done";
  },
  remember: (_, key) => note(key, "remembered"),
});

test("an orchestrator without calls", async () => {
  const id = await start("nothing", { a: [1, null, "ü"] });
  const state = await ended(id);
  assert.equal(state.instanceId, id);
  assert.equal(state.name, "nothing");
  assert.equal(state.runtimeStatus, Status.COMPLETED);
  assert.equal(state.serializedInput, '{"a":[1,null,"ü"]}');
  assert.equal(state.serializedOutput, '{"a":[1,null,"ü"]}');
  assert.equal(state.serializedCustomStatus, undefined);
  assert.equal(state.failureDetails, undefined);
  assert.ok(state.createdAt <= state.lastUpdatedAt);
  assert.ok(Math.abs(Date.now() - state.createdAt) < 60_000);
});

test("a chain", async () => {
  assert.deepEqual(await run("chain", 12), Array.from({ length: 13 }, (_, n) => n));
});

test("an async activity", async () => {
  assert.equal(await run("asyncActivity", 5), 6);
});

test("a fan-out", async () => {
  assert.deepEqual(await run("fanOut", 60), Array.from({ length: 60 }, (_, n) => n + 1));
});

test("all of none", async () => {
  assert.deepEqual(await run("allOfNone"), []);
});

test("the first of two", async () => {
  assert.deepEqual(await run("firstOfTwo"), [true, 2]);
});

test("a group within a group", async () => {
  assert.deepEqual(await run("nestedGroups"), [2, 3]);
});

test("the context tells ids and times", async () => {
  const instanceId = newKey();
  const told = await run("tellContext", undefined, { instanceId });
  assert.equal(told.id, instanceId);
  assert.equal(told.parent, null);
  assert.deepEqual(told.calls.map((call) => call[0]), [instanceId, instanceId]);
  assert.notEqual(told.calls[0][1], told.calls[1][1]);
  assert.notEqual(told.guids[0], told.guids[1]);
  const [before, later] = told.times.map((time) => new Date(time));
  assert.ok(before <= later && Math.abs(Date.now() - before) < 60_000);
});

test("an orchestrator knows that it replays", async () => {
  const key = newKey();
  await run("noteReplaying", key);
  assert.equal(seen.get(key).filter((replaying) => !replaying).length, 3);
  assert.deepEqual(seen.get(`${key}.log`), ["step 0", "step 1", "step 2"]);
});

test("children know their parent, and have ids of its execution", async () => {
  const instanceId = newKey();
  const children = await run("parent", 5, { instanceId });
  assert.deepEqual(children.map((child) => child.value), [1, 2, 3, 4, 5]);
  for (const child of children) {
    assert.equal(child.name, "parent");
    assert.equal(child.instanceId, instanceId);
    assert.match(child.own, /^[0-9a-f]{32}:[0-9a-f]{4}$/);
  }
  assert.equal(new Set(children.map((child) => child.own)).size, 5);
});

test("a child with a chosen id", async () => {
  const id = newKey();
  assert.deepEqual(await run("parentOfNamedChild", id), { x: 1 });
  assert.equal((await client.getOrchestrationState(id)).name, "nothing");
});

test("descendants", async () => {
  const ids = await run("descend", 4);
  assert.equal(new Set(ids).size, 5);
});

test("children of each execution have ids of their own", async () => {
  assert.equal(await run("childAfterContinue", 1), 3);
});

test("a call that nobody awaits runs too", async () => {
  const key = newKey();
  assert.equal(await run("forget", key), "done");
  assert.deepEqual(seen.get(key), ["remembered"]);
});

test("many instances at once", async () => {
  const ids = await Promise.all(Array.from({ length: 30 }, () => start("chain", 3)));
  for (const found of await Promise.all(ids.map(output))) assert.deepEqual(found, [0, 1, 2, 3]);
});
