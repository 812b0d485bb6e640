// Entities: signals, calls, locks, what they start, queries and clean-up.

import { assert, client, ended, EntityInstanceId, entityState, newKey, output, run, sdk, start, Status, TaskEntity, test, until, untilCustomStatus, untilEntityState, useWorker, whenAll } from "./hub.js";

class Counter extends TaskEntity {
  initializeState() {
    return 0;
  }
  set(value) {
    this.state = value;
  }
  add(value) {
    return (this.state += value);
  }
  get() {
    return this.state;
  }
  async addLater(value) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    return (this.state += value);
  }
  addAndFail(value) {
    this.state += value;
    throw new Error("not added");
  }
  addElsewhere(key) {
    this.context.signalEntity(new EntityInstanceId("Counter", key), "add", 7);
  }
  addElsewhereLater(key) {
    const signalTime = new Date(Date.now() + 600);
    this.context.signalEntity(new EntityInstanceId("Counter", key), "add", 7, { signalTime });
  }
  startOrchestration(instanceId) {
    return this.context.scheduleNewOrchestration("addAndGet", { key: this.context.id.key, value: 5 }, { instanceId });
  }
}

class Account extends TaskEntity {
  initializeState() {
    return { balance: 0 };
  }
  deposit(amount) {
    this.state.balance += amount;
    return this.state.balance;
  }
  balance() {
    return this.state.balance;
  }
}

const account = (key) => new EntityInstanceId("Account", key);
const counter = (key = newKey()) => new EntityInstanceId("Counter", key);

useWorker({
  Counter,
  Account,
  addAndGet: async function* (context, { key, value }) {
    yield context.entities.callEntity(counter(key), "add", value);
    return yield context.entities.callEntity(counter(key), "get");
  },
  signalThenGet: async function* (context, key) {
    for (let n = 0; n < 5; n++) context.entities.signalEntity(counter(key), "add", n);
    return yield context.entities.callEntity(counter(key), "get");
  },
  signalLater: async function* (context, key) {
    const signalTime = new Date(context.currentUtcDateTime.getTime() + 600);
    context.entities.signalEntity(counter(key), "add", 3, { signalTime });
    yield context.createTimer(0);
  },
  callInParallel: async function* (context, key) {
    const calls = Array.from({ length: 10 }, () => context.entities.callEntity(counter(key), "addLater", 1));
    return (yield whenAll(calls)).sort((a, b) => a - b);
  },
  catchFailure: async function* (context, key) {
    try {
      yield context.entities.callEntity(counter(key), "addAndFail", 5);
    } catch (error) {
      return [error.message, error.failureDetails?.errorMessage, yield context.entities.callEntity(counter(key), "get")];
    }
  },
  callUnknown: async function* (context, { name, operation }) {
    try {
      yield context.entities.callEntity(new EntityInstanceId(name, newKey()), operation);
    } catch (error) {
      return error.message;
    }
  },
  transfer: async function* (context, { from, to, amount }) {
    const lock = yield context.entities.lockEntities(account(from), account(to));
    try {
      if ((yield context.entities.callEntity(account(from), "balance")) < amount) return false;
      yield context.createTimer(0.02);
      yield context.entities.callEntity(account(from), "deposit", -amount);
      yield context.entities.callEntity(account(to), "deposit", amount);
      return context.entities.isInCriticalSection().inSection;
    } finally {
      lock.release();
    }
  },
  increment: async function* (context, key) {
    const lock = yield context.entities.lockEntities(account(key));
    const value = yield context.entities.callEntity(account(key), "balance");
    yield context.createTimer(0.02);
    yield context.entities.callEntity(account(key), "deposit", 1);
    lock.release();
    return value;
  },
  hold: async function* (context, keys) {
    const lock = yield context.entities.lockEntities(...keys.map(account));
    context.setCustomStatus("holds");
    yield context.waitForExternalEvent("Release");
    lock.release();
    return "released";
  },
  holdAndFail: async function* (context, key) {
    yield context.entities.lockEntities(account(key));
    throw new Error("inside");
  },
  holdAndForget: async function* (context, key) {
    yield context.entities.lockEntities(account(key));
    return "not released";
  },
});

