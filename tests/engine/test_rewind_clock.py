"""Rewind and time: the execution continues at the time of the rewind; events that don't fit are dropped."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.model import events as ev

Context = df.DurableOrchestrationContext
DAYS, MINUTE, SECOND = timedelta(days=3), timedelta(minutes=1), timedelta(seconds=1)


def record_times_are_in_order(hub: testing.TestEnvironment, id: str) -> bool:
    times = [record.at for record in hub.client.get_history(id)]
    return all(a <= b for a, b in pairwise(times))


class FailsUntilRepaired:
    """An orchestrator that fails by itself until it is mended, at its start, after a call, or with work of its turn."""

    def __init__(self) -> None:
        self.is_repaired = False
        self.runs: Counter[str] = Counter()

    def make_functions(self) -> list[Any]:
        @df.activity
        def work(key: str) -> str:
            self.runs[key] += 1
            return key

        @df.orchestrator
        def play(context: Context) -> Any:
            where = context.get_input()
            if where == "call":
                yield context.call_activity(work, "first")
            if where == "event":
                yield context.wait_for_external_event("E")
            kept = context.call_activity(work, "kept") if where != "start" else None
            context.set_custom_status("under way")
            if not self.is_repaired:
                raise ValueError("not yet")
            begun = context.current_utc_datetime
            yield context.create_timer(MINUTE)
            if kept is not None:
                yield kept
            return (context.current_utc_datetime - begun).total_seconds()

        return [work, play]


@pytest.mark.parametrize("where", ["start", "with work", "call", "event"])
@pytest.mark.parametrize("restart", [None, "before", "after", "unknown"])
def test_an_orchestrator_that_raised_continues_at_the_time_of_its_rewind(
    where: str, restart: str | None, replay_always: bool
) -> None:
    broken = FailsUntilRepaired()
    functions = broken.make_functions()
    with testing.hub(*functions, replay_always=replay_always) as hub:
        hub.client.start_new("play", "p", where)
        hub.run()
        if where == "event":
            hub.client.raise_event("p", "E")
            hub.run()
        assert hub.client.get_status("p").runtime_status is df.OrchestrationRuntimeStatus.Failed
        broken.is_repaired = True
        hub.advance(DAYS)
        if restart == "before":
            hub.restart()
        if restart == "unknown":
            hub.restart(functions[0])
        hub.client.rewind("p", "mended")
        if restart == "unknown":
            hub.run()
            assert hub.client.get_status("p").blocked
            hub.advance(DAYS)
            hub.restart(*functions)
        hub.run()
        if restart == "after":
            hub.restart()
            hub.run()
        status = hub.client.get_status("p")
        assert status.runtime_status is df.OrchestrationRuntimeStatus.Running, "the timer isn't due"
        assert status.last_updated_time == hub.clock.now()
        hub.advance(MINUTE)
        status = hub.client.get_status("p")
        assert status.output == 60
        assert record_times_are_in_order(hub, "p")
        assert broken.runs["first"] == (where == "call")
        assert broken.runs["kept"] in ((0,) if where == "start" else (1, 2))
        kinds = [type(record.event).__name__ for record in hub.client.get_history("p")]
        assert kinds.count("TaskScheduled") == broken.runs["first"] + (where != "start"), "decisions are kept"


def test_a_retry_timeout_counts_from_the_rewind(replay_always: bool) -> None:
    mended = False
    tries: Counter[str] = Counter()

    @df.activity
    def sick(key: str, context: df.ActivityContext) -> str:
        tries[key] += 1
        if not mended or context.attempt == 1:
            raise ConnectionError(key)
        return key

    @df.activity
    def slow(key: str, context: df.ActivityContext) -> str:
        tries[key] += 1
        if context.attempt == 1:
            raise ConnectionError(key)
        return key

    @df.orchestrator
    def play(context: Context) -> Any:
        policy = df.RetryPolicy(SECOND, 2, retry_timeout=timedelta(minutes=5))
        late = context.call_activity_with_retry(slow, policy, "slow")
        return [(yield context.call_activity_with_retry(sick, policy, "sick")), (yield late)]

    with testing.hub(sick, slow, play, replay_always=replay_always) as hub:
        id = hub.client.start_new(play)
        slow_call, sick_call = sorted(hub.pool.waiting)
        for _ in range(2):
            hub.pool.run_next(sick_call)
            while hub.engine.step():
                pass
            hub.clock.advance(SECOND)
            while hub.engine.step():
                pass
            sick_call = max(hub.pool.waiting)
        assert list(hub.pool.waiting) == [slow_call]
        assert hub.client.get_status(id).runtime_status is df.OrchestrationRuntimeStatus.Failed
        hub.clock.advance(DAYS)
        hub.engine.flush()
        mended = True
        hub.client.rewind(id)
        assert hub.finish(id).output == ["sick", "slow"]
        assert (tries["sick"], tries["slow"]) == (4, 2)


# ── events that don't fit ──────────────────────────────────────────────────────────────────────────────────────────


class Approval:
    """An orchestrator that waits for a number; it takes the event at once, or did something else first."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()

    def make_functions(self) -> list[Any]:
        @df.activity
        def work(key: str) -> str:
            self.runs[key] += 1
            return key

        @df.orchestrator
        def play(context: Context) -> Any:
            how = context.get_input()
            wait: Any = context.wait_for_external_event("Approved", int) if how == "early wait" else None
            if how != "at once":
                yield context.wait_for_external_event("Go")
                yield context.call_activity(work, "work")
            wait = wait or context.wait_for_external_event("Approved", int)
            if how == "any":
                return (yield context.task_any([wait, context.create_timer(DAYS)])).get_result()
            if how == "all":
                return (yield context.task_all([wait, context.call_activity(work, "beside")]))[0]
            return (yield wait)

        return [work, play]


