"""Work that takes a while, and notes in a file who has done it."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import durablecli as df

RUNS = Path(os.environ.get("RUNS", os.devnull))


def note(text: str) -> None:
    with RUNS.open("a") as file:
        file.write(f"{text} {os.getpid()}\n")


@df.activity
def work(name: str) -> str:
    note(f"began {name}")
    deadline = time.monotonic() + float(os.environ.get("SECONDS", "0.2"))
    while time.monotonic() < deadline and not Path(f"{RUNS}.release").exists():
        time.sleep(0.02)
    note(f"ended {name}")
    return name


@df.activity(executor="process")
def count(limit: int) -> list[int]:
    return [sum(range(limit)), os.getpid()]


@df.activity
async def wait(name: str) -> str:
    return name


@df.activity
def attempts(times: int, context: df.ActivityContext) -> list[Any]:
    if context.attempt < times:
        raise ValueError(f"attempt {context.attempt}: {context.idempotency_key}")
    return [context.attempt, context.idempotency_key]


@df.orchestrator
def job(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    """Three steps, one after another."""
    done = []
    for step in range(3):
        done.append((yield context.call_activity(work, f"{context.instance_id}-{step}")))
        print(f"step {step} is done")
    return done


@df.orchestrator
def all_executors(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    total, process = yield context.call_activity(count, 10)
    return [total, process != os.getpid(), (yield context.call_activity(wait, "x"))]


@df.orchestrator
def retried(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    return (yield context.call_activity_with_retry(attempts, df.RetryOptions(1, 5), 3))


@df.orchestrator
def endless(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    yield context.wait_for_external_event("Never")


@df.orchestrator
def large(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    return len((yield context.call_activity(make_large, context.get_input())))


@df.activity
def make_large(size: int) -> str:
    return "x" * size
