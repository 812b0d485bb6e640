"""Functions that print and log, in all executors, and some that kill what they run in."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Generator
from typing import Any

import durablecli as df

Steps = Generator[Any, Any, Any]
own_logger = logging.getLogger("own.module")


def speak(kind: str, number: int, context: df.ActivityContext) -> None:
    print(f"{kind} prints {number}")  # in one piece: other threads print at the same time
    context.logger.info("%s logs %s", kind, number)
    own_logger.warning("a module of %s %s", kind, number)


@df.activity
def in_thread(number: int, context: df.ActivityContext) -> None:
    speak("thread", number, context)


@df.activity
async def in_loop(number: int, context: df.ActivityContext) -> None:
    await asyncio.sleep(0)
    await asyncio.to_thread(speak, "loop", number, context)


@df.activity(executor="process")
def in_process(number: int, context: df.ActivityContext) -> None:
    speak("process", number, context)


@df.orchestrator
def fan(context: df.DurableOrchestrationContext) -> Steps:
    print("fan of", context.get_input())
    calls = [
        context.call_activity(function, number)
        for number in range(context.get_input())
        for function in (in_thread, in_loop, in_process)
    ]
    yield context.task_all(calls)
    context.logger.info("the fan is done")


def wait_for_release() -> None:
    while not os.path.exists(os.environ["RELEASED"]):
        time.sleep(0.01)


@df.activity
def kill_the_engine(number: int, context: df.ActivityContext) -> None:
    print("before", context.redelivered)
    print("without an end", end="")
    print()
    if not context.redelivered:
        os.kill(os.getpid(), signal.SIGKILL)
    print("after")


@df.orchestrator
def killed(context: df.DurableOrchestrationContext) -> Steps:
    print("first turn")
    yield context.call_activity(in_thread, 1)
    print("second turn")
    yield context.call_activity(kill_the_engine, 2)
    print("third turn")


@df.activity(executor="process")
def kill_the_worker(number: int, context: df.ActivityContext) -> None:
    print("before", context.redelivered)
    if not context.redelivered:
        os.kill(os.getpid(), signal.SIGKILL)
    print("after")


@df.orchestrator
def worker_killed(context: df.DurableOrchestrationContext) -> Steps:
    yield context.call_activity(kill_the_worker, 1)


@df.activity
def waits(number: int) -> None:
    print("begins to wait")
    wait_for_release()
    print("has waited")


@df.activity(executor="process")
def waits_in_process(number: int) -> None:
    print("begins to wait")
    wait_for_release()
    print("has waited")


@df.orchestrator
def waiting(context: df.DurableOrchestrationContext) -> Steps:
    yield context.call_activity(context.get_input(), 1)
    print("the end")


@df.entity
class Counter(df.DurableEntity):
    value: int = 0

    def add(self, amount: int) -> None:
        print("adds", amount)
        self.value += amount


@df.orchestrator
def silent(context: df.DurableOrchestrationContext) -> int:
    return 1