@pytest.mark.parametrize("how", ["at once", "late wait", "early wait", "any", "all"])
def test_a_rewind_drops_the_event_that_did_not_fit_and_repeats_no_work(how: str, replay_always: bool) -> None:
    approval = Approval()
    with testing.hub(*approval.make_functions(), replay_always=replay_always) as hub:
        hub.client.start_new("play", "p", how)
        hub.run()
        hub.client.raise_event("p", "approved", "yes")
        hub.run()
        if how != "at once":
            hub.client.raise_event("p", "Go")
            hub.run()
        status = hub.client.get_status("p")
        assert status.runtime_status is df.OrchestrationRuntimeStatus.Failed
        assert "Event 'Approved'" in status.output
        assert "Expected `int`" in status.output
        hub.client.rewind("p")
        hub.run()
        status = hub.client.get_status("p")
        assert [one.name for one in status.waiting_for if one.kind == "event"] == ["Approved"]
        hub.restart()
        hub.client.raise_event("p", "Approved", 7)
        assert hub.finish("p").output == 7
        assert approval.runs["work"] == (how != "at once")
        assert record_times_are_in_order(hub, "p")
        rewound = [each.event for each in hub.client.get_history("p") if isinstance(each.event, ev.ExecutionRewound)]
        assert len(rewound) == 1


def test_the_events_behind_one_that_did_not_fit_are_kept() -> None:
    approval = Approval()
    with testing.hub(*approval.make_functions()) as hub:
        hub.client.start_new("play", "p", "late wait")
        hub.run()
        for value in ("yes", 8):
            hub.client.raise_event("p", "Approved", value)
        hub.client.raise_event("p", "Go")
        hub.run()
        assert hub.client.get_status("p").runtime_status is df.OrchestrationRuntimeStatus.Failed
        hub.client.rewind("p")
        assert hub.finish("p").output == 8
        assert approval.runs["work"] == 1
