// Events, timers, suspension, and continueAsNew.

import { assert, client, ended, hasCode, newKey, output, pause, run, start, Status, test, until, untilCustomStatus, untilStatus, useWorker, whenAll, whenAny } from "./hub.js";

useWorker({
  plusOne: (_, value) => value + 1,
  collect: async function* (context, names) {
    const got = [];
    for (const name of names) got.push(yield context.waitForExternalEvent(name));
    return got;
  },
  collectAll: async function* (context, names) {
    return yield whenAll(names.map((name) => context.waitForExternalEvent(name)));
  },
  announceAndWait: async function* (context) {
    context.setCustomStatus("waiting");
    return yield context.waitForExternalEvent("Go");
  },
  approve: async function* (context, seconds) {
    const approval = context.waitForExternalEvent("Approval");
    const timeout = context.createTimer(seconds);
    const winner = yield whenAny([approval, timeout]);
    if (winner === timeout) return "timed out";
    timeout.cancel();
    return approval.getResult();
  },
  sleep: async function* (context, seconds) {
    const before = context.currentUtcDateTime;
    yield context.createTimer(seconds);
    return context.currentUtcDateTime - before;
  },
  sleepUntil: async function* (context, seconds) {
    const due = new Date(context.currentUtcDateTime.getTime() + seconds * 1000);
    yield context.createTimer(due);
    return context.currentUtcDateTime >= due;
  },
  send: async function* (context, target) {
    context.sendEvent(target, "Go", { from: context.instanceId });
    yield context.createTimer(0);
    return "sent";
  },
  count: async function* (context, value) {
    const next = yield context.callActivity("plusOne", value);
    if (next < 10) context.continueAsNew(next, false);
    else return next;
  },
  countAtOnce: async function* (context, value) {
    if (value < 25) context.continueAsNew(value + 1, false);
    else return value;
  },
  collectOverExecutions: async function* (context, got) {
    got.push(yield context.waitForExternalEvent("Next"));
    if (got.length < 5) context.continueAsNew(got, true);
    else return got;
  },
  sendAndContinue: async function* (context, { target, round }) {
    context.sendEvent(target, "Next", round);
    if (round < 4) context.continueAsNew({ target, round: round + 1 }, false);
    else return "done";
  },
  parentOfContinued: async function* (context) {
    return yield context.callSubOrchestrator("count", 7);
  },
});

test("events in another order than the waits", async () => {
  const id = await start("collect", ["A", "B", "C"]);
  for (const name of ["C", "A", "B"]) await client.raiseOrchestrationEvent(id, name, name.toLowerCase());
  assert.deepEqual(await output(id), ["a", "b", "c"]);
});

test("events of one name keep their order", async () => {
  const id = await start("collect", Array(10).fill("A"));
  for (let n = 0; n < 10; n++) await client.raiseOrchestrationEvent(id, "A", n);
  assert.deepEqual(await output(id), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("all of several events", async () => {
  const id = await start("collectAll", ["A", "B", "A"]);
  for (const [name, data] of [["A", 1], ["A", 2], ["B", 3]]) await client.raiseOrchestrationEvent(id, name, data);
  assert.deepEqual(await output(id), [1, 3, 2]);
});

test("the case of an event's name is ignored", async () => {
  const id = await start("collect", ["Approved"]);
  await client.raiseOrchestrationEvent(id, "aPPROVED", 1);
  assert.deepEqual(await output(id), [1]);
});

test("an event or a timeout", async () => {
  const [late, early] = [await start("approve", 0.2), await start("approve", 60)];
  await client.raiseOrchestrationEvent(early, "Approval", "yes");
  assert.equal(await output(early), "yes");
  assert.equal(await output(late), "timed out");
});

test("timers", async () => {
  assert.ok((await run("sleep", 0.3)) >= 300);
  assert.ok((await run("sleep", 0)) < 10_000);
  assert.equal(await run("sleepUntil", 0.2), true);
  assert.equal(await run("sleepUntil", -5), true);
});

test("an orchestration sends an event", async () => {
  const target = await start("announceAndWait");
  await untilCustomStatus(target, "waiting");
  const sender = await start("send", target);
  assert.equal(await output(sender), "sent");
  assert.deepEqual(await output(target), { from: sender });
});

test("an event to nobody is dropped", async () => {
  assert.equal(await run("send", newKey()), "sent");
});

test("a client raises an event of an instance that has ended, and of nobody", async () => {
  const id = await start("sleep", 0);
  await output(id);
  await client.raiseOrchestrationEvent(id, "Go");
  await assert.rejects(client.raiseOrchestrationEvent(newKey(), "Go"), hasCode(5));
});

test("a suspended instance keeps its events", async () => {
  const id = await start("collect", ["A", "B"]);
  await client.waitForOrchestrationStart(id, false, 20);
  await client.suspendOrchestration(id);
  await untilStatus(id, Status.SUSPENDED);
  await client.raiseOrchestrationEvent(id, "A", 1);
  await client.raiseOrchestrationEvent(id, "B", 2);
  await pause(0.3);
  assert.equal((await client.getOrchestrationState(id)).runtimeStatus, Status.SUSPENDED);
  await client.resumeOrchestration(id);
  assert.deepEqual(await output(id), [1, 2]);
});

test("a wait for the end that is too short", async () => {
  const id = await start("announceAndWait");
  await assert.rejects(client.waitForOrchestrationCompletion(id, true, 0.5), /[Tt]im/);
  await client.terminateOrchestration(id);
});

test("nobody is waited for", async () => {
  assert.equal(await client.getOrchestrationState(newKey()), undefined);
  assert.equal(await client.waitForOrchestrationStart(newKey(), false, 5), undefined);
  assert.equal(await client.waitForOrchestrationCompletion(newKey(), true, 5), undefined);
});

test("verbs for nobody", async () => {
  for (const verb of ["suspendOrchestration", "resumeOrchestration", "terminateOrchestration"])
    await assert.rejects(client[verb](newKey()), hasCode(5), verb);
});

test("each execution gets its input", async () => {
  assert.equal(await run("count", 1), 10);
  assert.equal(await run("countAtOnce", 1), 25);
  const state = await ended(await start("count", 8));
  assert.deepEqual([state.serializedInput, state.serializedOutput], ["9", "10"]);
});

test("events are carried over", async () => {
  const id = await start("collectOverExecutions", []);
  for (let n = 0; n < 5; n++) await client.raiseOrchestrationEvent(id, "Next", n);
  assert.deepEqual(await output(id), [0, 1, 2, 3, 4]);
});

test("what an execution sent before it continued arrives", async () => {
  const target = await start("collectOverExecutions", []);
  await until(async () => (await client.getOrchestrationState(target)).runtimeStatus === Status.RUNNING);
  assert.equal(await run("sendAndContinue", { target, round: 0 }), "done");
  assert.deepEqual(await output(target), [0, 1, 2, 3, 4]);
});

test("a child that continues", async () => {
  assert.equal(await run("parentOfContinued"), 10);
});
