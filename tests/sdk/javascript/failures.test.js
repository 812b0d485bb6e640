// Failures, and retries by policies and handlers.

import { assert, client, decode, ended, newKey, output, run, sdk, start, Status, test, useWorker, whenAll } from "./hub.js";

const calls = new Map();
const handled = new Map();
const count = (key) => calls.set(key, (calls.get(key) ?? 0) + 1).get(key);
const policy = (maxNumberOfAttempts, more = {}) =>
  new sdk.RetryPolicy({ maxNumberOfAttempts, firstRetryIntervalInMilliseconds: 50, ...more });

class OutOfStock extends Error {
  constructor(message) {
    super(message);
    this.name = "OutOfStock";
  }
}

useWorker({
  fail: (_, text) => {
    throw new OutOfStock(text);
  },
  failFirst: (_, { key, failures }) => {
    const attempt = count(key);
    if (attempt <= failures) throw new OutOfStock(`attempt ${attempt}`);
    return attempt;
  },
  raise: async function* (context, text) {
    throw new OutOfStock(text);
  },
  callFailing: async function* (context, text) {
    yield context.callActivity("fail", text);
  },
  catchFailure: async function* (context, text) {
    try {
      yield context.callActivity("fail", text);
    } catch (error) {
      return [error instanceof sdk.TaskFailedError, error.details.errorType, error.details.message];
    }
  },
  catchChild: async function* (context, text) {
    try {
      yield context.callSubOrchestrator("raise", text);
    } catch (error) {
      return error.message;
    }
  },
  callUnknown: async function* (context) {
    yield context.callActivity("noSuchActivity");
  },
  oneOfManyFails: async function* (context) {
    const good = [1, 2, 3].map(() => context.callActivity("failFirst", { key: newKey(), failures: 0 }));
    try {
      yield whenAll([...good, context.callActivity("fail", "one")]);
    } catch (error) {
      return error.message;
    }
  },
  retry: async function* (context, { attempts, ...what }) {
    return yield context.callActivity("failFirst", what, { retry: policy(attempts) });
  },
  failingChild: async function* (context, what) {
    return yield context.callActivity("failFirst", what);
  },
  retryChild: async function* (context, { attempts, ...what }) {
    return yield context.callSubOrchestrator("failingChild", what, { retry: policy(attempts) });
  },
  retryUntilTimeout: async function* (context, what) {
    const retry = policy(100, { backoffCoefficient: 2, retryTimeoutInMilliseconds: 500 });
    return yield context.callActivity("failFirst", what, { retry });
  },
  retryWithLongestPause: async function* (context, what) {
    const retry = policy(6, { backoffCoefficient: 100, maxRetryIntervalInMilliseconds: 100 });
    return yield context.callActivity("failFirst", what, { retry });
  },
  retryIf: async function* (context, what) {
    const retry = policy(5, { handleFailure: (failure) => !failure.message.includes("attempt 2") });
    return yield context.callActivity("failFirst", what, { retry });
  },
  retryByHandler: async function* (context, what) {
    const retry = (attempt) => {
      if (!context.isReplaying) handled.set(what.key, attempt.lastFailure.message);
      return attempt.lastAttemptNumber < 3;
    };
    return yield context.callActivity("failFirst", what, { retry });
  },
  retryByAsyncHandler: async function* (context, what) {
    const retry = async (attempt) => (attempt.lastAttemptNumber < 4 ? 60 : false);
    return yield context.callSubOrchestrator("failingChild", what, { retry });
  },
});

async function failure(name, input) {
  const state = await ended(await start(name, input));
  assert.equal(state.runtimeStatus, Status.FAILED);
  assert.throws(() => state.raiseIfFailed());
  return state.failureDetails;
}

test("an orchestrator that raises", async () => {
  const details = await failure("raise", "none left: ü\n2nd line");
  assert.equal(details.message, "none left: ü\n2nd line");
  assert.equal(details.errorType, "OutOfStock");
  assert.match(details.stackTrace, /failures\.test\.js/);
});

test("an activity that raises", async () => {
  const details = await failure("callFailing", "none left");
  assert.match(details.message, /none left/);
});

test("a failure that is caught", async () => {
  assert.deepEqual(await run("catchFailure", "none left"), [true, "OutOfStock", "none left"]);
});

test("a child that fails", async () => {
  assert.match(await run("catchChild", "none left"), /none left/);
});

test("an orchestrator and an activity that no worker knows", async () => {
  assert.match((await failure("noSuchOrchestrator")).message, /noSuchOrchestrator/);
  assert.match((await failure("callUnknown")).message, /noSuchActivity/);
});

test("one of many that fails", async () => {
  assert.match(await run("oneOfManyFails"), /one/);
});

test("retries that succeed", async () => {
  assert.equal(await run("retry", { key: newKey(), failures: 2, attempts: 3 }), 3);
  assert.equal(await run("retryChild", { key: newKey(), failures: 2, attempts: 3 }), 3);
});

test("retries that are used up", async () => {
  for (const name of ["retry", "retryChild"]) {
    const key = newKey();
    assert.match((await failure(name, { key, failures: 5, attempts: 3 })).message, /attempt 3/);
    assert.equal(calls.get(key), 3);
  }
});

test("retries end with their time", async () => {
  const key = newKey();
  await failure("retryUntilTimeout", { key, failures: 1000 });
  assert.ok(calls.get(key) >= 2 && calls.get(key) <= 6, `${calls.get(key)} attempts`);
});

test("the longest pause", async () => {
  assert.equal(await run("retryWithLongestPause", { key: newKey(), failures: 4 }), 5);
});

test("only failures that the policy handles", async () => {
  const key = newKey();
  await failure("retryIf", { key, failures: 4 });
  assert.equal(calls.get(key), 2);
});

test("a handler decides", async () => {
  const [good, bad] = [newKey(), newKey()];
  assert.equal(await run("retryByHandler", { key: good, failures: 2 }), 3);
  assert.equal(handled.get(good), "attempt 2");
  await failure("retryByHandler", { key: bad, failures: 9 });
  assert.equal(calls.get(bad), 3);
});

test("an async handler decides on the pause", async () => {
  assert.equal(await run("retryByAsyncHandler", { key: newKey(), failures: 3 }), 4);
});
