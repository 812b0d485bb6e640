"""The cost of a turn, counted in function calls: it is small, and doesn't grow with the history or with open tasks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

import durablecli as df
from durablecli.model import codec
from durablecli.model import events as ev
from durablecli.model.payloads import encode
from durablecli.replay.function_marks import UNKNOWN_TRAITS, CalleeTraits
from durablecli.replay.replay import create_executor, replay
from durablecli.replay.runtime_state import RuntimeState, fold_history
from tests.support.call_counter import count_calls

Context = df.DurableOrchestrationContext
AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
SEED = 7


@df.activity
def hello(name: str) -> str:
    return name


def chain(context: Context) -> Any:
    for step in range(context.get_input()):
        yield context.call_activity(hello, str(step))


def fan_out(context: Context) -> Any:
    yield context.task_all([context.call_activity(hello, str(n)) for n in range(context.get_input())])


def nested_fan_out(context: Context) -> Any:
    calls = [context.call_activity(hello, str(n)) for n in range(context.get_input())]
    either = context.task_any([context.wait_for_external_event("stop"), context.task_all(calls)])
    yield either


def retries(context: Context) -> Any:
    policy = df.RetryOptions(1_000, 2)
    yield context.task_all(
        [context.call_activity_with_retry(hello, policy, str(n)) for n in range(context.get_input())]
    )


def no_traits(name: str) -> CalleeTraits:
    return UNKNOWN_TRAITS


def run_live(function: Callable[[Any], Any], size: int) -> list[ev.Record]:
    """Run a function over the results of all its activities; returns the history."""
    started = ev.ExecutionStarted("i", "e", "flow", encode(size))
    state, executor = RuntimeState(), create_executor(function, started, no_traits)
    arrivals: list[ev.Arrival] = [started]
    records: list[ev.Record] = []
    for event in arrivals:
        arrival = ev.Record(len(records) + 1, AT, event)
        for record in (arrival, *executor.apply(arrival, AT, arrival.n + 1)):
            records.append(record)
            state.apply(record)
            if isinstance(record.event, ev.TaskScheduled):
                arrivals.append(ev.TaskCompleted(record.n, encode("x")))
    assert state.status == "Completed"
    executor.close()
    return records


def rebuild(function: Callable[[Any], Any], lines: list[bytes]) -> None:
    """Read and fold a history, and replay it."""
    executor, _ = replay(function, fold_history([codec.decode_record(line, SEED) for line in lines]), no_traits)
    assert executor.ended
    executor.close()


@pytest.mark.parametrize("function", [chain, fan_out, nested_fan_out, retries])
def test_a_live_step_costs_the_same_among_a_hundred_and_among_ten_thousand(function: Callable[[Any], Any]) -> None:
    run_live(function, 1)
    few, many = (count_calls(partial(run_live, function, size)) / size for size in (100, 10_000))
    assert many < few * 1.05


@pytest.mark.parametrize("function", [chain, fan_out, nested_fan_out, retries])
def test_a_replayed_step_costs_the_same_in_a_short_history_and_in_a_long_one(function: Callable[[Any], Any]) -> None:
    costs = []
    for size in (100, 10_000):
        lines = [codec.encode_record(record, SEED) for record in run_live(function, size)]
        costs.append(count_calls(partial(rebuild, function, lines)) / size)
    assert costs[1] < costs[0] * 1.05


def test_a_step_takes_few_calls() -> None:
    run_live(chain, 1)
    assert count_calls(partial(run_live, chain, 1000)) < 72_000
    lines = [codec.encode_record(record, SEED) for record in run_live(chain, 1000)]
    assert count_calls(partial(rebuild, chain, lines)) < 80_000
