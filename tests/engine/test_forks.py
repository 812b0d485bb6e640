"""Forks: a copy of an instance continues from an earlier record, and the original is untouched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.errors import Conflict, NotFound, UsageError, WrongState
from durablecli.model import events as ev

Context = df.DurableOrchestrationContext
SECOND = timedelta(seconds=1)


class ForkHarness:
    """A hub whose activities count their runs, and an orchestration with a step of each kind."""

    def __init__(self, replay_always: bool) -> None:
        self.runs: Counter[str] = Counter()
        self.result = "first"
        self.hub = testing.hub(*self._functions(), replay_always=replay_always)
        self.client = self.hub.client

    def _functions(self) -> list[Any]:
        @df.activity
        def work(key: str) -> str:
            self.runs[key] += 1
            return f"{key} {self.result}"

        @df.entity
        def counter(context: df.DurableEntityContext) -> None:
            context.set_state(context.get_state(lambda: 0) + 1)
            context.set_result(context.get_state())

        @df.orchestrator
        def child(context: Context) -> Any:
            return (yield context.call_activity("work", "in child"))

        @df.orchestrator
        def steps(context: Context) -> Any:
            log = [(yield context.call_activity("work", "a"))]
            log.append((yield context.call_sub_orchestrator("child")))
            log.append((yield context.call_entity("@counter@x", "add")))
            yield context.create_timer(SECOND)
            log.append((yield context.wait_for_external_event("Go")))
            log.append((yield context.call_activity("work", "b")))
            return log

        @df.orchestrator
        def locking(context: Context) -> Any:
            yield context.call_activity("work", "a")
            with (yield context.lock_entities(["@counter@x"])):
                yield context.call_entity("@counter@x", "add")
            return (yield context.call_activity("work", "b"))

        @df.orchestrator
        def with_named_child(context: Context) -> Any:
            return (yield context.call_sub_orchestrator("waiting", None, "named"))

        @df.orchestrator
        def waiting(context: Context) -> Any:
            return (yield context.wait_for_external_event("Go"))

        @df.orchestrator
        def fan(context: Context) -> Any:
            tasks = [context.call_activity("work", key) for key in ("f1", "f2", "f3")]
            return (yield context.task_all(tasks))

        return [work, counter, child, steps, locking, with_named_child, waiting, fan]

    def finish_steps(self) -> Any:
        self.client.start_new("steps", "s")
        return self.continue_to_end("s")

    def continue_to_end(self, id: str) -> Any:
        self.hub.run()
        self.hub.advance(SECOND)
        status = self.client.get_status(id)
        if not status.ended and any(wait.kind == "event" for wait in status.waiting_for):
            self.client.raise_event(id, "Go", "raised")
        return self.hub.finish(id).output

    def lines(self, id: str) -> list[bytes]:
        return [line.text for line in self.client.get_lines(id)]

    def number_of(self, id: str, kind: type, name: str | None = None) -> int:
        """The number of the first record of a kind, with that name."""
        history = self.client.get_history(id)
        return next(
            each.n
            for each in history
            if isinstance(each.event, kind) and name in (None, getattr(each.event, "name", None))
        )


@pytest.fixture
def harness(replay_always: bool) -> Iterator[ForkHarness]:
    stage = ForkHarness(replay_always)
    yield stage
    stage.hub.close()


@pytest.mark.parametrize("restart", [False, True], ids=["live", "restarted"])
def test_a_fork_from_every_record_ends_like_the_original(harness: ForkHarness, restart: bool) -> None:
    output = harness.finish_steps()
    before = harness.lines("s")
    kinds = [type(each.event) for each in harness.client.get_history("s")]
    for n in range(2, len(before) + 1):
        forked = harness.client.fork("s", n, f"fork-{n}")
        if restart:
            harness.hub.restart()
        again = harness.continue_to_end(forked)
        assert [each for each in again if isinstance(each, str)] == [each for each in output if isinstance(each, str)]
        assert [type(each.event) for each in harness.client.get_history(forked)][: n - 1] == kinds[: n - 1]
    assert harness.lines("s") == before
    assert not harness.client.check().findings


def test_what_was_answered_before_the_record_isn_t_repeated(harness: ForkHarness) -> None:
    harness.finish_steps()
    harness.runs.clear()
    harness.result = "second"
    forked = harness.client.fork("s", harness.number_of("s", ev.TimerCreated))
    assert harness.continue_to_end(forked) == ["a first", "in child first", 1, "raised", "b second"]
    assert harness.runs == {"b": 1}
    started = harness.client.get_history(forked)[0].event
    assert isinstance(started, ev.ExecutionStarted)
    assert started.forked_from is not None
    assert started.forked_from.instance == "s"


def test_what_was_open_at_the_record_runs_again(harness: ForkHarness) -> None:
    harness.client.start_new("fan", "f")
    assert harness.hub.finish("f").output == ["f1 first", "f2 first", "f3 first"]
    harness.runs.clear()
    harness.result = "second"
    second = [each.n for each in harness.client.get_history("f") if isinstance(each.event, ev.TaskCompleted)][1]
    assert harness.client.fork_preview("f", second) == ["activity work (id 3)", "activity work (id 4)"]
    forked = harness.client.fork("f", second)
    assert harness.hub.finish(forked).output == ["f1 first", "f2 second", "f3 second"]
    assert harness.runs == {"f2": 1, "f3": 1}


def test_an_open_child_gets_a_fork_s_own_id(harness: ForkHarness) -> None:
    harness.finish_steps()
    created = harness.number_of("s", ev.SubOrchestrationInstanceCreated)
    assert harness.client.fork_preview("s", created + 1) == [f"sub-orchestration child (id {created}), as a new one"]
    forked = harness.client.fork("s", created + 1)
    harness.continue_to_end(forked)
    event = harness.client.get_history(forked)[created - 1].event
    assert isinstance(event, ev.SubOrchestrationInstanceCreated)
    assert event.instance.startswith(f"{forked}:")
    assert harness.client.get_status(event.instance).output == "in child first"


def test_a_live_instance_is_forked_too(harness: ForkHarness) -> None:
    harness.client.start_new("steps", "s")
    harness.hub.run()
    harness.hub.advance(SECOND)
    last = len(harness.lines("s"))
    forked = harness.client.fork("s", last + 1)
    assert harness.continue_to_end(forked)[-2:] == ["raised", "b first"]
    assert not harness.client.get_status("s").ended


def test_a_failed_instance_continues_in_a_fork_with_mended_code(harness: ForkHarness) -> None:
    @df.activity
    def work(key: str) -> str:
        if key == "b":
            raise ValueError("broken")
        return key

    functions = [each for each in harness._functions() if each.__name__ != "work"]
    harness.hub.restart(*functions, work)
    harness.client.start_new("steps", "s")
    harness.continue_to_end("s")
    assert harness.client.get_status("s").status_name == "Failed"
    harness.hub.restart(*harness._functions())
    failed = harness.number_of("s", ev.TaskFailed)
    forked = harness.client.fork("s", failed)
    assert harness.continue_to_end(forked)[-1] == "b first"
    assert harness.client.get_status("s").status_name == "Failed"


def test_a_suspended_instance_is_forked_running(harness: ForkHarness) -> None:
    harness.client.start_new("steps", "s")
    harness.hub.run()
    harness.client.suspend("s")
    harness.hub.run()
    forked = harness.client.fork("s", len(harness.lines("s")) + 1)
    harness.hub.run()
    assert harness.client.get_status(forked).status_name == "Running"


@pytest.mark.parametrize("kind", [ev.EntityLockGranted, ev.EntityOperationCalled, ev.EntityUnlockSent])
def test_locks_refuse_a_fork_with_the_reason(harness: ForkHarness, kind: type) -> None:
    harness.client.start_new("locking", "l")
    harness.hub.finish("l")
    n = harness.number_of("l", kind)
    with pytest.raises(WrongState, match=rf"from record {n}: it held or waited for the locks of @counter@x"):
        harness.client.fork("l", n)
    assert harness.hub.finish(harness.client.fork("l", harness.number_of("l", ev.EntityUnlockSent) + 1)).output


def test_an_open_child_with_a_chosen_id_refuses_a_fork(harness: ForkHarness) -> None:
    harness.client.start_new("with_named_child", "w")
    harness.hub.run()
    with pytest.raises(WrongState, match=r"its sub-orchestration named \(record 2\) was open"):
        harness.client.fork("w", 3)


def test_records_that_can_t_be_forked(harness: ForkHarness) -> None:
    output = harness.finish_steps()
    last = len(harness.lines("s"))
    with pytest.raises(WrongState, match=f"s has ended before record {last + 1}: fork it from record {last} at most"):
        harness.client.fork("s", last + 1)
    with pytest.raises(WrongState, match=f"can be forked from records 2 to {last + 1}, not from 99"):
        harness.client.fork("s", 99)
    with pytest.raises(NotFound):
        harness.client.fork("nobody", 2)
    with pytest.raises(Conflict):
        harness.client.fork("s", 2, "s")
    assert harness.hub.finish(harness.client.fork("s", last)).output == output


def test_a_terminated_instance_is_forked_before_its_end(harness: ForkHarness) -> None:
    harness.client.start_new("steps", "s")
    harness.hub.run()
    harness.client.terminate("s", "enough")
    harness.hub.run()
    completed = harness.number_of("s", ev.ExecutionCompleted)
    assert harness.continue_to_end(harness.client.fork("s", completed))[-1] == "b first"


def test_an_entity_isn_t_forked(harness: ForkHarness) -> None:
    harness.client.signal_entity("@counter@x", "add")
    harness.hub.run()
    for fork in (harness.client.fork, harness.client.fork_preview):
        with pytest.raises(UsageError, match="@counter@x is an entity, not an instance"):
            fork("@counter@x", 2)


def test_a_fork_keeps_the_creation_time_of_the_original(harness: ForkHarness) -> None:
    harness.client.start_new("waiting", "w")
    harness.hub.run()
    harness.hub.advance(timedelta(hours=1))
    forked = harness.client.fork("w", 2)
    harness.client.raise_event(forked, "Go")
    status, original = harness.hub.finish(forked), harness.client.get_status("w")
    assert status.created_time == original.created_time
    assert status.created_time is not None
    assert status.last_updated_time is not None
    assert status.last_updated_time - status.created_time >= timedelta(hours=1)
