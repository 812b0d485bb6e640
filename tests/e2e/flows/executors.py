"""Activities of every kind (threads, coroutines, processes), and their contexts."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Generator
from typing import Any

import durablecli as df

Steps = Generator[Any, Any, Any]


def record_run(*words: object) -> None:
    """Write a line to the file that the test reads."""
    descriptor = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    os.close(descriptor)


@df.activity(executor="process")
def square(value: int) -> int:
    record_run("square", os.getpid())
    return value * value


@df.activity(executor="process")
def die_at_first(value: int, context: df.ActivityContext) -> int:
    record_run("begin", os.getpid(), context.redelivered)
    if not context.redelivered:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


@df.activity(executor="process")
def die_always(value: int) -> None:
    record_run("begin", os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


@df.activity(executor="process")
def ignore_term(value: Any) -> None:
    signal.signal(signal.SIGTERM, lambda number, frame: record_run("term"))
    record_run("begin", os.getpid())
    while True:
        time.sleep(0.05)


@df.activity
async def pause(seconds: float) -> float:
    record_run("begin")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        record_run("cancelled")
        raise
    record_run("end")
    return seconds


@df.activity(max_concurrency=2)
def narrow(value: int) -> int:
    record_run("begin")
    time.sleep(0.05)
    record_run("end")
    return value


@df.activity
def fields(value: Any, context: df.ActivityContext) -> dict[str, Any]:
    names = ("instance_id", "task_id", "name", "attempt", "redelivered", "idempotency_key", "cancelled")
    found = {name: getattr(context, name) for name in names}
    record_run("fields", context.attempt, context.task_id, context.idempotency_key)
    context.logger.info("asked by %s", context.instance_id)
    if context.attempt == 1:
        raise ValueError("once more")
    return found


@df.orchestrator
def in_a_process(context: df.DurableOrchestrationContext) -> Steps:
    value = yield context.call_activity(square, context.get_input())
    return value


@df.orchestrator
def deaths(context: df.DurableOrchestrationContext) -> Steps:
    others = [context.call_activity(square, i) for i in range(6)]
    once = context.call_activity(die_at_first, 7)
    results = yield context.task_all([*others, once])
    return results


@df.orchestrator
def hopeless(context: df.DurableOrchestrationContext) -> Steps:
    yield context.call_activity(die_always, 1)


@df.orchestrator
def stubborn(context: df.DurableOrchestrationContext) -> Steps:
    yield context.call_activity(ignore_term)


@df.orchestrator
def wait_async(context: df.DurableOrchestrationContext) -> Steps:
    yield context.call_activity(pause, 60)


@df.orchestrator
def many_async(context: df.DurableOrchestrationContext) -> Steps:
    pauses = yield context.task_all([context.call_activity(pause, 0.3) for _ in range(context.get_input())])
    return len(pauses)


@df.orchestrator
def many_narrow(context: df.DurableOrchestrationContext) -> Steps:
    values = yield context.task_all([context.call_activity(narrow, i) for i in range(context.get_input())])
    return sum(values)


@df.orchestrator
def asks(context: df.DurableOrchestrationContext) -> Steps:
    found = yield context.call_activity_with_retry(fields, df.RetryOptions(10, 3))
    return found


@df.orchestrator
def talks(context: df.DurableOrchestrationContext) -> Steps:
    print("before the first yield")
    context.logger.info("logged before the first yield")
    yield context.wait_for_external_event("go")
    print("after the first yield")
    context.logger.warning("logged after %d yields", 1)
    yield context.wait_for_external_event("go")
    print("at the end")
    return None


@df.activity
def writes_and_reads(value: Any) -> str:
    """Use the standard streams as any program does."""
    for number in (1, 2):
        os.write(number, b"written by an activity\n")
    return subprocess.run(["cat"], stdout=subprocess.PIPE, text=True, check=True).stdout


@df.orchestrator
def streams(context: df.DurableOrchestrationContext) -> Steps:
    text = yield context.call_activity(writes_and_reads)
    return text


def _run_until_cancelled(context: df.ActivityContext) -> str:
    record_run("begin")
    while not context.cancelled:
        if context.redelivered:
            return "done"
        time.sleep(0.01)
    record_run("cancelled")
    return "half done"


@df.activity
def stops_in_a_thread(value: Any, context: df.ActivityContext) -> str:
    return _run_until_cancelled(context)


@df.activity(executor="process")
def stops_in_a_process(value: Any, context: df.ActivityContext) -> str:
    return _run_until_cancelled(context)


@df.orchestrator
def stops(context: df.DurableOrchestrationContext) -> Steps:
    names = ("stops_in_a_thread", "stops_in_a_process")
    results = yield context.task_all([context.call_activity(name) for name in names])
    return results
