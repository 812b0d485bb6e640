"""Calls with names, and code that reports its progress and then waits until the test releases it."""

import asyncio
import os
import signal
import time
from collections.abc import Generator
from typing import Any

import durablecli as df

Steps = Generator[Any, Any, Any]


def wait_for_release() -> None:
    while not os.path.exists(os.environ["RELEASED"]):
        time.sleep(0.02)


@df.activity
def in_thread(value: Any, context: df.ActivityContext) -> None:
    context.progress(1, 4, "in a thread")
    wait_for_release()


@df.activity
async def in_loop(value: Any, context: df.ActivityContext) -> None:
    context.progress(0.5)
    await asyncio.to_thread(wait_for_release)


@df.activity(executor="process")
def in_process(count: int, context: df.ActivityContext) -> None:
    for n in range(count + 1):
        context.progress(n, count, "in a process")
    wait_for_release()


@df.activity(executor="process")
def never_stops_reporting(value: Any, context: df.ActivityContext) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for n in range(1_000_000):
        context.progress(n)
        time.sleep(0.01)


@df.orchestrator
def reports(context: df.DurableOrchestrationContext) -> Steps:
    context.progress(2, 3, "billing")
    yield context.task_all(
        [
            context.call_activity(in_thread, name="invoice 17"),
            context.call_activity(in_loop),
            context.call_activity(in_process, 1000),
            context.call_sub_orchestrator(waits, instance_id="child", name="the rest"),
        ]
    )


@df.orchestrator
def waits(context: df.DurableOrchestrationContext) -> Steps:
    yield context.wait_for_external_event("go")
    context.progress(1, 2)
    yield context.wait_for_external_event("go")


@df.orchestrator
def stubborn(context: df.DurableOrchestrationContext) -> Steps:
    yield context.call_activity(never_stops_reporting)
