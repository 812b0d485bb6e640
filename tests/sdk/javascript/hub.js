// A hub as the JavaScript SDK sees it: one client and one worker per file, and shorthands for what most tests do.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";

import sdk from "@microsoft/durabletask-js";

export const { EntityInstanceId, OrchestrationStatus: Status, TaskEntity, whenAll, whenAny } = sdk;
export { after, assert, before, sdk, test };

const SECONDS = 20;
const hostAddress = process.env.HUB_ADDRESS;
const logger = new sdk.NoOpLogger();

export const client = new sdk.TaskHubGrpcClient({ hostAddress, logger });

/** Functions by name: generators are orchestrators, classes are entities, all others are activities. */
export function makeWorker(functions, options = {}) {
  const worker = new sdk.TaskHubGrpcWorker({ hostAddress, logger, ...options });
  for (const [name, code] of Object.entries(functions)) {
    if (code.prototype instanceof TaskEntity) worker.addNamedEntity(name, () => new code());
    else if (code.constructor.name === "AsyncGeneratorFunction") worker.addNamedOrchestrator(name, code);
    else worker.addNamedActivity(name, code);
  }
  return worker;
}

/** One worker for all tests of a file. */
export function useWorker(functions) {
  const worker = makeWorker(functions);
  before(() => worker.start());
  after(() => Promise.all([worker.stop(), client.stop()]));
}

const stops = [];
after(() => Promise.all(stops));

/** Workers for one test. */
export async function withWorkers(workers, run) {
  await Promise.all(workers.map((worker) => worker.start()));
  try {
    await run();
  } finally {
    stops.push(...workers.map((worker) => worker.stop())); // they close their streams first, and then wait
    await pause(0.05);
  }
}

export const newKey = () => randomUUID().replaceAll("-", "");
export const start = (name, input, options) => client.scheduleNewOrchestration(name, input, options);
export const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
export const decode = (text) => (text === undefined ? undefined : JSON.parse(text));

/** The state of an instance when it has ended. */
export async function ended(id) {
  return client.waitForOrchestrationCompletion(id, true, SECONDS);
}

/** The output of an instance that must succeed. */
export async function output(id) {
  const state = await ended(id);
  const told = `${state.name}: ${state.failureDetails?.message}`;
  assert.equal(state.runtimeStatus, Status.COMPLETED, told);
  return decode(state.serializedOutput);
}

export async function run(name, input, options) {
  return output(await start(name, input, options));
}

/** Ask until the condition holds; its value. */
export async function until(condition, description = condition.toString()) {
  const limit = Date.now() + SECONDS * 1000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    assert.ok(Date.now() < limit, `waited ${SECONDS} s in vain: ${description}`);
    await pause(0.02);
  }
}

export async function untilStatus(id, status) {
  await until(async () => (await client.getOrchestrationState(id)).runtimeStatus === status, `${id} has status ${status}`);
}

export async function untilCustomStatus(id, value) {
  const text = JSON.stringify(value);
  await until(async () => (await client.getOrchestrationState(id)).serializedCustomStatus === text, `${id} says ${text}`);
}

export async function entityState(id) {
  const found = await client.getEntity(id, true);
  return found?.includesState ? found.state : undefined;
}

export async function untilEntityState(id, value) {
  await until(async () => JSON.stringify(await entityState(id)) === JSON.stringify(value), `${id} has ${value}`);
}

/** Whether a gRPC error has this code. */
export const hasCode = (code) => (error) => error.code === code;
