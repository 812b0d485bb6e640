// Queries, pages and histories.

import { assert, before, client, EntityInstanceId, newKey, output, pause, run, sdk, start, Status, TaskEntity, test, until, useWorker } from "./hub.js";

const { HistoryEventType: Type } = sdk;
const prefix = newKey();
const began = new Date(Date.now() - 1);
const later = new Date(Date.now() + 3_600_000);

class Counter extends TaskEntity {
  initializeState() {
    return 0;
  }
  add(value) {
    return (this.state += value);
  }
}

useWorker({
  Counter,
  plusOne: (_, value) => value + 1,
  fail: (_, text) => {
    throw new Error(text);
  },
  end: async function* (context, how) {
    context.setCustomStatus(`ends: ${how}`);
    if (how === "fail") throw new Error("asked to");
    return how;
  },
  waitForGo: async function* (context) {
    return yield context.waitForExternalEvent("Go");
  },
  doEverything: async function* (context, key) {
    const counter = new EntityInstanceId("Counter", key);
    yield context.callActivity("plusOne", 1, { tags: { kind: "sum" } });
    try {
      yield context.callActivity("fail", "once");
    } catch {
      // goes on
    }
    yield context.createTimer(0.05);
    yield context.callSubOrchestrator("end", "well", { instanceId: `${key}.child` });
    try {
      yield context.callSubOrchestrator("end", "fail", { instanceId: `${key}.failing` });
    } catch {
      // goes on
    }
    context.entities.signalEntity(counter, "add", 1);
    const lock = yield context.entities.lockEntities(counter);
    yield context.entities.callEntity(counter, "add", 2);
    lock.release();
    context.sendEvent(`${key}.nobody`, "Hello", [1]);
    return yield context.waitForExternalEvent("Go");
  },
});

const ids = Object.fromEntries(["a", "b", "c", "d"].map((name) => [name, `${prefix}-${name}`]));

before(async () => {
  for (const [name, how] of [["a", "well"], ["b", "well"], ["c", "fail"]]) {
    await start("end", how, { instanceId: ids[name] });
    await client.waitForOrchestrationCompletion(ids[name], true, 20);
  }
  await start("waitForGo", undefined, { instanceId: ids.d });
  await until(async () => (await client.getOrchestrationState(ids.d)).runtimeStatus === Status.RUNNING);
});

async function query(filter) {
  const found = [];
  for await (const state of client.getAllInstances({ instanceIdPrefix: prefix, ...filter })) found.push(state.instanceId.at(-1));
  return found.sort().join("");
}

test("by prefix", async () => {
  assert.equal(await query({}), "abcd");
});

test("by status", async () => {
  assert.equal(await query({ statuses: [Status.COMPLETED] }), "ab");
  assert.equal(await query({ statuses: [Status.FAILED, Status.RUNNING] }), "cd");
  assert.equal(await query({ statuses: [Status.SUSPENDED] }), "");
});

test("by time", async () => {
  assert.equal(await query({ createdFrom: began, createdTo: later }), "abcd");
  assert.equal(await query({ createdTo: began }), "");
  assert.equal(await query({ createdFrom: later }), "");
});

test("in pages", async () => {
  for (const pageSize of [1, 2, 3, 4, 100]) {
    assert.equal(await query({ pageSize }), "abcd");
    const sizes = [];
    for await (const page of client.getAllInstances({ instanceIdPrefix: prefix, pageSize }).asPages()) sizes.push(page.values.length);
    assert.ok(sizes.every((size) => size <= pageSize), `${sizes} of ${pageSize}`);
    assert.equal(sizes.reduce((sum, size) => sum + size), 4);
  }
});

test("payloads are fetched if asked for", async () => {
  for (const fetchInputsAndOutputs of [false, true]) {
    for await (const state of client.getAllInstances({ instanceIdPrefix: ids.a, fetchInputsAndOutputs })) {
      assert.equal(state.name, "end");
      assert.equal(state.serializedInput, fetchInputsAndOutputs ? '"well"' : undefined);
      assert.equal(state.serializedOutput, fetchInputsAndOutputs ? '"well"' : undefined);
    }
  }
});

async function listIds(options) {
  const found = [];
  for (let lastInstanceKey; ; ) {
    const page = await client.listInstanceIds({ ...options, lastInstanceKey });
    found.push(...page.values);
    if (!page.hasMoreResults) return found.filter((id) => id.startsWith(prefix));
    lastInstanceKey = page.continuationToken;
  }
}

test("ids of what has ended", async () => {
  for (const pageSize of [1, 2, 100]) {
    assert.deepEqual(await listIds({ pageSize }), [ids.a, ids.b, ids.c]);
    assert.deepEqual(await listIds({ pageSize, runtimeStatus: [Status.FAILED] }), [ids.c]);
    assert.deepEqual(await listIds({ pageSize, completedTimeFrom: began, completedTimeTo: later }), [ids.a, ids.b, ids.c]);
    assert.deepEqual(await listIds({ pageSize, completedTimeTo: began }), []);
    assert.deepEqual(await listIds({ pageSize, completedTimeFrom: later }), []);
  }
});

test("a history has all that happened", async () => {
  const key = newKey();
  const id = await start("doEverything", key, { tags: { team: "blue" } });
  await client.raiseOrchestrationEvent(id, "Go", "ü");
  assert.equal(await output(id), "ü");
  const events = await client.getOrchestrationHistory(id);
  const of = (type) => events.filter((event) => event.type === type);
  assert.deepEqual(events.slice(0, 2).map((event) => event.type), [Type.OrchestratorStarted, Type.ExecutionStarted]);
  assert.equal(events.at(-1).type, Type.ExecutionCompleted);
  assert.equal(events.at(-1).result, '"ü"');
  const expected = {
    TaskScheduled: 2, TaskCompleted: 1, TaskFailed: 1, TimerCreated: 1, TimerFired: 1, EventSent: 1, EventRaised: 1,
    SubOrchestrationInstanceCreated: 2, SubOrchestrationInstanceCompleted: 1, SubOrchestrationInstanceFailed: 1,
    EntityOperationSignaled: 1, EntityOperationCalled: 1, EntityOperationCompleted: 1, EntityLockRequested: 1,
    EntityLockGranted: 1, EntityUnlockSent: 1,
  };
  assert.deepEqual(Object.fromEntries(Object.keys(expected).map((type) => [type, of(type).length])), expected);
  const [started] = of(Type.ExecutionStarted);
  assert.deepEqual([started.name, started.input, started.tags], ["doEverything", `"${key}"`, { team: "blue" }]);
  assert.equal(started.scheduledStartTimestamp, undefined, "the SDK sends the beginning of 1970");
  const [first, second] = of(Type.TaskScheduled);
  assert.deepEqual([first.name, first.input, first.tags], ["plusOne", "1", { kind: "sum" }]);
  const [completed] = of(Type.TaskCompleted);
  assert.deepEqual([completed.taskScheduledId, completed.result], [first.eventId, "2"]);
  const [failed] = of(Type.TaskFailed);
  assert.equal(failed.taskScheduledId, second.eventId);
  assert.equal(failed.failureDetails.message, "once");
  const [created] = of(Type.SubOrchestrationInstanceCreated);
  assert.deepEqual([created.name, created.instanceId], ["end", `${key}.child`]);
  for (const event of events) assert.ok(Math.abs(Date.now() - event.timestamp) < 60_000, event.type);
});

test("a history of nobody", async () => {
  assert.deepEqual(await client.getOrchestrationHistory(newKey()), []); // the SDK answers NOT_FOUND with no events
});
