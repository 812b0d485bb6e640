// Functions that call local Python code, and are called by it. It says "ready" when it listens.

import sdk from "@microsoft/durabletask-js";

const attempts = new Map();
const counter = (name, key) => new sdk.EntityInstanceId(name, key);

class JavascriptCounter extends sdk.TaskEntity {
  initializeState() {
    return 0;
  }
  add(amount) {
    return (this.state += amount);
  }
  get() {
    return this.state;
  }
  tellPython(amount) {
    this.context.signalEntity(counter("PythonCounter", this.context.id.key), "add", amount);
  }
}

const orchestrators = {
  javascriptChain: async function* (context, value) {
    const sum = yield context.callActivity("add_in_python", [value, 1]);
    return yield context.callActivity("doubleInJavascript", sum);
  },
  javascriptParent: async function* (context, value) {
    return yield context.callSubOrchestrator("python_chain", value);
  },
  javascriptEntity: async function* (context, key) {
    yield context.entities.callEntity(counter("PythonCounter", key), "add", 2);
    context.entities.signalEntity(counter("PythonCounter", key), "add", 3);
    return yield context.entities.callEntity(counter("PythonCounter", key), "get");
  },
  javascriptCatch: async function* (context) {
    try {
      yield context.callActivity("fail_in_python", "no such item");
    } catch (error) {
      return [error.details.errorType, error.details.message];
    }
  },
  javascriptLocks: async function* (context, key) {
    const [ours, theirs] = [counter("JavascriptCounter", key), counter("PythonCounter", key)];
    const lock = yield context.entities.lockEntities(ours, theirs);
    const before = [yield context.entities.callEntity(theirs, "get"), yield context.entities.callEntity(ours, "get")];
    yield context.createTimer(0);
    yield context.entities.callEntity(theirs, "add", 1);
    yield context.entities.callEntity(ours, "add", 1);
    lock.release();
    return before;
  },
  javascriptSends: async function* (context, target) {
    context.sendEvent(target, "Go", { from: "JavaScript" });
    return yield context.callActivity("doubleInJavascript", 1);
  },
};

const activities = {
  doubleInJavascript: (_, value) => 2 * value,
  failInJavascript: (_, text) => {
    throw new RangeError(text);
  },
  failFirstInJavascript: (_, key) => {
    attempts.set(key, (attempts.get(key) ?? 0) + 1);
    if (attempts.get(key) < 3) throw new Error(`attempt ${attempts.get(key)}`);
    return attempts.get(key);
  },
};

const worker = new sdk.TaskHubGrpcWorker({
  hostAddress: process.env.HUB_ADDRESS,
  logger: new sdk.NoOpLogger(),
  workItemFilters: process.env.FILTERS === "auto" ? "auto" : undefined,
});
for (const [name, code] of Object.entries(orchestrators)) worker.addNamedOrchestrator(name, code);
for (const [name, code] of Object.entries(activities)) worker.addNamedActivity(name, code);
worker.addNamedEntity("JavascriptCounter", () => new JavascriptCounter());
await worker.start();
console.log("ready");
