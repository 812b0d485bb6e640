"""Timer functions: called on schedule, over restarts, once for missed calls; each visible as an orchestration."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.azure import functions as func
from durablecli.azure.client import DurableFunctionsClient, SyncDurableFunctionsClient
from durablecli.azure.invocation import ClientProvider
from durablecli.builtin import timer_functions, timer_starts

HOUR = timedelta(hours=1)
EVERY_HOUR = "0 0 * * * *"


class TimerHarness:
    """A hub with one timer function, which records its calls."""

    def __init__(self, schedule: str = EVERY_HOUR, startup: bool = False, name: str = "tick") -> None:
        self.calls: list[tuple[str, bool]] = []
        self.fails = False
        self.log_lines: list[str] = []
        self.hub = testing.hub(self.make_app(schedule, startup, name))
        self.start_engine()

    def make_app(self, schedule: str, startup: bool = False, name: str = "tick") -> df.DFApp:
        app = df.DFApp()

        @app.function_name(name)
        @app.timer_trigger(arg_name="timer", schedule=schedule, run_on_startup=startup)
        def tick(timer: func.TimerRequest) -> None:
            self.calls.append((f"{self.hub.clock.now():%d.%H:%M}", timer.past_due))
            if self.fails:
                raise OSError("no disk")

        return app

    def start_engine(self, whole: bool = True) -> None:
        """Start an engine and ensure its timers."""
        hub = self.hub
        timer_functions.register_timers(hub.registry, lambda: ClientProvider(hub.client))
        mailbox = hub.client.mailbox
        assert mailbox is not None
        timer_starts.ensure_timers(
            hub.registry, hub.client, mailbox, hub.clock.now(), is_complete=whole, warn=self.log_lines.append
        )
        hub.run()

    def restart_after(self, time: timedelta, *functions: Any, whole: bool = True) -> None:
        """Stop, let time pass, and start again, with other functions if any are given."""
        self.hub.clock.move_to(self.hub.clock.now() + time)
        since = self.hub.clock.now()
        self.hub.restart(*functions)
        timer_functions.register_timers(self.hub.registry, lambda: ClientProvider(self.hub.client))
        self.hub.run()
        mailbox = self.hub.client.mailbox
        assert mailbox is not None
        timer_starts.ensure_timers(
            self.hub.registry, self.hub.client, mailbox, since, is_complete=whole, warn=self.log_lines.append
        )
        self.hub.run()

    def status(self, name: str = "tick") -> df.DurableOrchestrationStatus:
        return self.hub.client.get_status(f"timer:{name}")


@pytest.fixture
def harness() -> Iterator[TimerHarness]:
    stage = TimerHarness()
    with stage.hub:
        yield stage


def test_a_timer_function_is_called_on_schedule(harness: TimerHarness) -> None:
    harness.hub.advance(3 * HOUR)
    assert harness.calls == [("01.01:00", False), ("01.02:00", False), ("01.03:00", False)]
    assert harness.log_lines == []


def test_its_status_shows_the_last_and_the_next_call(harness: TimerHarness) -> None:
    assert harness.status().custom_status == {"schedule": EVERY_HOUR, "next": "2026-01-01T01:00:00Z"}
    harness.hub.advance(HOUR)
    status = harness.status()
    assert status.custom_status == {
        "schedule": EVERY_HOUR,
        "next": "2026-01-01T02:00:00Z",
        "last": "2026-01-01T01:00:00Z",
    }
    assert status.name == timer_starts.TIMER_ORCHESTRATOR
    assert {waiting.kind for waiting in status.waiting_for} == {"timer", "event"}


def test_its_history_stays_short(harness: TimerHarness) -> None:
    harness.hub.advance(200 * HOUR)
    assert len(harness.calls) == 200
    assert harness.status().records < 10


def test_missed_calls_are_made_up_for_once(harness: TimerHarness) -> None:
    harness.hub.advance(HOUR)
    harness.restart_after(timedelta(hours=5, minutes=30))
    assert harness.calls == [("01.01:00", False), ("01.06:30", True)]
    harness.hub.advance(HOUR)
    assert harness.calls[2:] == [("01.07:00", False)]


def test_a_restart_in_time_changes_nothing(harness: TimerHarness) -> None:
    records = harness.status().records
    harness.restart_after(timedelta(minutes=10))
    assert harness.status().records == records
    harness.hub.advance(HOUR)
    assert harness.calls == [("01.01:00", False)]


def test_run_on_startup_calls_once_per_start() -> None:
    stage = TimerHarness(startup=True)
    with stage.hub:
        assert stage.calls == [("01.00:00", False)]
        stage.restart_after(timedelta(minutes=10))
        assert stage.calls[1:] == [("01.00:10", False)]
        stage.restart_after(2 * HOUR)
        assert stage.calls[2:] == [("01.02:10", True)]  # that it was missed is reason enough, and one reason
        stage.hub.advance(HOUR)
        assert stage.calls[3:] == [("01.03:00", False)]


def test_a_changed_schedule_takes_effect_at_the_next_start(harness: TimerHarness) -> None:
    harness.restart_after(timedelta(minutes=10), harness.make_app("0 */20 * * * *"))
    harness.hub.advance(timedelta(minutes=35))
    assert harness.calls == [("01.00:20", False), ("01.00:40", False)]
    harness.restart_after(timedelta(0), harness.make_app("02:00:00"))
    harness.hub.advance(timedelta(hours=4))
    assert harness.calls[2:] == [("01.02:45", False), ("01.04:45", False)]


def test_a_failing_call_is_logged_and_the_schedule_continues(
    harness: TimerHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.fails = True
    with caplog.at_level(logging.ERROR, "durablecli.timer"):
        harness.hub.advance(HOUR)
    assert "timer function 'tick' failed" in caplog.text
    assert "no disk" in harness.status().custom_status["failure"]
    harness.fails = False
    harness.hub.advance(HOUR)
    assert len(harness.calls) == 2
    assert "failure" not in harness.status().custom_status


def test_the_orchestration_of_a_removed_function_is_ended_if_the_app_loaded_completely(harness: TimerHarness) -> None:
    other = harness.make_app(EVERY_HOUR, name="other")
    harness.restart_after(timedelta(minutes=1), other, whole=False)
    assert not harness.status().ended
    harness.restart_after(timedelta(minutes=1), other)
    assert harness.status().ended
    assert "no longer has this timer function" in harness.status().output
    assert not harness.status("other").ended
    harness.restart_after(timedelta(minutes=1), harness.make_app(EVERY_HOUR))
    harness.hub.advance(HOUR)
    assert harness.calls == [("01.01:00", False)]


def test_a_suspended_timer_stays_suspended_over_a_restart(harness: TimerHarness) -> None:
    harness.hub.client.suspend("timer:tick", "holidays")
    harness.hub.run()
    harness.restart_after(5 * HOUR)
    assert harness.calls == []
    harness.hub.client.resume("timer:tick")
    harness.hub.advance(HOUR)
    assert [late for _, late in harness.calls] == [True, False]


def test_a_schedule_can_come_from_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICK", EVERY_HOUR)
    stage = TimerHarness("%TICK%")
    with stage.hub:
        stage.hub.advance(HOUR)
        assert stage.calls == [("01.01:00", False)]


@pytest.mark.parametrize(("schedule", "why"), [("%NOT_SET%", "NOT_SET"), ("every day", "invalid schedule")])
def test_a_function_with_an_invalid_schedule_is_left_out_with_a_warning(schedule: str, why: str) -> None:
    stage = TimerHarness(schedule)
    with stage.hub:
        assert len(stage.log_lines) == 1
        assert "timer function tick was not started" in stage.log_lines[0]
        assert why in stage.log_lines[0]
        assert not stage.status()


@pytest.mark.parametrize(("schedule", "why"), [("%NOT_SET%", "NOT_SET"), ("every day", "invalid schedule")])
def test_a_timer_whose_schedule_became_invalid_is_ended(harness: TimerHarness, schedule: str, why: str) -> None:
    harness.restart_after(timedelta(minutes=1), harness.make_app(schedule))
    assert len(harness.log_lines) == 1
    assert harness.status().runtime_status is df.OrchestrationRuntimeStatus.Terminated
    assert "it can't be started" in harness.status().output
    assert why in harness.status().output
    harness.hub.advance(2 * HOUR)
    assert harness.calls == []
    harness.restart_after(timedelta(0), harness.make_app(EVERY_HOUR))
    harness.hub.advance(HOUR)
    assert len(harness.calls) == 1


def test_a_terminated_timer_restarts_with_the_next_engine(harness: TimerHarness) -> None:
    harness.hub.client.terminate("timer:tick")
    harness.hub.advance(2 * HOUR)
    assert harness.calls == []
    harness.restart_after(timedelta(0))
    harness.hub.advance(HOUR)
    assert harness.calls == [("01.03:00", False)]


def test_an_instance_of_another_orchestrator_is_left_alone(harness: TimerHarness) -> None:
    @df.orchestrator
    def own(context: df.DurableOrchestrationContext) -> Any:
        yield context.wait_for_external_event("go")

    harness.hub.client.terminate("timer:tick")
    harness.hub.run()
    harness.hub.restart(own, harness.make_app("0 0 1 * * *"))
    harness.hub.client.start_new(own, "timer:tick")
    harness.hub.run()
    harness.start_engine()
    assert harness.log_lines == [
        "timer function tick was not started: timer:tick is an instance of own: terminate it, or rename the function"
    ]
    assert not harness.status().ended


def test_timer_functions_can_have_clients_and_be_coroutines() -> None:
    app, seen = df.DFApp(), []

    @app.timer_trigger(arg_name="t", schedule=EVERY_HOUR)
    @app.durable_client_input(client_name="client")
    def in_thread(t: func.TimerRequest, client: Any, context: func.Context) -> None:
        seen.append((type(client), context.function_name, sorted(t.schedule_status)))

    @app.schedule(arg_name="t", schedule=EVERY_HOUR)
    @app.durable_client_input(client_name="client")
    async def on_loop(t: func.TimerRequest, client: Any) -> None:
        seen.append((type(client), t.schedule_status["Next"], datetime.min.isoformat() == t.schedule_status["Last"]))

    with testing.hub(app) as hub:
        timer_functions.register_timers(hub.registry, lambda: ClientProvider(hub.client))
        assert hub.client.mailbox is not None
        timer_starts.ensure_timers(
            hub.registry, hub.client, hub.client.mailbox, hub.clock.now(), is_complete=True, warn=print
        )
        hub.advance(HOUR)
    assert sorted(seen, key=str) == [
        (DurableFunctionsClient, "2026-01-01T02:00:00+00:00", True),
        (SyncDurableFunctionsClient, "in_thread", ["Last", "LastUpdated", "Next"]),
    ]


def test_an_interrupted_call_is_repeated_and_past_due(harness: TimerHarness) -> None:
    harness.hub.clock.move_to(harness.hub.clock.now() + HOUR)
    while not harness.hub.pool.waiting:
        harness.hub.engine.step()
    harness.restart_after(timedelta(minutes=1))
    assert harness.calls == [("01.01:01", True)]
