"""Schedules and settings in a hub in memory follow its clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.errors import ConfigError
from durablecli.store.query import Query

Context = df.DurableOrchestrationContext
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


@df.orchestrator(schedule="0 3 * * *")
def nightly(context: Context) -> str:
    return f"{context.current_utc_datetime:%d %H:%M}"


@df.orchestrator
def waits(context: Context) -> Any:
    yield context.wait_for_external_event("Go")


@df.entity
def clock(context: df.DurableEntityContext) -> None:
    context.set_state(context.operation_name)


def outputs(hub: testing.TestEnvironment, name: str = "nightly") -> list[Any]:
    rows = hub.client.page(Query(tags={"durable.schedule": name}, sort="id", limit=1000)).rows
    return [hub.client.get_status(row.id).output for row in rows]


def test_schedules_run_by_the_clock_if_they_are_wanted() -> None:
    with testing.hub(nightly, schedules=True) as hub:
        hub.advance(2 * DAY)
        assert outputs(hub) == ["01 03:00", "02 03:00"]
        hub.restart()
        hub.advance(DAY)
        assert len(outputs(hub)) == 3
    with testing.hub(nightly) as hub:
        hub.advance(2 * DAY)
        assert outputs(hub) == []


def test_new_code_has_its_own_schedules() -> None:
    @df.orchestrator(name="nightly", schedule="0 * * * *")
    def hourly(context: Context) -> str:
        return f"{context.current_utc_datetime:%d %H:%M}"

    with testing.hub(nightly, schedules=True) as hub:
        hub.advance(DAY)
        hub.restart(hourly)
        hub.advance(2 * HOUR)
        assert outputs(hub) == ["01 03:00", "02 01:00", "02 02:00"]


def test_schedules_of_the_settings_run() -> None:
    config = {"schedules": {"often": {"orchestrator": "nightly", "schedule": "*/10 * * * *"}}}
    with testing.hub(nightly, schedules=True, config=config) as hub:
        hub.advance(30 * MINUTE)
        assert outputs(hub, "often") == ["01 00:10", "01 00:20", "01 00:30"]


def test_ended_instances_are_purged_by_the_clock() -> None:
    with testing.hub(nightly, waits, config={"retention": {"completed": "30d"}}) as hub:
        hub.client.start_new(waits, "live")
        hub.finish(hub.client.start_new(nightly, "old"))
        hub.advance(29 * DAY)
        assert set(hub.client.iter_ids(Query())) == {"live", "old"}
        hub.advance(2 * DAY)
        assert set(hub.client.iter_ids(Query())) == {"live"}


def test_a_signal_after_a_duration_comes_by_the_clock() -> None:
    with testing.hub(clock) as hub:
        hub.client.signal_entity("@clock@a", "late", at=HOUR)
        hub.advance(59 * MINUTE)
        assert not hub.client.entity("@clock@a").exists
        hub.advance(MINUTE)
        assert hub.client.entity("@clock@a").state == "late"


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"retention": {"complete": "30d"}}, "unknown key"),
        ({"schedules": {"x": {"orchestrator": "missing", "schedule": "0 * * * *"}}}, "'missing' isn't loaded"),
        ({"schedules": {"x": {"orchestrator": "nightly", "schedule": "0 * *"}}}, "schedules.x"),
    ],
)
def test_wrong_settings_are_refused(config: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        testing.hub(nightly, schedules=True, config=config)
