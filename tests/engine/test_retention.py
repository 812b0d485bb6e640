"""Retention: ended instances are purged when they are old enough, a little at a time, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.client import Query
from durablecli.config import RetentionConfig
from durablecli.engine import retention
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.purging import Purger
from durablecli.store.check.checker import check_hub
from durablecli.store.inbox.messages import MessageItem
from tests.support.flows import calls, echo, waits

DAY = timedelta(days=1)
Context = df.DurableOrchestrationContext


@df.orchestrator
def fails(context: Context) -> Any:
    raise ValueError("no")


@df.orchestrator
def parent(context: Context) -> Any:
    yield context.call_sub_orchestrator(calls, 1, "child")
    yield context.wait_for_external_event("Go")


@df.orchestrator
def eternal(context: Context) -> Any:
    count = context.get_input()
    yield context.call_sub_orchestrator(calls, 1, f"child-{count}")
    yield context.wait_for_external_event("Next")
    context.continue_as_new(count + 1)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_MIN_PAUSE", 0.0)


def make_hub(**ages: timedelta) -> testing.TestEnvironment:
    options = EngineOptions(use_threads=False, turn_budget=timedelta.max, retention=RetentionConfig(**ages))
    functions = (echo, calls, waits, fails, parent, eternal)
    return testing.TestEnvironment(testing.build_registry(*functions), testing.START, options)


def pass_time(hub: testing.TestEnvironment, time: timedelta) -> None:
    hub.advance(time)
    hub.run()


def list_ids(hub: testing.TestEnvironment) -> set[str]:
    return set(hub.client.iter_ids(Query()))


def count_purged(hub: testing.TestEnvironment) -> int:
    return hub.engine.metrics.snapshot().total("purged")


def test_each_outcome_is_kept_for_its_time_from_the_end() -> None:
    with make_hub(completed=30 * DAY, failed=90 * DAY) as hub:
        for name, orchestrator in (("done", calls), ("failed", fails), ("late", waits), ("ended", waits)):
            hub.client.start_new(orchestrator, name, 1)
        hub.client.start_new(waits, "live")
        hub.run()
        hub.client.terminate("ended")
        pass_time(hub, 29 * DAY)
        hub.client.raise_event("late", "Go")
        hub.run()
        assert list_ids(hub) == {"done", "failed", "late", "ended", "live"}
        pass_time(hub, 2 * DAY)
        assert list_ids(hub) == {"failed", "late", "ended", "live"}
        pass_time(hub, 29 * DAY)
        assert list_ids(hub) == {"failed", "ended", "live"}
        pass_time(hub, 31 * DAY)
        assert list_ids(hub) == {"ended", "live"}
        assert [line.partition(", freed")[0] for line in hub.output_lines] == ["retention: purged 1 instance"] * 3
        hub.engine.flush()
        assert not check_hub("hub", hub.disk).findings


def test_a_hub_without_retention_keeps_everything() -> None:
    with make_hub() as hub:
        hub.client.start_new(calls, "done", 1)
        pass_time(hub, 10_000 * DAY)
        assert list_ids(hub) == {"done"}
        assert hub.output_lines == []


def test_a_child_goes_with_its_parent_and_not_before() -> None:
    with make_hub(completed=DAY) as hub:
        hub.client.start_new(parent, "parent")
        hub.client.start_new(calls, "child-of-nobody", 1)
        pass_time(hub, 2 * DAY)
        assert list_ids(hub) == {"parent", "child"}
        hub.client.raise_event("parent", "Go")
        pass_time(hub, timedelta(hours=1))
        assert list_ids(hub) == {"parent", "child"}
        pass_time(hub, DAY)
        assert list_ids(hub) == set()
        assert hub.output_lines[-1].startswith("retention: purged 2 instances, freed ")


def test_the_children_of_earlier_executions_are_purged_by_their_own_age() -> None:
    with make_hub(completed=10 * DAY) as hub:
        hub.client.start_new(eternal, "eternal", 0)
        hub.run()
        for _ in range(5):
            pass_time(hub, 4 * DAY)
            hub.client.raise_event("eternal", "Next")
            hub.run()
        pass_time(hub, 4 * DAY)
        assert list_ids(hub) == {"eternal", "child-5", "child-4"}
        pass_time(hub, 20 * DAY)
        assert list_ids(hub) == {"eternal", "child-5"}


def test_an_orphan_is_purged() -> None:
    with make_hub(completed=DAY) as hub:
        hub.client.start_new(parent, "parent")
        hub.run()
        hub.engine.submit("purge", [MessageItem("parent", force=True, recursive=False)])
        hub.run()
        assert list_ids(hub) == {"child"}
        pass_time(hub, 2 * DAY)
        assert list_ids(hub) == set()


@pytest.mark.parametrize("verb", ["rewind", "start"])
def test_an_instance_that_begins_again_is_not_purged(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setattr(retention, "_SLICE", 1e-9)
    with make_hub(failed=DAY) as hub:
        for name in ("a", "x"):
            hub.client.start_new(fails, name)
            hub.run()
        hub.clock.advance(2 * DAY)
        while not count_purged(hub):
            hub.engine.step()
        hub.engine.submit(verb, [MessageItem("x", "waits" if verb == "start" else None, if_exists="fail_if_running")])
        hub.run()
        assert list_ids(hub) == {"x"}
        assert [line.partition(", freed")[0] for line in hub.output_lines] == ["retention: purged 1 instance"]


def test_very_many_are_purged_in_slices_between_which_others_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_PAGE_SIZE", 50)
    with make_hub(completed=DAY) as hub:
        hub.client.start_many(calls, range(300))
        hub.run()
        hub.clock.advance(2 * DAY)
        purged_before: list[int] = []

        def slices() -> Iterable[int]:
            while hub.engine.step() or not hub.engine.is_quiescent:
                yield count_purged(hub)

        for done in slices():
            purged_before.append(done)
        assert list_ids(hub) == set()
        steps = [after - before for before, after in pairwise(purged_before)]
        assert max(steps) < 100, "one cycle has purged a large part of them"
        assert count_purged(hub) == 300
        assert hub.engine.metrics.snapshot().total("purged bytes") > 300 * 300
        hub.run()
        assert len(hub.output_lines) == 1
        assert hub.output_lines[0].startswith("retention: purged 300 instances, freed ")


def test_an_instance_that_cannot_be_purged_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with make_hub(completed=DAY) as hub:
        for name in ("a", "b", "c"):
            hub.client.start_new(calls, name, 1)
        hub.run()
        purge = Purger.purge

        def purge_or_fail(self: Any, instance: Any, *, recursive: bool) -> Any:
            if instance.id == "b":
                raise ValueError("a defect")
            return purge(self, instance, recursive=recursive)

        monkeypatch.setattr(Purger, "purge", purge_or_fail)
        for _ in range(3):  # it is blocked at first, and quarantined the next time
            pass_time(hub, 2 * DAY)
        assert list_ids(hub) == {"b"}


def test_a_restart_continues_a_sweep() -> None:
    with make_hub(completed=DAY) as hub:
        hub.client.start_many(calls, range(100))
        hub.run()
        hub.advance(2 * DAY)
        while not count_purged(hub):
            hub.engine.step()
        hub.engine.flush()
        hub.restart()
        assert not check_hub("hub", hub.disk).findings
        hub.run()
        assert list_ids(hub) == set()


@pytest.mark.parametrize("age", [timedelta(0), timedelta.max])
def test_any_age_is_possible(age: timedelta) -> None:
    with make_hub(completed=age) as hub:
        hub.client.start_new(calls, "x", 1)
        hub.run()
        pass_time(hub, DAY)
        assert list_ids(hub) == ({"x"} if age else set())
