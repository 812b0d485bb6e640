"""Schedules on a virtual clock: runs at their due times, overlaps, downtime, pauses, changes of the app."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.apps.declared_schedules import collect_schedules
from durablecli.builtin.schedule_catalog import ScheduleCatalog
from durablecli.builtin.schedule_entity import PAUSE, RESUME, DeclaredSchedules, make_schedule_entity
from durablecli.builtin.schedule_starts import ensure_schedules, read_states
from durablecli.config import Config
from durablecli.config.sections import ScheduleConfig
from durablecli.errors import WrongState
from durablecli.model.payloads import encode
from durablecli.model.schedule_options import make_schedule_id
from durablecli.scheduling.schedule_state import ScheduleSpec, ScheduleState
from durablecli.store.inbox.messages import MessageItem
from durablecli.store.query import Query

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


def make_app(
    schedule: str = "0 * * * *", overlap: str = "skip", catch_up: bool = False, takes: timedelta = MINUTE, **more: Any
) -> Any:
    """An orchestrator `tick` with a schedule, whose runs take some time."""

    @df.orchestrator(schedule=schedule, overlap=overlap, catch_up=catch_up, **more)
    def tick(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
        yield context.create_timer(takes)
        return context.get_input()

    return tick


@df.orchestrator
def other(context: df.DurableOrchestrationContext) -> str:
    return "other"


class ScheduleHarness:
    """A hub in memory, whose engine is started with an app."""

    def __init__(self, *app: Any, config: Config = Config(), start: datetime = START) -> None:  # noqa: B008 - frozen
        self.config = config
        self.hub = testing.hub(*app or [make_app()], start=start)
        self.load()

    def load(self, *, is_complete: bool = True) -> None:
        mailbox = self.hub.client.mailbox
        assert mailbox is not None
        declarations = collect_schedules(self.hub.registry, self.config)
        ensure_schedules(declarations, self.hub.client, mailbox, is_complete=is_complete)
        self.hub.run()

    def restart_after(self, time: timedelta, *app: Any, is_complete: bool = True) -> None:
        """Kill the engine, let time pass, and start it again, with another app if one is given."""
        self.hub.clock.move_to(self.hub.clock.now() + time)
        self.hub.restart(*app)
        self.hub.run()
        self.load(is_complete=is_complete)

    def signal(self, operation: str, name: str = "tick") -> None:
        mailbox = self.hub.client.mailbox
        assert mailbox is not None
        mailbox.post("signal", [MessageItem(make_schedule_id(name), operation)])
        self.hub.run()

    def runs(self, name: str = "tick") -> list[str]:
        """The due times of all runs, oldest first, as in their ids."""
        query = Query(tags={"durable.schedule": name}, sort="id", limit=1000)
        return [row.id.removeprefix(f"{name}-2026-01-") for row in self.hub.client.page(query).rows]

    def state(self, name: str = "tick") -> ScheduleState:
        return read_states(self.hub.client)[name]


@pytest.fixture
def harness() -> Iterator[ScheduleHarness]:
    stage = ScheduleHarness()
    with stage.hub:
        yield stage


def test_a_run_starts_at_each_due_time(harness: ScheduleHarness) -> None:
    harness.hub.advance(3 * HOUR + MINUTE)
    assert harness.runs() == ["01T01:00Z", "01T02:00Z", "01T03:00Z"]
    state = harness.state()
    assert (state.started, state.skipped, state.missed, state.running) == (3, 0, 0, ())
    assert state.due == START + 4 * HOUR
    assert state.last_run == "tick-2026-01-01T03:00Z"


def test_a_run_has_the_input_and_the_tags_of_its_schedule() -> None:
    stage = ScheduleHarness(make_app("0 3 * * *", timezone="Europe/Vienna", input={"a": [1]}))
    stage.hub.advance(3 * HOUR)
    status = stage.hub.client.get_status("tick-2026-01-01T03:00+0100")
    assert status.output == {"a": [1]}
    assert status.tags == {"durable.schedule": "tick", "durable.scheduled-time": "2026-01-01T03:00:00+01:00"}
    assert status.parent_instance_id is None


def test_a_run_knows_its_scheduled_time_and_so_do_its_sub_orchestrations() -> None:
    @df.orchestrator
    def child(context: df.DurableOrchestrationContext) -> str:
        return str(context.scheduled_time)

    @df.orchestrator(schedule="0 3 * * *", timezone="Europe/Vienna")
    def tick(context: df.DurableOrchestrationContext) -> Generator[Any, Any, list[str]]:
        return [str(context.scheduled_time), (yield context.call_sub_orchestrator(child))]

    stage = ScheduleHarness(tick, child)
    stage.hub.advance(3 * HOUR)
    due = "2026-01-01 03:00:00+01:00"
    assert stage.hub.client.get_status("tick-2026-01-01T03:00+0100").output == [due, due]
    stage.hub.client.start_new("child", "by-hand")
    assert stage.hub.finish("by-hand").output == "None"
    stage.hub.client.start_new("child", "made-up", tags={"durable.scheduled-time": "soon"})
    assert stage.hub.finish("made-up").output == "None"


def test_a_restart_in_time_changes_nothing(harness: ScheduleHarness) -> None:
    before = harness.hub.client.get_entity_lines(make_schedule_id("tick"))
    harness.restart_after(10 * MINUTE)
    assert harness.hub.client.get_entity_lines(make_schedule_id("tick")) == before
    harness.hub.advance(HOUR)
    assert harness.runs() == ["01T01:00Z"]


# Overlaps.


def test_skip_drops_due_times_while_a_run_is_running() -> None:
    stage = ScheduleHarness(make_app(takes=150 * MINUTE))
    stage.hub.advance(5 * HOUR)
    assert stage.runs() == ["01T01:00Z", "01T04:00Z"]
    state = stage.state()
    assert state.skipped == 3
    assert [f"{each.due:%H:%M}: {each.reason}" for each in state.passed] == [
        "02:00: tick-2026-01-01T01:00Z is still running",
        "03:00: tick-2026-01-01T01:00Z is still running",
        "05:00: tick-2026-01-01T04:00Z is still running",
    ]


def test_queue_starts_a_run_after_the_present_one() -> None:
    stage = ScheduleHarness(make_app(overlap="queue", takes=90 * MINUTE))
    stage.hub.advance(4 * HOUR)
    assert stage.runs() == ["01T01:00Z", "01T02:00Z", "01T03:00Z"]
    created = stage.hub.client.get_status("tick-2026-01-01T02:00Z").created_time
    assert created == START + HOUR + 90 * MINUTE
    assert stage.state().waiting == (START + 4 * HOUR,)


def test_the_queue_is_bounded() -> None:
    stage = ScheduleHarness(make_app("* * * * *", overlap="queue", takes=timedelta(days=1)))
    stage.hub.advance(110 * MINUTE)
    state = stage.state()
    assert (state.started, len(state.waiting), state.skipped) == (1, 100, 9)
    assert state.passed[-1].reason == "100 due times are waiting already"


def test_allow_starts_runs_beside_each_other() -> None:
    stage = ScheduleHarness(make_app(overlap="allow", takes=150 * MINUTE))
    stage.hub.advance(3 * HOUR)
    assert stage.runs() == ["01T01:00Z", "01T02:00Z", "01T03:00Z"]
    assert len(stage.state().running) == 3


@pytest.mark.parametrize("end", ["terminate", "purge"])
def test_a_run_that_is_ended_by_force_makes_room(end: str) -> None:
    stage = ScheduleHarness(make_app(takes=timedelta(days=2)))
    stage.hub.advance(HOUR)
    run = stage.state().running[0]
    if end == "purge":
        stage.hub.client.purge_instance_history(run, force=True)
    else:
        stage.hub.client.terminate(run)
    stage.hub.advance(HOUR)
    assert stage.runs()[-1] == "01T02:00Z"


def test_a_run_that_was_started_by_hand_counts() -> None:
    stage = ScheduleHarness(make_app(takes=90 * MINUTE))
    stage.hub.client.start_new("tick", "by-hand", tags={"durable.schedule": "tick"})
    stage.hub.advance(HOUR)
    assert stage.state().passed[0].reason == "by-hand is still running"
    stage.hub.advance(HOUR)
    assert stage.runs() == ["by-hand", "01T02:00Z"]


def test_an_id_that_is_taken_costs_one_run_only() -> None:
    stage = ScheduleHarness(make_app(), other)

    @df.orchestrator
    def sleeper(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
        yield context.create_timer(timedelta(days=9))

    stage.restart_after(MINUTE, make_app(), sleeper)
    stage.hub.client.start_new("sleeper", "tick-2026-01-01T01:00Z")
    stage.hub.advance(2 * HOUR)
    assert stage.runs() == ["01T02:00Z"]
    assert stage.state().started == 2


# Downtime.


def test_due_times_that_no_engine_was_there_for_are_missed(harness: ScheduleHarness) -> None:
    harness.restart_after(3 * HOUR + 30 * MINUTE)
    assert harness.runs() == []
    assert harness.state().missed == 3
    harness.hub.advance(HOUR)
    assert harness.runs() == ["01T04:00Z"]


def test_a_short_downtime_misses_nothing(harness: ScheduleHarness) -> None:
    harness.hub.advance(HOUR - timedelta(seconds=20))
    harness.restart_after(timedelta(seconds=50))
    assert harness.runs() == ["01T01:00Z"]
    assert harness.state().missed == 0


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_with_catch_up_each_missed_run_is_made_up_for_in_order(overlap: str) -> None:
    app = make_app(catch_up=True, overlap=overlap)
    stage = ScheduleHarness(app)
    stage.restart_after(3 * HOUR + 30 * MINUTE, app)
    assert stage.runs() == ["01T01:00Z"]
    stage.hub.advance(2 * MINUTE)
    assert stage.runs() == ["01T01:00Z", "01T02:00Z", "01T03:00Z"]
    assert [stage.hub.client.get_status(f"tick-2026-01-{each}").created_time for each in stage.runs()] == [
        START + 3 * HOUR + each * MINUTE for each in (30, 31, 32)
    ]
    assert (stage.state().missed, stage.state().skipped) == (0, 0)


def test_at_most_a_hundred_are_made_up_for_the_latest_ones() -> None:
    app = make_app("* * * * *", catch_up=True, overlap="allow")
    stage = ScheduleHarness(app)
    stage.restart_after(200 * MINUTE, app)
    assert len(stage.runs()) == 100
    assert stage.runs()[-1] == "01T03:20Z"
    assert stage.state().missed == 1  # it isn't counted further
    assert stage.state().passed[-1].reason == "more than 100 due times were missed"


# Pauses, and changes of the app.


def test_a_paused_schedule_starts_nothing_until_it_is_resumed(harness: ScheduleHarness) -> None:
    harness.hub.advance(HOUR)
    harness.signal(PAUSE)
    assert harness.state().due is None
    harness.hub.advance(HOUR)
    harness.restart_after(90 * MINUTE)
    assert harness.state().paused
    harness.signal(RESUME)
    harness.hub.advance(HOUR)
    assert harness.runs() == ["01T01:00Z", "01T04:00Z"]


@pytest.mark.parametrize(
    ("app", "is_complete", "runs"),
    [
        (make_app("30 * * * *"), True, ["01T01:30Z"]),
        (other, True, []),
        (other, False, ["01T01:00Z"]),
    ],
    ids=["changed", "removed", "perhaps in a broken module"],
)
def test_a_due_time_meets_what_the_app_declares_now(app: Any, is_complete: bool, runs: list[str]) -> None:
    """The engine decides a due time that is past before it has been sent what has changed."""
    stage = ScheduleHarness()
    stage.hub.advance(MINUTE)
    declared = DeclaredSchedules()
    declared.set(collect_schedules(testing.build_registry(app), Config()).specs, is_complete=is_complete)
    stage.hub.registry.add_built_in([make_schedule_entity(declared)])
    stage.hub.advance(HOUR + 30 * MINUTE)
    assert stage.runs() == runs


def test_a_schedule_can_be_paused_before_it_was_ever_loaded() -> None:
    stage = ScheduleHarness(other)
    stage.signal(PAUSE)
    stage.restart_after(MINUTE, make_app())
    stage.hub.advance(2 * HOUR)
    assert stage.runs() == []
    stage.signal(RESUME)
    stage.hub.advance(HOUR)
    assert len(stage.runs()) == 1


def test_other_times_hold_from_now_on(harness: ScheduleHarness) -> None:
    harness.restart_after(50 * MINUTE, make_app("30 * * * *"))
    harness.hub.advance(2 * HOUR)
    assert harness.runs() == ["01T01:30Z", "01T02:30Z"]


def test_another_input_keeps_the_due_time(harness: ScheduleHarness) -> None:
    harness.restart_after(HOUR - MINUTE, make_app(input=7))
    harness.hub.advance(2 * MINUTE)
    assert harness.hub.finish("tick-2026-01-01T01:00Z").output == 7


def test_a_schedule_that_the_app_no_longer_has_stops(harness: ScheduleHarness) -> None:
    harness.restart_after(MINUTE, other)
    harness.hub.advance(3 * HOUR)
    assert harness.runs() == []
    assert not harness.state().loaded
    harness.restart_after(MINUTE, make_app())
    harness.hub.advance(HOUR)
    assert harness.runs() == ["01T04:00Z"]


def test_one_whose_module_could_not_be_imported_goes_on(harness: ScheduleHarness) -> None:
    harness.restart_after(MINUTE, other, is_complete=False)
    assert harness.state().loaded


def test_one_that_became_invalid_stops_even_if_not_everything_was_loaded(harness: ScheduleHarness) -> None:
    harness.restart_after(MINUTE, make_app("61 * * * *"), is_complete=False)
    assert not harness.state().loaded


def test_durable_yaml_declares_schedules_and_overrides_decorators() -> None:
    schedules = {
        "Tick": ScheduleConfig("tick", "30 * * * *"),
        "second": ScheduleConfig("OTHER", "every 1h", input=[1]),
    }
    stage = ScheduleHarness(make_app(), other, config=Config(schedules=schedules))
    stage.hub.advance(HOUR)
    assert stage.runs("Tick") == ["01T00:30Z"]
    assert stage.runs("second") == ["01T01:00Z"]
    assert stage.runs() == []


# Clocks.


def test_a_time_that_comes_twice_has_one_run() -> None:
    app = make_app("30 2 * * *", timezone="Europe/Vienna")
    stage = ScheduleHarness(app, start=datetime(2026, 10, 24, 12, tzinfo=UTC))
    stage.hub.advance(timedelta(days=2))
    assert stage.runs() == ["tick-2026-10-25T02:30+0200", "tick-2026-10-26T02:30+0100"]


def test_a_time_that_the_clocks_skip_has_one_run() -> None:
    app = make_app("30 2 * * *", timezone="Europe/Vienna")
    stage = ScheduleHarness(app, start=datetime(2026, 3, 28, 12, tzinfo=UTC))
    stage.hub.advance(timedelta(days=2))
    assert stage.runs() == ["tick-2026-03-29T03:00+0200", "tick-2026-03-30T02:30+0200"]


@pytest.mark.parametrize("repair", ["rewind", "fork"])
def test_a_run_that_is_repaired_counts_as_running(repair: str) -> None:
    is_broken = True

    @df.orchestrator(schedule="0 * * * *")
    def tick(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
        if is_broken:
            raise RuntimeError
        yield context.create_timer(2 * HOUR)

    stage = ScheduleHarness(tick)
    with stage.hub as hub:
        hub.advance(HOUR)
        is_broken = False
        if repair == "rewind":
            hub.client.rewind("tick-2026-01-01T01:00Z")
        else:
            hub.client.fork("tick-2026-01-01T01:00Z", 2, "tick-2026-01-again")
        hub.run()
        hub.advance(HOUR)
        assert stage.state().skipped == 1
        hub.advance(2 * HOUR)
        assert (stage.state().started, stage.state().skipped) == (2, 2)
        assert not hub.client.check().findings


@pytest.mark.parametrize(("schedule", "zone"), [("0 * * * *", "Gone/Zone"), ("bogus", "UTC")])
def test_a_schedule_that_is_unknown_here_hides_no_other(harness: ScheduleHarness, schedule: str, zone: str) -> None:
    """As in a hub that comes from a machine with other data about time zones."""
    mailbox = harness.hub.client.mailbox
    assert mailbox is not None
    spec = ScheduleSpec("moved", "tick", schedule, zone)
    mailbox.post("signal", [MessageItem(make_schedule_id("moved"), "load", encode(spec))])
    harness.hub.run()
    catalog, now = ScheduleCatalog(harness.hub.client), harness.hub.clock.now()
    moved, tick = catalog.list_all()
    assert (moved.name, moved.next_due(now), moved.payload(now)["nextDue"]) == ("moved", None, None)
    assert tick.payload(now)["nextDue"] == "2026-01-01T01:00:00+00:00"
    with pytest.raises(WrongState, match=r"the due times of schedule 'moved' aren't known: (invalid|unknown)"):
        moved.list_due_times(now, 1)
    assert catalog.trigger("moved").startswith("moved-manual-")
