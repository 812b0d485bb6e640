// Versions, version strategies, and filters. Each test has workers of its own.

import { after, assert, client, ended, makeWorker, newKey, output, run, sdk, start, Status, test, until, withWorkers } from "./hub.js";

const { VersionFailureStrategy: Failure, VersionMatchStrategy: Match } = sdk;
after(() => client.stop());

const functions = {
  tellVersion: async function* (context) {
    return context.version;
  },
  parentOfVersion: async function* (context, version) {
    return [context.version, yield context.callSubOrchestrator("tellVersion", undefined, version && { version })];
  },
};
const worker = (versioning) => makeWorker(functions, { versioning });
const answering = (name, answer, options = { workItemFilters: "auto" }) =>
  makeWorker({ [name]: async function* () { return answer; } }, options);

test("an instance has a version, and gives its child one", async () => {
  await withWorkers([worker()], async () => {
    assert.equal(await run("tellVersion", undefined, { version: "1.2.0" }), "1.2.0");
    assert.equal(await run("tellVersion"), "");
    assert.deepEqual(await run("parentOfVersion", "3.0", { version: "1.0" }), ["1.0", "3.0"]);
  });
});

test("the client has a default version", async () => {
  const other = new sdk.TaskHubGrpcClient({ hostAddress: process.env.HUB_ADDRESS, defaultVersion: "7.0", logger: new sdk.NoOpLogger() });
  await withWorkers([worker()], async () => {
    assert.equal(await output(await other.scheduleNewOrchestration("tellVersion")), "7.0");
  });
  await other.stop();
});

test("another version fails where the worker says so", async () => {
  const strict = { version: "1.0.0", matchStrategy: Match.Strict, failureStrategy: Failure.Fail };
  await withWorkers([worker(strict)], async () => {
    assert.equal(await run("tellVersion", undefined, { version: "1.0.0" }), "1.0.0");
    const state = await ended(await start("tellVersion", undefined, { version: "2.0.0" }));
    assert.equal(state.runtimeStatus, Status.FAILED);
    assert.equal(state.failureDetails.errorType, "VersionMismatch");
  });
});

test("older versions may be taken", async () => {
  const older = { version: "1.5.0", matchStrategy: Match.CurrentOrOlder, failureStrategy: Failure.Fail };
  await withWorkers([worker(older)], async () => {
    for (const version of ["1.5.0", "1.4.9", "0.9"]) assert.equal(await run("tellVersion", undefined, { version }), version);
    assert.equal((await ended(await start("tellVersion", undefined, { version: "1.10.0" }))).runtimeStatus, Status.FAILED);
  });
});

test("a version that is rejected goes to another worker", async () => {
  const strict = (version) => worker({ version, matchStrategy: Match.Strict, failureStrategy: Failure.Reject });
  await withWorkers([strict("1.0.0"), strict("2.0.0")], async () => {
    for (const version of ["1.0.0", "2.0.0", "1.0.0", "2.0.0"]) assert.equal(await run("tellVersion", undefined, { version }), version);
  });
});

test("each worker gets what it has registered", async () => {
  const [one, other] = [`one_${newKey()}`, `other_${newKey()}`];
  await withWorkers([answering(one, 1), answering(other, 2)], async () => {
    for (let n = 0; n < 3; n++) assert.deepEqual([await run(one), await run(other)], [1, 2]);
  });
});

test("filters with versions", async () => {
  const name = `one_${newKey()}`;
  const filtered = (answer, versions) => answering(name, answer, { workItemFilters: { orchestrations: [{ name, versions }] } });
  await withWorkers([filtered("old", ["1.0", "1.1"]), filtered("new", ["2.0"])], async () => {
    for (const [version, answer] of [["1.0", "old"], ["2.0", "new"], ["1.1", "old"]])
      assert.equal(await run(name, undefined, { version }), answer);
    const unmatched = await start(name, undefined, { version: "3.0" });
    assert.equal(await run(name, undefined, { version: "1.0" }), "old");
    assert.equal((await client.getOrchestrationState(unmatched)).runtimeStatus, Status.PENDING);
    await client.terminateOrchestration(unmatched);
    await until(async () => (await client.getOrchestrationState(unmatched)).runtimeStatus === Status.TERMINATED);
  });
});
