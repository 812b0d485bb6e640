"""A closed executor decides and logs nothing more, whatever its function does."""

from __future__ import annotations

import gc
from typing import Any

import pytest

import durablecli as df
from tests.support.executor_harness import ExecutorHarness

Context = df.DurableOrchestrationContext


def with_finally(context: Context) -> Any:
    try:
        yield context.call_activity("F1")
    finally:
        context.call_activity("CleanUp")


def with_bare_except(context: Context) -> Any:
    try:
        yield context.call_activity("F1")
    except:  # noqa: E722 - what authors write
        context.set_custom_status("never said")
        context.logger.error("never said")
        context.send_event("other", "Never")


def with_yield_in_finally(context: Context) -> Any:
    try:
        yield context.call_activity("F1")
    finally:
        yield context.call_activity("CleanUp")


async def awaiting(context: Context) -> Any:
    try:
        await context.call_activity("F1")
    finally:
        context.create_timer(context.current_utc_datetime)


@pytest.mark.parametrize("flow", [with_finally, with_bare_except, with_yield_in_finally, awaiting])
def test_a_dropped_function_may_clean_up_and_decides_nothing(flow: Any) -> None:
    harness = ExecutorHarness(flow, check=False)
    written = list(harness.records)
    harness.executor.close()
    assert harness.executor.log_lines == []
    assert harness.records == written
    del harness
    gc.collect()  # nothing that a collector finds later may speak up


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_function_that_refuses_to_end_is_abandoned() -> None:
    rounds = []

    def stubborn(context: Context) -> Any:
        while True:
            try:
                rounds.append(1)
                yield context.call_activity("F1")
            except:  # noqa: E722, S110 - what authors write
                pass

    harness = ExecutorHarness(stubborn, check=False)
    harness.executor.close()
    assert len(rounds) > 1
    del harness
    gc.collect()


def test_a_finally_that_is_reached_by_a_failure_decides_as_ever() -> None:
    harness = ExecutorHarness(with_finally)
    assert harness.fail_task(2)[0] == "4 TaskScheduled CleanUp null"
    assert harness.runtime_state.status == "Failed"
