"""Activities of every kind that run longer than they may, and orchestrators that handle it."""

import asyncio
import os
import signal
import time
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import durablecli as df

Steps = Generator[Any, Any, Any]


def record_run(*words: object) -> None:
    """Write a line to the file that the test reads."""
    descriptor = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    os.close(descriptor)


@df.activity(timeout=0.3)
def in_thread(attempt: int, context: df.ActivityContext) -> str:
    while not context.cancelled:
        time.sleep(0.01)
    record_run("thread", str(context.cancel_reason).replace(" ", "_"))
    return "too late"


@df.activity(timeout="300ms")
async def in_loop(attempt: int) -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        record_run("loop")
        raise


@df.activity(executor="process", timeout=timedelta(seconds=0.3))
def in_process(attempt: int) -> None:
    record_run("process", os.getpid())
    time.sleep(60)


@df.activity(executor="process", heartbeat_timeout=30)
def beats(silent: bool, context: df.ActivityContext) -> str:
    page = 0
    while not os.path.exists(os.environ["RELEASED"]) or silent:
        if not silent:
            context.heartbeat({"page": page})
        page += 1
        time.sleep(0.01)
    return "done"


def note_reason(context: df.ActivityContext) -> None:
    record_run("begin")
    while not context.cancelled:
        time.sleep(0.01)
    record_run(context.cancel_reason)


@df.activity
def asks_in_thread(value: int, context: df.ActivityContext) -> None:
    note_reason(context)


@df.activity(executor="process")
def asks_in_process(value: int, context: df.ActivityContext) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note_reason(context)


@df.activity
async def asks_in_loop(value: int, context: df.ActivityContext) -> None:
    record_run("begin")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        record_run(context.cancel_reason)
        raise


@df.activity
def breaks(value: int) -> None:
    while not os.path.exists(os.environ["RUNS"]):  # until the other has begun
        time.sleep(0.01)
    raise ValueError("broken")


@df.orchestrator
def waits(context: df.DurableOrchestrationContext) -> Steps:
    yield context.wait_for_external_event("never")


@df.orchestrator
def cancels(context: df.DurableOrchestrationContext) -> Steps:
    task = context.call_activity(context.get_input(), 1)
    yield context.wait_for_external_event("stop")
    task.cancel()
    try:
        yield task
    except df.TaskCanceledError as error:
        return str(error)


@df.orchestrator
def fails_fast(context: df.DurableOrchestrationContext) -> Steps:
    tasks = [
        context.call_activity(asks_in_thread, 1),
        context.call_sub_orchestrator(waits, 1),
        context.call_activity(breaks, 1),
    ]
    yield context.task_all(tasks, fail_fast=True)


@df.orchestrator
def asks(context: df.DurableOrchestrationContext) -> Steps:
    yield context.call_activity(context.get_input(), 1)


@df.activity
def says(text: str) -> str:
    return text


@df.orchestrator
def catches(context: df.DurableOrchestrationContext) -> Steps:
    try:
        yield context.call_activity(context.get_input(), 1)
    except df.ActivityTimedOut as error:
        return (yield context.call_activity(says, getattr(error.failure, "message", "")))


@df.orchestrator
def retries(context: df.DurableOrchestrationContext) -> Steps:
    policy = df.RetryPolicy(timedelta(milliseconds=10), 3)
    try:
        yield context.call_activity_with_retry(context.get_input(), policy, 1)
    except TimeoutError as error:
        return str(error)


@df.orchestrator
def beating(context: df.DurableOrchestrationContext) -> Steps:
    first = yield context.call_activity(beats, False)
    try:
        yield context.call_activity(beats, True, heartbeat_timeout=0.3)
    except TimeoutError as error:
        return [first, str(error)]
