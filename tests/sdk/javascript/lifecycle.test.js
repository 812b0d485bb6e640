// What a client does to instances: terminate, purge, restart, rewind, start later; status and tags.

import { assert, client, decode, ended, hasCode, newKey, output, run, sdk, start, Status, test, until, untilCustomStatus, untilStatus, useWorker, whenAll } from "./hub.js";

const calls = new Map();
const broken = new Set();

useWorker({
  echo: async function* (context, value) {
    return value;
  },
  waitForGo: async function* (context, value) {
    context.setCustomStatus({ waits: value ?? null });
    return yield context.waitForExternalEvent("Go");
  },
  waitWithChildren: async function* (context, depth) {
    if (depth === 0) return yield context.waitForExternalEvent("Go");
    const ids = [0, 1].map((n) => `${context.instanceId}.${n}`);
    yield whenAll(ids.map((instanceId) => context.callSubOrchestrator("waitWithChildren", depth - 1, { instanceId })));
  },
  parentOfEcho: async function* (context, value) {
    return yield context.callSubOrchestrator("echo", value, { instanceId: `${context.instanceId}.child` });
  },
  step: (_, name) => {
    calls.set(name, (calls.get(name) ?? 0) + 1);
    if (broken.has(name)) throw new Error(`${name} is broken`);
    return calls.get(name);
  },
  twoSteps: async function* (context, key) {
    return [yield context.callActivity("step", `${key}.first`), yield context.callActivity("step", `${key}.second`)];
  },
  parentOfSteps: async function* (context, key) {
    return yield context.callSubOrchestrator("twoSteps", key, { instanceId: `${key}.child` });
  },
  statuses: async function* (context, values) {
    for (const value of values) {
      context.setCustomStatus(value);
      yield context.waitForExternalEvent("Next");
    }
  },
});

async function running(name, input, options) {
  const id = await start(name, input, options);
  await client.waitForOrchestrationStart(id, false, 20);
  await untilStatus(id, Status.RUNNING);
  return id;
}

async function descendants(root) {
  const ids = [".0", ".1", ".0.0", ".0.1", ".1.0", ".1.1"].map((suffix) => root + suffix);
  for (const id of ids) await until(() => client.getOrchestrationState(id));
  return ids;
}

for (const value of ["stopped", { why: ["costs", 1] }, 0, "", null, false])
  test(`terminate with ${JSON.stringify(value)}`, async () => {
    const id = await running("waitForGo");
    await client.terminateOrchestration(id, value);
    const state = await ended(id);
    assert.equal(state.runtimeStatus, Status.TERMINATED);
    assert.equal(state.serializedOutput, JSON.stringify(value));
  });

test("terminate without an output", async () => {
  const id = await running("waitForGo");
  await client.terminateOrchestration(id);
  const state = await ended(id);
  assert.deepEqual([state.runtimeStatus, decode(state.serializedOutput) ?? null], [Status.TERMINATED, null]);
});

test("terminate what has ended", async () => {
  const id = await start("echo", "x");
  await output(id);
  await client.terminateOrchestration(id, "late");
  assert.equal(await output(id), "x");
});

test("terminate recursively", async () => {
  const root = await start("waitWithChildren", 2);
  const ids = await descendants(root);
  await client.terminateOrchestration(root, sdk.terminateOptions({ recursive: true, output: "all" }));
  for (const id of [root, ...ids]) assert.equal((await ended(id)).runtimeStatus, Status.TERMINATED);
  assert.equal(decode((await ended(root)).serializedOutput), "all");
});

test("terminate only the parent", async () => {
  const root = await start("waitWithChildren", 1);
  await until(() => client.getOrchestrationState(`${root}.1`));
  await client.terminateOrchestration(root, sdk.terminateOptions({ recursive: false }));
  assert.equal((await ended(root)).runtimeStatus, Status.TERMINATED);
  assert.notEqual((await client.getOrchestrationState(`${root}.0`)).runtimeStatus, Status.TERMINATED);
  for (const id of [`${root}.0`, `${root}.1`]) await client.terminateOrchestration(id);
});

test("purge one", async () => {
  const id = await start("echo", 1);
  await output(id);
  assert.equal((await client.purgeOrchestration(id)).deletedInstanceCount, 1);
  assert.equal(await client.getOrchestrationState(id), undefined);
  assert.equal((await client.purgeOrchestration(id)).deletedInstanceCount, 0);
});

