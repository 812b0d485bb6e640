"""Turns of held arrivals: those that decide nothing share one record with the next that does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.engine.admission import Admission
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.instance_cache import decode_records
from durablecli.model import events as ev
from durablecli.store.history.file import read_history
from durablecli.store.history.truncated import add_truncated


@df.activity
def echo(value: int) -> int:
    return value


@df.orchestrator
def fans_out(context: df.DurableOrchestrationContext) -> Any:
    results = yield context.task_all([context.call_activity(echo, i) for i in range(context.get_input())])
    context.set_custom_status("added up")
    return (yield context.call_activity(echo, sum(results)))


@df.orchestrator
def one_by_one(context: df.DurableOrchestrationContext) -> Any:
    tasks = [context.call_activity(echo, i) for i in range(5)]
    for task in tasks:
        context.set_custom_status((yield task))
    return "done"


@df.orchestrator
def gathers(context: df.DurableOrchestrationContext) -> Any:
    tasks = [context.call_activity(echo, i) for i in range(3)]
    events = [context.wait_for_external_event("Go") for _ in range(3)]
    return (yield context.task_all([*tasks, *events]))


@pytest.fixture(params=[False, True], ids=["live", "replayed"])
def hub(request: pytest.FixtureRequest) -> Iterator[testing.TestEnvironment]:
    options = EngineOptions(use_threads=False, turn_budget=timedelta.max, replay_always=request.param)
    registry = testing.build_registry(echo, fans_out, one_by_one, gathers)
    with testing.TestEnvironment(registry, testing.START, options) as found:
        yield found


def count_marks(hub: testing.TestEnvironment, id: str) -> int:
    """How many records apply held arrivals."""
    history = read_history(hub.disk, "hub", id)
    assert history is not None
    return sum(isinstance(record.event, ev.OrchestratorStarted) for record in decode_records(history.lines))


def hold_everything(hub: testing.TestEnvironment, name: str, value: object = None) -> None:
    """Start an instance, and have all results of its first turn held."""
    hub.client.start_new(name, "x", value)
    hub.engine.step()
    hub.client.suspend("x", "so that results are held")
    hub.run()
    assert count_marks(hub, "x") == 0


@pytest.mark.parametrize("restarted", [False, True])
def test_results_that_decide_nothing_share_a_record(hub: testing.TestEnvironment, restarted: bool) -> None:
    hold_everything(hub, "fans_out", 300)
    if restarted:
        hub.restart()
    hub.client.resume("x", "")
    hub.run()
    assert hub.client.get_status("x").output == sum(range(300))
    assert hub.client.get_status("x").custom_status == "added up"
    assert count_marks(hub, "x") == 1
    hub.restart()
    assert hub.client.get_status("x").output == sum(range(300))


def test_each_turn_that_decides_has_a_record_of_its_own(hub: testing.TestEnvironment) -> None:
    hold_everything(hub, "one_by_one")
    hub.client.resume("x", "")
    hub.run()
    assert hub.client.get_status("x").output == "done"
    assert count_marks(hub, "x") == 5


def test_each_event_has_a_record_of_its_own(hub: testing.TestEnvironment) -> None:
    hold_everything(hub, "gathers")
    for number in range(3):
        hub.client.raise_event("x", "Go", number)
    hub.run()
    hub.client.resume("x", "")
    hub.run()
    assert hub.client.get_status("x").output == [0, 1, 2, 0, 1, 2]
    assert count_marks(hub, "x") == 4


def test_a_replay_in_the_middle_of_shared_records_decides_the_same(hub: testing.TestEnvironment) -> None:
    """The last result comes after the group, and finds the tasks of the others complete."""
    hub.client.start_new("gathers", "x")
    hub.engine.step()
    hub.client.suspend("x", "")
    hub.run()
    hub.client.resume("x", "")
    hub.run()
    assert count_marks(hub, "x") == 1
    hub.restart()
    for number in range(3):
        hub.client.raise_event("x", "Go", number)
    hub.run()
    assert hub.client.get_status("x").output == [0, 1, 2, 0, 1, 2]


def test_a_held_start_that_a_repair_has_left_alone_runs(
    hub: testing.TestEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No turn was cut off, although the history was."""
    with monkeypatch.context() as full:
        full.setattr(Admission, "has_room", False)
        full.setattr(Admission, "take_held_room", lambda self: 0)
        hub.client.start_new("fans_out", "x", 3)
        hub.engine.flush()
        assert hub.client.get_status("x").status_name == "Pending"
        add_truncated(hub.disk, "hub", {"x"})
        hub.restart()
    assert hub.engine.hub.incomplete_turns == {"x"}
    hub.run()
    assert hub.client.get_status("x").output == 3
    assert hub.engine.hub.incomplete_turns == set()
