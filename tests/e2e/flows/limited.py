"""Activities with limits, which note when they begin."""

import os
import time
from collections.abc import Generator
from typing import Any

import durablecli as df

Steps = Generator[Any, Any, Any]


def note(*words: object) -> None:
    descriptor = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, f"{' '.join(map(str, words))} {time.time_ns() // 1000}\n".encode())
    os.close(descriptor)


@df.activity(rate="5/s", key=lambda number: "odd" if number % 2 else "even")
def in_a_thread(number: int) -> int:
    note("thread", number % 2, number)
    return number


@df.activity(rate="5/s", executor="process")
def in_a_process(number: int) -> int:
    note("process", 0, number)
    return number


@df.activity(max_concurrency=2)
def holds(number: int) -> int:
    note("holds", number)
    while not os.path.exists(os.environ["RELEASED"]):
        time.sleep(0.01)
    return number


@df.activity(rate="1/h", key=lambda url: url.partition("/")[0])
def fetch(url: str) -> str:
    return url


@df.orchestrator
def fan(context: df.DurableOrchestrationContext) -> Steps:
    name, values = context.get_input()
    return (yield context.task_all([context.call_activity(name, value) for value in values]))
