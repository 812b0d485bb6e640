"""Rewind: failed work runs again, completed results are kept, and the outcome is that of a run without failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

import durablecli as df
from durablecli import testing
from durablecli.errors import WrongState
from durablecli.model import events as ev
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import MessageItem

Context = df.DurableOrchestrationContext
SECOND = timedelta(seconds=1)
RETRY = df.RetryPolicy(SECOND, 2)


class RewindHarness:
    """A fault that can be repaired, and a hub with orchestrations that fail until it is."""

    def __init__(self, replay_always: bool) -> None:
        self.is_repaired = False
        self.runs: Counter[str] = Counter()
        self.hub = testing.hub(*self._functions(), replay_always=replay_always)

    def _functions(self) -> list[Any]:
        @df.activity
        def well(key: str) -> str:
            self.runs[key] += 1
            return key

        @df.activity
        def sick(key: str) -> str:
            self.runs[key] += 1
            if not self.is_repaired:
                raise ValueError(f"{key} is sick")
            return f"{key} is well"

        @df.activity
        def shaky(key: str, context: df.ActivityContext) -> str:
            self.runs[key] += 1
            if context.attempt == 1:
                raise ConnectionError(key)
            return f"{key} at last"

        @df.orchestrator
        def child(context: Context) -> Any:
            first = yield context.call_activity("well", "in child")
            second = yield context.call_activity("sick", "child") if context.get_input() else context.task_all([])
            return [first, second]

        @df.orchestrator
        def play(context: Context) -> Any:
            before, failing, after = context.get_input()
            log = []
            for step in (*before, failing, *after):
                log.append((yield from STEPS[step](context)))
            return log

        return [well, sick, shaky, child, play]

    def start(self, before: list[str], failing: str, after: list[str]) -> str:
        self.hub.client.start_new("play", "p", [before, failing, after])
        return "p"

    def run_until_ended(self) -> Any:
        """Let time pass and raise whatever is waited for."""
        for _ in range(20):
            self.hub.run()
            status = self.hub.client.get_status("p")
            if status.ended:
                return status
            for waiting in status.waiting_for:
                if waiting.kind == "event":
                    self.hub.client.raise_event("p", waiting.name or "", "raised")
            self.hub.advance(SECOND)
        raise AssertionError("it never ended")

    def rewind(self) -> Any:
        self.hub.client.rewind("p", "mended")
        return self.run_until_ended()

    def event_kinds(self, id: str = "p") -> list[str]:
        return [type(record.event).__name__ for record in self.hub.client.get_history(id)]


def _activity(context: Context) -> Any:
    return (yield context.call_activity("well", "activity"))


def _retry(context: Context) -> Any:
    return (yield context.call_activity_with_retry("shaky", RETRY, "retry"))


def _timer(context: Context) -> Any:
    yield context.create_timer(SECOND)
    return "slept"


def _child(context: Context) -> Any:
    return (yield context.call_sub_orchestrator("child", False))


def _event(context: Context) -> Any:
    return (yield context.wait_for_external_event("E"))


def _caught(context: Context) -> Any:
    try:
        yield context.call_activity_with_retry("sick", RETRY, "caught")
    except ValueError:
        return "caught"
    return "nothing to catch"


def _sick(context: Context) -> Any:
    return (yield context.call_activity("sick", "failing"))


def _sick_retry(context: Context) -> Any:
    return (yield context.call_activity_with_retry("sick", RETRY, "failing"))


def _sick_child(context: Context) -> Any:
    return (yield context.call_sub_orchestrator("child", True))


def _sick_child_retry(context: Context) -> Any:
    return (yield context.call_sub_orchestrator_with_retry("child", RETRY, True))


def _sick_fan(context: Context) -> Any:
    tasks = [context.call_activity(name, key) for name, key in (("well", "f1"), ("sick", "f2"), ("sick", "f3"))]
    tasks.append(context.call_sub_orchestrator("child", True))
    return (yield context.task_all(tasks))


def _reraised(context: Context) -> Any:
    try:
        return (yield from _sick(context))
    except ValueError as error:
        yield context.call_activity("well", "cleanup")
        raise RuntimeError("given up") from error


def _reraised_child(context: Context) -> Any:
    try:
        return (yield context.call_sub_orchestrator("child", True, "named"))
    except df.TaskFailedError:
        yield context.create_timer(SECOND)
        yield context.call_sub_orchestrator("child", False)
        raise


STEPS = {
    "activity": _activity,
    "retry": _retry,
    "timer": _timer,
    "child": _child,
    "event": _event,
    "caught": _caught,
    "sick": _sick,
    "sick_retry": _sick_retry,
    "sick_child": _sick_child,
    "sick_child_retry": _sick_child_retry,
    "sick_fan": _sick_fan,
    "reraised": _reraised,
    "reraised_child": _reraised_child,
}
GOOD = ["activity", "retry", "timer", "child", "event", "caught"]
FAILING = ["sick", "sick_retry", "sick_child", "sick_child_retry", "sick_fan", "reraised", "reraised_child"]


@pytest.fixture
def harness(replay_always: bool) -> Iterator[RewindHarness]:
    stage = RewindHarness(replay_always)
    yield stage
    stage.hub.close()


@pytest.mark.parametrize("failing", FAILING)
@pytest.mark.parametrize("good", GOOD)
@pytest.mark.parametrize("restart", [False, True], ids=["live", "restarted"])
def test_a_rewound_run_ends_like_one_that_never_failed(
    harness: RewindHarness, good: str, failing: str, restart: bool
) -> None:
    harness.start([good], failing, [good])
    assert harness.run_until_ended().runtime_status.value == "Failed"
    kept = harness.runs["activity"], harness.runs["retry"], harness.runs["caught"], harness.runs["in child"]
    harness.is_repaired = True
    if restart:
        harness.hub.restart()
    status = harness.rewind()
    assert status.runtime_status.value == "Completed", status.output
    before, found, after = status.output
    healthy = RewindHarness(False)
    healthy.is_repaired = True
    healthy.start([good], failing, [good])
    expected = healthy.run_until_ended().output
    healthy.hub.close()
    assert found == expected[1]
    assert after == expected[2]
    assert before == ("caught" if good == "caught" else expected[0]), "what was caught before the failure stays caught"
    again = {"activity": (1, 0, 0, 0), "retry": (0, 2, 0, 0), "caught": (0, 0, 1, 0)}.get(good, (0, 0, 0, 0))
    now = harness.runs["activity"], harness.runs["retry"], harness.runs["caught"]
    assert now == tuple(a + b for a, b in zip(kept[:3], again, strict=False)), (
        "completed work ran only after the rewind point"
    )


@pytest.mark.parametrize("failing", FAILING)
def test_a_rewind_before_the_repair_fails_again_and_can_be_repeated(harness: RewindHarness, failing: str) -> None:
    harness.start([], failing, [])
    harness.run_until_ended()
    assert harness.rewind().runtime_status.value == "Failed"
    harness.is_repaired = True
    assert harness.rewind().runtime_status.value == "Completed"
    assert harness.event_kinds().count("ExecutionRewound") == 2


def test_a_function_that_raised_is_decided_again_by_fixed_code() -> None:
    @df.orchestrator(name="play")
    def broken(context: Context) -> Any:
        yield context.wait_for_external_event("E")
        raise ZeroDivisionError

    @df.orchestrator(name="play")
    def mended(context: Context) -> Any:
        value = yield context.wait_for_external_event("E")
        return value

    with testing.hub(broken) as hub:
        hub.client.start_new("play", "p")
        hub.client.raise_event("p", "E", 7)
        hub.run()
        assert hub.client.get_status("p").runtime_status is df.OrchestrationRuntimeStatus.Failed
        hub.restart(mended)
        hub.client.rewind("p")
        assert hub.finish("p").output == 7


def test_events_that_came_behind_the_end_are_read_after_a_rewind() -> None:
    @df.orchestrator(name="play")
    def broken(context: Context) -> Any:
        raise ZeroDivisionError
        yield

    @df.orchestrator(name="play")
    def mended(context: Context) -> Any:
        return (yield context.wait_for_external_event("E"))

    with testing.hub(broken) as hub:
        hub.client.start_new("play", "p")
        hub.run()
        hub.engine.submit("raise-event", [MessageItem("p", "E")])
        hub.run()
        hub.restart(mended)
        hub.client.rewind("p")
        assert hub.finish("p").runtime_status is df.OrchestrationRuntimeStatus.Completed


def test_only_a_failed_instance_can_be_rewound(harness: RewindHarness) -> None:
    harness.start([], "activity", [])
    harness.run_until_ended()
    with pytest.raises(WrongState, match="only a failed instance"):
        harness.hub.client.rewind("p")


def test_a_child_that_was_purged_meanwhile_is_started_again(harness: RewindHarness) -> None:
    harness.start([], "sick_child", [])
    harness.run_until_ended()
    (created,) = [each.event for each in harness.hub.client.get_history("p") if "Created" in type(each.event).__name__]
    assert isinstance(created, ev.SubOrchestrationInstanceCreated)
    harness.hub.client.purge_instance_history(created.instance)
    harness.hub.run()
    assert not harness.hub.client.get_status(created.instance)
    harness.is_repaired = True
    assert harness.rewind().output == [["in child", "child is well"]]


def test_a_purged_child_is_not_started_again_while_a_start_of_its_id_is_pending(harness: RewindHarness) -> None:
    harness.start([], "sick_child", [])
    harness.run_until_ended()
    child = next(each.instance_id for each in harness.hub.client.get_status_all() if each.name == "child")
    harness.hub.client.purge_instance_history(child)
    harness.hub.run()
    harness.is_repaired = True
    inbox = Inbox(harness.hub.disk, "hub")
    inbox.reserve(child, "m-1")
    inbox.post("start", [MessageItem(child, "child", msgspec.Raw(b"false"), reserved=True)], "m-1")
    harness.hub.client.rewind("p")
    harness.hub.run()
    assert "already exists" in str(harness.hub.client.get_status("p").output)
    assert harness.hub.client.get_status(child).parent_instance_id is None
    assert harness.hub.engine.stats["undelivered"] == 0


def test_the_late_result_of_a_void_activity_is_dropped_and_counted() -> None:
    repaired = False

    @df.activity
    def sick(value: Any) -> str:
        if not repaired:
            raise ValueError
        return "well"

    @df.activity
    def slow(value: Any) -> str:
        return "late"

    @df.orchestrator
    def play(context: Context) -> Any:
        try:
            yield context.call_activity(sick)
        except ValueError as error:
            context.call_activity(slow)
            raise RuntimeError from error
        return "done"

    with testing.hub(sick, slow, play) as hub:
        hub.client.start_new(play, "p")
        hub.pool.run_next()
        hub.engine.step()
        assert list(hub.pool.waiting), "the activity of the failed run is still under way"
        repaired = True
        late = next(iter(hub.pool.waiting))
        hub.engine.flush()
        hub.client.rewind("p")
        hub.pool.run_next(late)
        assert hub.finish("p").output == "done"
        assert hub.engine.stats["dropped"] == 1


def test_the_late_result_of_a_kept_activity_still_counts() -> None:
    repaired = False
    runs: Counter[str] = Counter()

    @df.activity
    def sick(value: Any) -> str:
        if not repaired:
            raise ValueError
        return "well"

    @df.activity
    def slow(value: Any) -> str:
        runs["slow"] += 1
        return "late"

    @df.orchestrator
    def play(context: Context) -> Any:
        task = context.call_activity(slow)
        yield context.call_activity(sick)
        return (yield task)

    with testing.hub(sick, slow, play) as hub:
        hub.client.start_new(play, "p")
        first, second = sorted(hub.pool.waiting)
        hub.pool.run_next(second)
        hub.engine.step()
        hub.engine.flush()
        repaired = True
        hub.client.rewind("p")
        hub.pool.run_next(first)
        assert hub.finish("p").output == "late"
        assert runs["slow"] == 1


@pytest.mark.parametrize("after", ["complete", "fail", "continue", "be purged"])
def test_a_child_that_continued_after_its_parent_failed_counts_after_a_rewind(after: str) -> None:
    repaired = False

    @df.activity
    def sick(value: Any) -> str:
        if not repaired:
            raise ValueError
        return "well"

    @df.orchestrator
    def slow(context: Context) -> Any:
        value = yield context.wait_for_external_event("Go")
        if value == "fail":
            raise ValueError("no")
        return value

    @df.orchestrator
    def play(context: Context) -> Any:
        task = context.call_sub_orchestrator(slow, None, "c")
        yield context.call_activity(sick)
        winner = yield context.task_any([task])
        return winner.is_faulted or winner.result

    with testing.hub(sick, slow, play) as hub:
        hub.client.start_new(play, "p")
        hub.run()
        assert hub.client.get_status("p").runtime_status is df.OrchestrationRuntimeStatus.Failed
        if after != "continue":
            hub.client.raise_event("c", "Go", after)
            hub.run()
        if after == "be purged":
            hub.client.purge_instance_history("c")
            hub.run()
        repaired = True
        hub.client.rewind("p")
        hub.run()
        if after in ("continue", "be purged"):
            hub.client.raise_event("c", "Go", "complete")
        assert hub.finish("p").output == (True if after == "fail" else "complete")
