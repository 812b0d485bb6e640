"""Turns in a real engine on a memory disk: messages, timers, children, blocked instances, turns of many decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.errors import Conflict, NotFound, WrongState
from durablecli.model import events as ev
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import MessageItem
from tests.support.engine_harness import limit_commit_records
from tests.support.flows import calls, echo, waits

Context = df.DurableOrchestrationContext
Status = df.OrchestrationRuntimeStatus
HOUR = timedelta(hours=1)


@df.orchestrator
def sleeps(context: Context) -> Any:
    due = context.current_utc_datetime + HOUR
    yield context.create_timer(due)
    return (context.current_utc_datetime - due).total_seconds()


@df.orchestrator
def parent(context: Context) -> Any:
    id, name = context.get_input()
    try:
        return (yield context.call_sub_orchestrator(name, 1, id))
    except df.TaskFailedError as error:
        return str(error)


FUNCTIONS = [echo, calls, waits, sleeps, parent]


@pytest.fixture
def hub(replay_always: bool) -> Iterator[testing.TestEnvironment]:
    with testing.hub(*FUNCTIONS, replay_always=replay_always) as hub:
        yield hub


def event_kinds(hub: testing.TestEnvironment, id: str) -> list[str]:
    return [type(record.event).__name__ for record in hub.client.get_history(id)]


def read_status(hub: testing.TestEnvironment, id: str) -> str:
    found = hub.client.get_status(id).runtime_status
    return found.value if found else "missing"


# ── starts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_start_in_the_future_is_pending_until_then(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(calls, "x", 5, start_at=hub.clock.now() + HOUR)
    hub.advance(HOUR - timedelta(seconds=1))
    assert read_status(hub, "x") == "Pending"
    hub.restart()
    hub.advance(timedelta(seconds=1))
    assert read_status(hub, "x") == "Completed"
    assert hub.client.get_history("x")[1].at == datetime(2026, 1, 1, 1, tzinfo=UTC)


def test_a_pending_start_can_be_terminated_and_keeps_early_events(hub: testing.TestEnvironment) -> None:
    for id in ("x", "y"):
        hub.client.start_new(waits, id, start_at=hub.clock.now() + HOUR)
    hub.client.raise_event("x", "Go", "early")
    hub.client.terminate("y", "no need")
    assert hub.finish("x").output == "early"
    assert hub.finish("y").output == "no need"


def test_if_exists_decides_what_happens_to_a_live_instance(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(waits, "x")
    hub.run()
    first = hub.client.get_status("x").execution
    for policy in ("fail", "fail_if_running"):
        with pytest.raises(Conflict):
            hub.client.start_new(waits, "x", if_exists=policy)
    assert hub.client.start_new(waits, "x", if_exists="skip") == "x"
    hub.run()
    assert hub.client.get_status("x").execution == first
    hub.client.start_new(waits, "x", if_exists="replace")
    hub.run()
    assert hub.client.get_status("x").execution != first
    assert read_status(hub, "x") == "Running"


def test_if_exists_decides_what_happens_to_an_ended_instance(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(calls, "x", 1)
    hub.run()
    with pytest.raises(Conflict):
        hub.client.start_new(calls, "x", 2, if_exists="fail")
    assert hub.client.start_new(calls, "x", 2, if_exists="skip") == "x"
    hub.run()
    assert hub.client.get_status("x").output == 1
    hub.client.start_new(calls, "x", 3)
    assert hub.finish("x").output == 3


def test_a_start_that_is_seen_twice_has_its_effect_once(hub: testing.TestEnvironment) -> None:
    for _ in range(2):
        hub.engine.submit("start", [MessageItem("x", "waits", if_exists="replace")], "m-1")
        hub.run()
    assert event_kinds(hub, "x").count("ExecutionStarted") == 1
    assert hub.engine.stats["started"] == 1


def test_a_restart_under_its_own_id_or_a_new_one(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(calls, "x", 4, version="2")
    first = hub.finish("x").execution
    assert hub.client.restart("x", restart_with_new_instance_id=False) == "x"
    assert hub.finish("x").execution != first
    other = hub.client.restart("x")
    again = hub.finish(other)
    assert (again.output, again.version) == (4, "2")


# ── verbs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_arrives_while_suspended_is_kept_in_order(hub: testing.TestEnvironment) -> None:
    @df.orchestrator
    def both(context: Context) -> Any:
        task = context.call_activity(echo, "result")
        timer = context.create_timer(HOUR)
        event = context.wait_for_external_event("Go")
        order = []
        pending: list[Any] = [task, timer, event]
        while pending:
            winner = yield context.task_any(pending)
            pending.remove(winner)
            order.append(["task", "timer", "event"][[task, timer, event].index(winner)])
        return order

    hub.restart(*FUNCTIONS, both)
    hub.client.start_new(both, "x")
    hub.client.suspend("x", "audit")
    hub.client.raise_event("x", "Go")
    hub.run()
    hub.advance(2 * HOUR)
    found = hub.client.get_status("x")
    assert found.runtime_status is Status.Suspended
    assert found.suspended is not None
    assert (found.suspended.reason, found.suspended.kept) == ("audit", 3)
    hub.restart()
    hub.client.resume("x")
    assert hub.finish("x").output == ["event", "task", "timer"]


def test_terminate_reaches_children_and_passes_a_suspension(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(parent, "p", ["c", "waits"])
    hub.run()
    hub.client.suspend("p")
    hub.client.terminate("p", "enough")
    hub.run()
    assert (read_status(hub, "p"), read_status(hub, "c")) == ("Terminated", "Terminated")
    assert hub.client.get_status("c").output == "enough"


def test_terminate_can_leave_children_alone(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(parent, "p", ["c", "waits"])
    hub.run()
    hub.client.terminate("p", recursive=False)
    hub.run()
    assert (read_status(hub, "p"), read_status(hub, "c")) == ("Terminated", "Running")
    hub.client.raise_event("c", "Go")
    assert hub.finish("c").runtime_status is Status.Completed
    assert hub.engine.stats["dropped"] == 1, "the child's answer meets nothing"


def test_a_terminated_child_fails_its_parents_task(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(parent, "p", ["c", "waits"])
    hub.run()
    hub.client.terminate("c", "enough")
    assert "terminated: enough" in hub.finish("p").output


@pytest.mark.parametrize("end", ["terminate", "purge", "replace"])
def test_an_outcome_that_comes_too_late_is_dropped_and_counted(hub: testing.TestEnvironment, end: str) -> None:
    hub.client.start_new(calls, "x", 1)
    late = next(iter(hub.pool.waiting))
    call = hub.pool.waiting[late]
    if end == "terminate":
        hub.client.terminate("x")
    elif end == "purge":
        hub.client.purge_instance_history("x", force=True)
    else:
        hub.client.start_new(waits, "x", if_exists="replace")
    hub.engine.flush()
    hub.pool.waiting[late] = call
    hub.pool.run_next(late)
    hub.run()
    assert hub.engine.stats["dropped"] >= 1
    assert read_status(hub, "x") == {"terminate": "Terminated", "purge": "missing", "replace": "Running"}[end]


def test_an_event_for_an_ended_instance_follows_its_end_and_one_for_an_unknown_instance_is_kept(
    hub: testing.TestEnvironment,
) -> None:
    hub.client.start_new(calls, "x", 1)
    hub.run()
    with pytest.raises(WrongState):
        hub.client.raise_event("x", "Go")
    with pytest.raises(NotFound):
        hub.client.raise_event("nobody", "Go")
    hub.engine.submit("raise-event", [MessageItem("x", "Go")])
    hub.engine.submit("raise-event", [MessageItem("nobody", "Go")])
    hub.run()
    assert event_kinds(hub, "x")[-2:] == ["ExecutionCompleted", "EventRaised"]
    assert hub.engine.stats["undelivered"] == 1
    assert b'"nobody"' in hub.disk.read("hub/undelivered.jsonl")


def test_purge_takes_ended_children_along_and_refuses_live_ones(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(parent, "p", ["c", "calls"])
    hub.client.start_new(waits, "live")
    hub.run()
    with pytest.raises(WrongState, match="terminate it first"):
        hub.client.purge_instance_history("live")
    hub.engine.submit("purge", [MessageItem("live")])
    hub.client.purge_instance_history("p")
    hub.run()
    assert [read_status(hub, id) for id in ("p", "c", "live")] == ["missing", "missing", "Running"]
    assert hub.engine.stats["refused"] == 1
    hub.restart()
    assert [read_status(hub, id) for id in ("p", "c", "live")] == ["missing", "missing", "Running"]


def test_a_forced_purge_ends_what_lives_and_takes_it_away(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(parent, "p", ["c", "waits"])
    hub.run()
    hub.client.purge_instance_history("p", force=True)
    hub.run()
    assert [read_status(hub, id) for id in ("p", "c")] == ["missing", "missing"]
    hub.restart()
    assert [read_status(hub, id) for id in ("p", "c")] == ["missing", "missing"]


def test_an_id_can_be_used_again_right_after_its_purge(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(calls, "x", 1)
    hub.run()
    hub.engine.submit("purge", [MessageItem("x")])
    hub.engine.submit("start", [MessageItem("x", "waits")])
    hub.run()
    assert read_status(hub, "x") == "Running"
    hub.restart()
    hub.client.raise_event("x", "Go", 2)
    assert hub.finish("x").output == 2


def test_a_batch_starts_all(hub: testing.TestEnvironment) -> None:
    ids = hub.client.start_many(calls, range(2_500))
    hub.run()
    assert len(ids) == 2_500
    assert hub.client.get_status(ids[2_499]).output == 2_499
    assert hub.engine.stats["ended"] == 2_500


def test_a_purge_by_filter_counts_each_instance_once(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(parent, "p", ["c", "calls"])
    hub.client.start_new(calls, "z")
    hub.run()
    assert hub.client.purge_instance_history_by().instances_deleted == 3
    hub.run()
    assert hub.client.get_status_all() == []
    assert hub.engine.stats["undelivered"] == 0
    assert hub.output_lines == []


# ── children and events between instances ──────────────────────────────────────────────────────────────────────────


def test_a_child_whose_id_is_taken_fails_at_once(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(waits, "c")
    hub.client.start_new(parent, "p", ["c", "calls"])
    hub.run()
    assert "instance id 'c' already exists" in hub.client.get_status("p").output
    assert read_status(hub, "c") == "Running"


@pytest.mark.parametrize("id", ["c", "p:c", "p:1:0"])
def test_a_child_never_takes_an_id_whose_start_is_acknowledged(hub: testing.TestEnvironment, id: str) -> None:
    inbox = Inbox(hub.disk, "hub")
    inbox.reserve(id, "m-1")  # a client in another process, whose message the engine has not listed yet
    inbox.post("start", [MessageItem(id, "waits", reserved=True)], "m-1")
    hub.client.start_new(parent, "p", [id, "calls"])
    hub.run()
    assert f"id '{id}' already exists" in hub.client.get_status("p").output
    assert hub.client.get_status(id).name == "waits"
    assert hub.engine.stats["undelivered"] == 0


def test_an_id_of_a_child_that_has_ended_can_be_used_again_by_its_parent(hub: testing.TestEnvironment) -> None:
    @df.orchestrator
    def twice(context: Context) -> Any:
        first = yield context.call_sub_orchestrator(calls, 1, "c")
        second = yield context.call_sub_orchestrator(calls, 2, "c")
        return [first, second]

    hub.restart(*FUNCTIONS, twice)
    hub.client.start_new(twice, "p")
    assert hub.finish("p").output == [1, 2]


def test_a_retried_child_with_its_own_id_is_started_again(hub: testing.TestEnvironment) -> None:
    attempts = []

    @df.activity
    def flaky(value: Any) -> str:
        attempts.append(value)
        if len(attempts) == 1:
            raise ConnectionError
        return "done"

    @df.orchestrator
    def fragile(context: Context) -> Any:
        return (yield context.call_activity(flaky))

    @df.orchestrator
    def stubborn(context: Context) -> Any:
        policy = df.RetryPolicy(timedelta(seconds=1), 2)
        return (yield context.call_sub_orchestrator_with_retry(fragile, policy, None, "c"))

    hub.restart(flaky, fragile, stubborn)
    hub.client.start_new(stubborn, "p")
    assert hub.finish("p").output == "done"


def test_an_event_reaches_a_child_that_was_created_in_the_same_turn(hub: testing.TestEnvironment) -> None:
    @df.orchestrator
    def eager(context: Context) -> Any:
        task = context.call_sub_orchestrator(waits, None, "c")
        context.send_event("c", "Go", "hello")
        context.send_event("nobody", "Go", "hello")
        return (yield task)

    hub.restart(*FUNCTIONS, eager)
    hub.client.start_new(eager, "p")
    assert hub.finish("p").output == "hello"
    sent = [each.event for each in hub.client.get_history("p") if isinstance(each.event, ev.EventSent)]
    assert [each.undelivered for each in sent] == [False, True]


def test_events_sent_to_oneself_are_read(hub: testing.TestEnvironment) -> None:
    @df.orchestrator
    def selfish(context: Context) -> Any:
        context.send_event(context.instance_id, "Go", 1)
        return (yield context.wait_for_external_event("Go"))

    hub.restart(selfish)
    hub.client.start_new(selfish, "x")
    assert hub.finish("x").output == 1


def test_continue_as_new_keeps_status_version_and_unread_events(hub: testing.TestEnvironment) -> None:
    @df.orchestrator
    def counter(context: Context) -> Any:
        total = context.get_input()
        context.set_custom_status(total)
        event = yield context.wait_for_external_event("Add", int)
        if event == 0:
            return [total, context.custom_status, context.version]
        context.continue_as_new(total + event)

    hub.restart(counter)
    hub.client.start_new(counter, "x", 0, version="7")
    for value in (1, 2, 3, 0):
        hub.client.raise_event("x", "add", value)
    assert hub.finish("x").output == [6, 6, "7"]
    assert hub.client.get_history("x")[0].n == 1


# ── timers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_timer_is_never_early_and_at_once_when_late(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(sleeps, "x")
    hub.client.start_new(sleeps, "y")
    hub.run()
    hub.clock.advance(HOUR - timedelta(microseconds=1))
    hub.run()
    assert read_status(hub, "x") == "Running"
    hub.clock.advance(HOUR)
    hub.restart()
    hub.run()
    assert 3_599 < hub.client.get_status("x").output < 3_600


def test_a_clock_that_goes_back_fires_nothing_twice_and_reorders_nothing(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(sleeps, "x")
    hub.run()
    hub.advance(HOUR / 2)
    hub.client.suspend("x")
    hub.run()
    hub.clock.advance(-HOUR)
    hub.client.resume("x")
    hub.run()
    hub.advance(HOUR)
    assert read_status(hub, "x") == "Running", "half an hour is left by the clock on the wall"
    hub.advance(HOUR)
    assert read_status(hub, "x") == "Completed"
    times = [record.at for record in hub.client.get_history("x")]
    assert times == sorted(times)
    assert event_kinds(hub, "x").count("TimerFired") == 1


# ── blocked ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_orchestrator_blocks_until_it_is_there(hub: testing.TestEnvironment) -> None:
    hub.restart(echo)
    hub.engine.submit("start", [MessageItem("x", "waits")])
    hub.run()
    for _ in range(3):
        hub.restart(echo)
        hub.run()
    found = hub.client.get_status("x")
    assert found.blocked is not None
    assert found.blocked.reason == "orchestrator 'waits' isn't loaded"
    hub.engine.submit("raise-event", [MessageItem("x", "Go", Raw(b"7"))])
    hub.run()
    assert event_kinds(hub, "x") == ["ExecutionStarted", "ExecutionBlocked", "EventRaised"], "once per reason"
    hub.restart(*FUNCTIONS)
    assert hub.finish("x").output == 7
    assert event_kinds(hub, "x").count("ExecutionUnblocked") == 1


def test_a_missing_activity_blocks_until_it_is_there(hub: testing.TestEnvironment) -> None:
    hub.restart(calls)
    hub.client.start_new(calls, "x", 3)
    hub.run()
    assert hub.client.get_status("x").blocked, "at once, not only when the next engine looks"
    for _ in range(2):
        hub.restart(calls)
        hub.run()
    found = hub.client.get_status("x")
    assert found.blocked is not None
    assert found.blocked.reason == "activity 'echo' isn't loaded"
    assert event_kinds(hub, "x").count("ExecutionBlocked") == 1
    hub.restart(*FUNCTIONS)
    assert hub.finish("x").output == 3


def make_changed_waits(decide: Callable[[Context], Any]) -> Any:
    @df.orchestrator(name="waits")
    def flow(context: Context) -> Any:
        yield decide(context)
        return "mended"

    return flow


def test_nondeterministic_code_blocks_until_it_matches(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(waits, "x")
    hub.run()
    wrong = make_changed_waits(lambda context: context.create_timer(HOUR))
    for _ in range(3):
        hub.restart(wrong)
        hub.engine.submit("raise-event", [MessageItem("x", "Go")])
        hub.run()
    found = hub.client.get_status("x")
    assert found.blocked is not None
    assert "history  EventAwaited Go\nnow      TimerCreated" in found.blocked.reason
    assert found.runtime_status is Status.Running
    assert event_kinds(hub, "x").count("ExecutionBlocked") == 1
    hub.restart(make_changed_waits(lambda context: context.wait_for_external_event("Go")))
    assert hub.finish("x").output == "mended"


def test_a_runaway_turn_is_blocked_once(hub: testing.TestEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durablecli.replay.decision_log.MAX_DECISIONS", 500)

    @df.orchestrator
    def runaway(context: Context) -> Any:
        yield context.wait_for_external_event("Go")
        while True:
            context.call_activity(echo)

    for _ in range(3):
        hub.restart(*FUNCTIONS, runaway)
        if not hub.client.get_status("x"):
            hub.client.start_new(runaway, "x")
            hub.client.raise_event("x", "Go")
        hub.run()
    found = hub.client.get_status("x")
    assert found.blocked is not None
    assert "without a yield" in found.blocked.reason
    assert event_kinds(hub, "x") == ["ExecutionStarted", "EventAwaited", "ExecutionBlocked", "EventRaised"]
    hub.client.terminate("x")
    hub.run()
    assert read_status(hub, "x") == "Terminated"


# ── giants ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@df.orchestrator
def giant(context: Context) -> Any:
    size, to = context.get_input()
    tasks = []
    for i in range(size):
        tasks.append(context.call_activity(echo, i))
        if to and i % 5 == 0:
            context.send_event(to, "Go", i)
    results = yield context.task_all(tasks)
    return sum(results)


@df.orchestrator
def family(context: Context) -> Any:
    size = context.get_input()
    results = yield context.task_all([context.call_sub_orchestrator(calls, i) for i in range(size)])
    return sum(results)


GIANTS = [*FUNCTIONS, giant, family]


@pytest.fixture
def small_commits(monkeypatch: pytest.MonkeyPatch) -> int:
    limit_commit_records(monkeypatch, 16)
    return 16


@pytest.mark.parametrize("to", [None, "other"])
def test_a_giant_turn_is_split_over_commits_and_completes(
    small_commits: int, to: str | None, replay_always: bool
) -> None:
    with testing.hub(*GIANTS, replay_always=replay_always) as hub:
        hub.client.start_new(waits, "other")
        hub.run()
        before = hub.engine.stats["commits"]
        hub.client.start_new(giant, "x", [200, to])
        assert hub.finish("x").output == sum(range(200))
        assert hub.engine.stats["commits"] - before > 200 / (2 * small_commits)
        assert read_status(hub, "other") == ("Completed" if to else "Running")


def test_a_giant_turn_that_sends_to_itself_completes(small_commits: int, replay_always: bool) -> None:
    with testing.hub(*GIANTS, replay_always=replay_always) as hub:
        hub.client.start_new(giant, "x", [200, "x"])
        assert hub.finish("x").output == sum(range(200))
        assert event_kinds(hub, "x").count("EventRaised") == 40


def test_two_giants_at_once_that_send_to_each_other(small_commits: int, replay_always: bool) -> None:
    with testing.hub(*GIANTS, replay_always=replay_always) as hub:
        hub.engine.submit("start", [MessageItem("x", "giant", Raw(b'[200,"y"]'))])
        hub.engine.submit("start", [MessageItem("y", "giant", Raw(b'[200,"x"]'))])
        hub.engine.submit("start", [MessageItem("z", "family", Raw(b"100"))])
        hub.run()
        assert [hub.client.get_status(id).output for id in "xyz"] == [sum(range(200))] * 2 + [sum(range(100))]


@pytest.mark.parametrize("name", ["giant", "family"])
def test_a_crash_between_the_slices_of_a_giant_loses_nothing(
    small_commits: int, name: str, replay_always: bool
) -> None:
    incomplete = 0
    for cycles in range(1, 16):
        with testing.hub(*GIANTS, replay_always=replay_always) as hub:
            hub.client.start_new(waits, "other")
            given = b'[100,"other"]' if name == "giant" else b"100"
            hub.engine.submit("start", [MessageItem("x", name, Raw(given))])
            for _ in range(cycles):
                hub.engine.step()
            hub.restart()
            incomplete += "x" in hub.engine.hub.incomplete_turns
            if not hub.client.get_status("x"):
                continue
            assert hub.finish("x").output == sum(range(100))
            scheduled = event_kinds(hub, "x")
            assert scheduled.count("TaskScheduled") + scheduled.count("SubOrchestrationInstanceCreated") == 100
    assert incomplete > 2


def test_a_parent_of_ten_thousand_children_hears_from_all_of_them(replay_always: bool) -> None:
    with testing.hub(*GIANTS, replay_always=replay_always) as hub:
        size = (
            500 if replay_always else 10_000
        )  # replaying each turn takes quadratic time, which is why executors are kept
        hub.client.start_new(family, "x", size)
        assert hub.finish("x").output == sum(range(size))


def test_a_conflict_of_a_giants_child_survives_a_crash_between_its_slices(
    small_commits: int, replay_always: bool
) -> None:
    @df.orchestrator
    def named(context: Context) -> Any:
        first = context.call_sub_orchestrator(calls, 0, "taken")
        rest = [context.call_activity(echo, i) for i in range(100)]
        yield context.task_all(rest)
        yield context.task_any([first])
        return first.is_faulted

    with testing.hub(*GIANTS, named, replay_always=replay_always) as hub:
        hub.client.start_new(waits, "taken")
        hub.run()
        hub.engine.submit("start", [MessageItem("x", "named")])
        for _ in range(3):
            hub.engine.step()
        hub.restart()
        assert "x" in hub.engine.hub.incomplete_turns
        assert hub.finish("x").output is True


def test_held_arrivals_do_not_hide_an_incomplete_turn(monkeypatch: pytest.MonkeyPatch, replay_always: bool) -> None:
    def commits_of(records: int) -> None:
        limit_commit_records(monkeypatch, records)

    commits_of(16)
    with testing.hub(*GIANTS, replay_always=replay_always) as hub:
        hub.engine.submit("start", [MessageItem("x", "giant", Raw(b"[100,null]"))])
        hub.engine.step()
        hub.restart()
        commits_of(1)
        hub.engine.submit("raise-event", [MessageItem("x", "Go")])
        hub.engine.step()
        hub.restart()
        assert "x" in hub.engine.hub.incomplete_turns
        commits_of(16)
        assert hub.finish("x").output == sum(range(100))