test("signals of a client", async () => {
  const id = counter();
  for (let n = 1; n <= 10; n++) await client.signalEntity(id, "add", n);
  await untilEntityState(id, 55);
  const found = await client.getEntity(id, true);
  assert.ok(found.id.equals(id));
  assert.equal(found.backlogQueueSize, 0);
  assert.equal(found.includesState, true);
  assert.ok(Math.abs(Date.now() - found.lastModifiedTime) < 60_000);
  assert.equal((await client.getEntity(id, false)).includesState, false);
});

test("an entity that nobody used", async () => {
  assert.equal(await client.getEntity(counter(), true), undefined);
});

test("calls of an orchestration", async () => {
  const { key } = counter();
  assert.equal(await run("addAndGet", { key, value: 5 }), 5);
  assert.equal(await run("addAndGet", { key, value: 6 }), 11);
});

test("the case of names is ignored", async () => {
  const key = newKey();
  await client.signalEntity(new EntityInstanceId("COUNTER", key), "ADD", 2);
  await untilEntityState(new EntityInstanceId("counter", key), 2);
});

test("signals come before a later call", async () => {
  assert.equal(await run("signalThenGet", newKey()), 10);
});

test("calls in parallel are served one by one", async () => {
  assert.deepEqual(await run("callInParallel", newKey()), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test("an operation that fails changes nothing", async () => {
  const id = counter();
  await client.signalEntity(id, "set", 3);
  const [message, , value] = await run("catchFailure", id.key);
  assert.match(message, /not added/);
  assert.equal(value, 3);
});

test("operations and entities that don't exist", async () => {
  assert.match(await run("callUnknown", { name: "Counter", operation: "noSuchOperation" }), /noSuchOperation/);
  assert.match(await run("callUnknown", { name: "NoSuchEntity", operation: "add" }), /nosuchentity/);
});

test("an entity signals another, and starts an orchestration", async () => {
  const [first, second, instanceId] = [counter(), counter(), newKey()];
  await client.signalEntity(first, "addElsewhere", second.key);
  await untilEntityState(second, 7);
  await client.signalEntity(first, "startOrchestration", instanceId);
  await until(() => client.getOrchestrationState(instanceId));
  assert.equal(await output(instanceId), 5);
});

test("signals that are due later", async () => {
  const [byClient, byOrchestration, byEntity] = [counter(), counter(), counter()];
  const due = Date.now() + 600;
  await client.signalEntity(byClient, "add", 3, { signalTime: new Date(due) });
  await start("signalLater", byOrchestration.key);
  await client.signalEntity(counter(), "addElsewhereLater", byEntity.key);
  assert.equal((await entityState(byClient)) ?? 0, 0);
  await untilEntityState(byClient, 3);
  assert.ok(Date.now() >= due);
  await untilEntityState(byOrchestration, 3);
  await untilEntityState(byEntity, 7);
});

test("a state is deleted", async () => {
  const id = counter();
  await client.signalEntity(id, "set", 3);
  await untilEntityState(id, 3);
  await client.signalEntity(id, "delete");
  await until(async () => (await entityState(id)) === undefined);
  await client.signalEntity(id, "add", 1);
  await untilEntityState(id, 1);
});

test("entities are listed", async () => {
  const prefix = newKey();
  const began = new Date(Date.now() - 1000);
  const ids = [1, 2, 3, 4, 5].map((n) => counter(`${prefix}-${n}`));
  for (const [n, id] of ids.entries()) await client.signalEntity(id, "set", n + 1);
  for (const [n, id] of ids.entries()) await untilEntityState(id, n + 1);
  const find = async (query) => {
    const found = [];
    for await (const each of client.getEntities({ instanceIdStartsWith: `@counter@${prefix}`, ...query })) found.push(each);
    return found;
  };
  for (const pageSize of [1, 2, 100]) {
    const found = await find({ pageSize, includeState: true });
    assert.deepEqual(found.map((each) => each.id.toString()).sort(), ids.map(String).sort());
    assert.deepEqual(found.map((each) => each.state).sort(), [1, 2, 3, 4, 5]);
  }
  assert.deepEqual((await find({ includeState: false })).map((each) => each.includesState), Array(5).fill(false));
  assert.equal((await find({ lastModifiedFrom: began })).length, 5);
  assert.equal((await find({ lastModifiedTo: began })).length, 0);
});

test("empty entities are cleaned up", async () => {
  const [kept, emptied] = [counter(), counter()];
  for (const id of [kept, emptied]) await client.signalEntity(id, "set", 3);
  for (const id of [kept, emptied]) await untilEntityState(id, 3);
  await client.signalEntity(emptied, "delete");
  await until(async () => (await entityState(emptied)) === undefined);
  const result = await client.cleanEntityStorage({ removeEmptyEntities: true, releaseOrphanedLocks: true });
  assert.ok(result.emptyEntitiesRemoved >= 1);
  assert.equal(await client.getEntity(emptied, true), undefined);
  assert.equal(await entityState(kept), 3);
});

test("transfers under locks, in both directions at once", async () => {
  const [first, second] = [newKey(), newKey()];
  for (const key of [first, second]) await client.signalEntity(account(key), "deposit", 100);
  const transfer = (from, to) => start("transfer", { from, to, amount: 10 });
  const ids = await Promise.all([0, 1, 2, 3, 4].flatMap(() => [transfer(first, second), transfer(second, first)]));
  assert.deepEqual(await Promise.all(ids.map(output)), Array(10).fill(true));
  assert.equal(await run("transfer", { from: first, to: second, amount: 1000 }), false);
  assert.deepEqual([await entityState(account(first)), await entityState(account(second))], [{ balance: 100 }, { balance: 100 }]);
});

test("sections exclude each other", async () => {
  const key = newKey();
  const ids = await Promise.all(Array.from({ length: 8 }, () => start("increment", key)));
  assert.deepEqual((await Promise.all(ids.map(output))).sort(), [0, 1, 2, 3, 4, 5, 6, 7]);
});

test("a signal waits for the end of the section", async () => {
  const key = newKey();
  const holder = await start("hold", [key]);
  await untilCustomStatus(holder, "holds");
  const found = await client.getEntity(account(key), true);
  assert.ok(found.lockedBy);
  await client.signalEntity(account(key), "deposit", 5);
  assert.equal(await entityState(account(key)), undefined);
  await client.raiseOrchestrationEvent(holder, "Release");
  assert.equal(await output(holder), "released");
  await untilEntityState(account(key), { balance: 5 });
});

test("the end of an orchestration releases its locks, however it ends", async () => {
  const [failed, forgotten, terminated] = [newKey(), newKey(), newKey()];
  assert.equal((await ended(await start("holdAndFail", failed))).runtimeStatus, Status.FAILED);
  assert.equal(await run("holdAndForget", forgotten), "not released");
  const holder = await start("hold", [terminated]);
  await untilCustomStatus(holder, "holds");
  await client.terminateOrchestration(holder);
  for (const key of [failed, forgotten, terminated]) assert.equal(await run("increment", key), 0);
});

test("locks in any order", async () => {
  const [a, b, c] = [newKey(), newKey(), newKey()];
  const sets = [[a, b], [b, c], [c, a], [a, b, c], [a, a]];
  const ids = await Promise.all([...sets, ...sets].map((keys) => start("hold", keys)));
  for (const id of ids) await client.raiseOrchestrationEvent(id, "Release");
  assert.deepEqual(await Promise.all(ids.map(output)), Array(10).fill("released"));
});