test("purge leaves what runs", async () => {
  const id = await running("waitForGo");
  assert.equal((await client.purgeOrchestration(id)).deletedInstanceCount, 0);
  await client.terminateOrchestration(id);
});

test("purge recursively", async () => {
  const instanceId = newKey();
  await run("parentOfEcho", 1, { instanceId });
  assert.equal((await client.purgeOrchestration(instanceId, { recursive: true })).deletedInstanceCount, 2);
  assert.equal(await client.getOrchestrationState(`${instanceId}.child`), undefined);
});

test("purge by criteria", async () => {
  const from = new Date(Date.now() - 1);
  const [kept, stopped] = [await start("echo", 1), await running("waitForGo")];
  await client.terminateOrchestration(stopped);
  await Promise.all([ended(kept), ended(stopped)]);
  const criteria = new sdk.PurgeInstanceCriteria();
  criteria.setCreatedTimeFrom(new Date(Date.now() + 3_600_000));
  assert.equal((await client.purgeOrchestration(criteria)).deletedInstanceCount, 0);
  criteria.setCreatedTimeFrom(from);
  criteria.setCreatedTimeTo(new Date(Date.now() + 3_600_000));
  criteria.setRuntimeStatusList([Status.TERMINATED]);
  assert.equal((await client.purgeOrchestration(criteria)).deletedInstanceCount, 1);
  assert.equal(await client.getOrchestrationState(stopped), undefined);
  assert.ok(await client.getOrchestrationState(kept));
});

test("an id that is taken", async () => {
  const instanceId = newKey();
  await run("echo", 1, { instanceId });
  await assert.rejects(start("echo", 2, { instanceId }), hasCode(6));
});

test("restart under the same id, and under a new one", async () => {
  const key = newKey();
  const id = await start("twoSteps", key);
  await output(id);
  const other = await client.restartOrchestration(id, true);
  assert.notEqual(other, id);
  assert.deepEqual(await output(other), [2, 2]);
  assert.equal(await client.restartOrchestration(id, false), id);
  await until(async () => (await ended(id)).serializedOutput === "[3,3]");
  await assert.rejects(client.restartOrchestration(newKey()), /not found/);
});

test("rewind repeats only what failed", async () => {
  const key = newKey();
  broken.add(`${key}.second`);
  const id = await start("twoSteps", key);
  assert.equal((await ended(id)).runtimeStatus, Status.FAILED);
  broken.clear();
  await client.rewindInstance(id, "mended");
  await untilStatus(id, Status.COMPLETED);
  assert.deepEqual(await output(id), [1, 2]);
});

test("rewind reaches the children", async () => {
  const key = newKey();
  broken.add(`${key}.second`);
  const id = await start("parentOfSteps", key);
  assert.equal((await ended(id)).runtimeStatus, Status.FAILED);
  broken.clear();
  await client.rewindInstance(id, "mended");
  await untilStatus(id, Status.COMPLETED);
  assert.deepEqual(await output(id), [1, 2]);
  assert.deepEqual(await output(`${key}.child`), [1, 2]);
});

test("rewind refuses what has not failed", async () => {
  const id = await start("echo", 1);
  await output(id);
  await assert.rejects(client.rewindInstance(id, "why"));
  await assert.rejects(client.rewindInstance(newKey(), "why"));
  assert.equal(await output(id), 1);
});

test("a delayed start", async () => {
  const due = Date.now() + 1000;
  const id = await start("echo", 1, { startAt: new Date(due) });
  assert.equal((await client.getOrchestrationState(id)).runtimeStatus, Status.PENDING);
  assert.equal(await output(id), 1);
  assert.ok(Date.now() >= due);
});

test("custom status of any kind, and none", async () => {
  const values = ["text", 0, false, "", [], { ü: [null] }];
  const id = await start("statuses", [...values, null]);
  for (const value of values) {
    await untilCustomStatus(id, value);
    await client.raiseOrchestrationEvent(id, "Next");
  }
  await client.raiseOrchestrationEvent(id, "Next");
  assert.equal((await ended(id)).runtimeStatus, Status.COMPLETED);
});

test("tags", async () => {
  const tags = { team: "blue", empty: "", ü: "two words" };
  const id = await start("echo", 1, { tags });
  assert.deepEqual((await ended(id)).tags, tags);
});
