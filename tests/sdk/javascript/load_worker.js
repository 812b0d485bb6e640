// The JavaScript part of a load in two languages: a worker for HUB_ADDRESS. Its activities note in the file RUNS when
// they begin and end, as all others do.

import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";

import sdk from "@microsoft/durabletask-js";

const { RUNS, HUB_ADDRESS } = process.env;
const entity = (name, key) => new sdk.EntityInstanceId(name, key);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function note(word, context, value) {
  const moment = Math.round((performance.timeOrigin + performance.now()) * 1000);
  appendFileSync(RUNS, `${word} ${context.orchestrationId} ${context.taskId} ${value} ${process.pid} ${moment}\n`);
}

class JsLedger extends sdk.TaskEntity {
  initializeState() {
    return [];
  }
  add(token) {
    this.state.push(token);
    return token;
  }
}

class JsTally extends sdk.TaskEntity {
  initializeState() {
    return 0;
  }
  add(amount) {
    return (this.state += amount);
  }
  get() {
    return this.state;
  }
}

const activities = {
  js_step: async (context, value) => {
    note("begin", context, value);
    await pause(10 + ((value * 7) % 40));
    note("end", context, value);
    return value + 1;
  },
  // It fails twice, as counted in a file, which outlives this process.
  js_flaky: async (context, value) => {
    note("begin", context, value);
    const folder = `${RUNS}.failures`;
    mkdirSync(folder, { recursive: true });
    const counted = `${folder}/${context.orchestrationId}`;
    const succeeds = existsSync(counted) && readFileSync(counted).length >= 2;
    if (!succeeds) appendFileSync(counted, "x");
    note("end", context, value);
    if (!succeeds) throw new Error("not yet");
    return "at last";
  },
};

const orchestrators = {
  js_chain: async function* (context, value) {
    for (const name of ["js_step", "py_step", "local_step"]) value = yield context.callActivity(name, value);
    return value;
  },
  js_fan: async function* (context, count) {
    const calls = [];
    for (let n = 0; n < count; n++) calls.push(context.callActivity(n % 2 ? "js_step" : "py_step", n));
    const results = yield sdk.whenAll(calls);
    return results.reduce((sum, each) => sum + each, 0);
  },
  js_parent: async function* (context, value) {
    return yield sdk.whenAll(["py_chain", "local_chain"].map((name) => context.callSubOrchestrator(name, value)));
  },
  js_nap: async function* (context, value) {
    yield context.createTimer(0.05);
    return yield context.callActivity("py_step", value);
  },
  js_retry: async function* (context, value) {
    const retry = new sdk.RetryPolicy({ maxNumberOfAttempts: 5, firstRetryIntervalInMilliseconds: 20 });
    return yield context.callActivity("js_flaky", value, { retry });
  },
  js_collect: async function* (context, wanted) {
    const items = [];
    while (items.length < wanted) {
      items.push(yield context.waitForExternalEvent("item"));
      yield context.callActivity("js_step", items.length);
    }
    return items;
  },
  js_signals: async function* (context, { key, token }) {
    context.entities.signalEntity(entity("JsLedger", key), "add", token);
    return yield context.entities.callEntity(entity("Ledger", key), "add", token);
  },
  js_section: async function* (context, key) {
    const [ours, theirs] = [entity("Tally", key), entity("JsTally", key)];
    const lock = yield context.entities.lockEntities(ours, theirs);
    const before = [yield context.entities.callEntity(ours, "get"), yield context.entities.callEntity(theirs, "get")];
    yield context.entities.callEntity(ours, "add", 1);
    yield context.entities.callEntity(theirs, "add", 1);
    lock.release();
    return before;
  },
  js_eternal: async function* (context, { rounds, total }) {
    total = yield context.callActivity("js_step", total);
    if (rounds === 0) return total;
    context.continueAsNew({ rounds: rounds - 1, total }, false);
  },
};

const worker = new sdk.TaskHubGrpcWorker({
  hostAddress: HUB_ADDRESS,
  logger: new sdk.NoOpLogger(),
  options: { "grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 300 },
  workItemFilters: "auto",
});
for (const [name, code] of Object.entries(orchestrators)) worker.addNamedOrchestrator(name, code);
for (const [name, code] of Object.entries(activities)) worker.addNamedActivity(name, code);
worker.addNamedEntity("JsLedger", () => new JsLedger());
worker.addNamedEntity("JsTally", () => new JsTally());
await worker.start();
