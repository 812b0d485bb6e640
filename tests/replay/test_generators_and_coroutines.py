"""An orchestrator decides the same as a generator and as a coroutine, and in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import durablecli as df
from tests.support.executor_harness import ExecutorHarness, format_record

Context = df.DurableOrchestrationContext


def generator(context: Context) -> Any:
    tags = {"b", "a", "c"}
    context.set_custom_status(tags)
    first = yield context.call_activity("F1", {"tags": tags})
    late = context.create_timer(timedelta(hours=1))
    event = context.wait_for_external_event("E")
    winner = yield context.task_any([event, late])
    try:
        yield context.call_activity_with_retry("F2", df.RetryOptions(1000, 2))
    except df.TaskFailedError as error:
        return [first, winner is event, str(error), context.new_uuid()]


async def coroutine(context: Context) -> Any:
    tags = {"b", "a", "c"}
    context.set_custom_status(tags)
    first = await context.call_activity("F1", {"tags": tags})
    late = context.create_timer(timedelta(hours=1))
    event = context.wait_for_external_event("E")
    winner = await context.task_any([event, late])
    try:
        await context.call_activity_with_retry("F2", df.RetryOptions(1000, 2))
    except df.TaskFailedError as error:
        return [first, winner is event, str(error), context.new_uuid()]


def drive(flow: Any) -> list[str]:
    harness = ExecutorHarness(flow)
    harness.complete_task(3, "one")
    harness.raise_event("e", 1)
    harness.fail_task(8, "once")
    harness.fire_timer(10)
    harness.fail_task(12, "twice")
    return [format_record(record) for record in harness.records]


def test_a_generator_and_a_coroutine_decide_the_same() -> None:
    lines = drive(generator)
    assert lines == drive(coroutine)
    assert "ExecutionCompleted Completed" in lines[-1]


def test_another_process_with_another_hash_seed_decides_the_same() -> None:
    def lines(seed: str) -> str:
        code = "from tests.replay.test_generators_and_coroutines import drive, generator; print(drive(generator))"
        env = os.environ | {"PYTHONHASHSEED": seed}
        root = Path(__file__).parents[2]
        return subprocess.run(
            [sys.executable, "-c", code], cwd=root, env=env, check=True, capture_output=True
        ).stdout.decode()

    assert lines("1") == lines("4711") == f"{drive(generator)}\n"
