"""Activities that fork, in threads of the engine."""

import multiprocessing
import os
import sys
import time
from collections.abc import Generator
from typing import Any

import durablecli as df

Steps = Generator[Any, Any, Any]
forking = multiprocessing.get_context("fork")


def record_run(*words: object) -> None:
    """Write a line to the file that the test reads."""
    with open(os.environ["RUNS"], "a", encoding="utf-8") as file:
        file.write(" ".join(map(str, words)) + "\n")


@df.activity
def terminates(value: Any) -> int | None:
    child = forking.Process(target=time.sleep, args=(1000,))
    child.start()
    child.terminate()
    child.join(30)
    return child.exitcode


@df.activity
def pools(value: int) -> list[int]:
    with forking.Pool(2) as pool:
        return pool.map(abs, [-value, value])


@df.activity
def leaks(how: str) -> int:
    """Fork a child that returns from the activity."""
    child = os.fork()
    if child == 0:
        if how == "exit":
            sys.exit(3)
        return -1
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@df.activity
async def leaks_async(value: Any) -> int:
    return leaks("return")


@df.activity
def counts(value: int) -> int:
    record_run("counted", value)
    return value


@df.activity
def lingers(value: Any) -> None:
    """Fork a child that outlives the engine."""
    child = forking.Process(target=time.sleep, args=(60,))
    child.start()
    record_run("child", child.pid)
    time.sleep(60)


@df.orchestrator
def forks(context: df.DurableOrchestrationContext) -> Steps:
    ended = yield context.call_activity(terminates)
    pooled = yield context.call_activity(pools, 4)
    left = []
    for call in (("leaks", "exit"), ("leaks", "return"), ("leaks_async", None)):
        left.append((yield context.call_activity(*call)))
    counted = yield context.task_all([context.call_activity(counts, i) for i in range(4)])
    return [ended, pooled, left, counted]


@df.orchestrator
def leaves(context: df.DurableOrchestrationContext) -> Steps:
    yield context.call_activity(lingers)
