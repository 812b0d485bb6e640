"""Schedules of the Python SDK: its entities and orchestrators run on the hub like any others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from durabletask.client import OrchestrationQuery
from durabletask.scheduled import (
    ScheduleCreationOptions,
    ScheduledTaskClient,
    ScheduleNotFoundError,
    ScheduleQuery,
    ScheduleStatus,
    ScheduleUpdateOptions,
)

from tests.sdk.python.sdk_hub import SECONDS, Context, SdkHub, new_key
from tests.support.waiting import wait_until


def orchestrate_tick(context: Context, value: Any) -> Any:
    return value


@pytest.fixture(scope="module")
def schedules(hub: SdkHub) -> Iterator[ScheduledTaskClient]:
    worker = hub.make_worker(orchestrate_tick)
    worker.configure_scheduled_tasks()
    worker.start()
    yield ScheduledTaskClient(hub.client, operation_timeout=SECONDS)
    worker.stop()


def options(schedule: str, **more: Any) -> ScheduleCreationOptions:
    return ScheduleCreationOptions(
        schedule_id=schedule, orchestration_name="orchestrate_tick", interval=timedelta(seconds=1), **more
    )


def count_runs(hub: SdkHub, value: str) -> int:
    found = hub.client.get_all_orchestration_states(OrchestrationQuery(fetch_inputs_and_outputs=True))
    return sum(state.name == "orchestrate_tick" and state.get_input() == value for state in found)


def test_a_schedule_starts_orchestrations(hub: SdkHub, schedules: ScheduledTaskClient) -> None:
    schedule = schedules.create_schedule(
        options(new_key(), orchestration_input=(value := new_key()), start_immediately_if_late=True)
    )
    wait_until(lambda: count_runs(hub, value) >= 2, SECONDS, "two runs")
    schedule.pause()
    assert schedule.describe().status is ScheduleStatus.PAUSED
    schedule.resume()
    assert schedule.describe().status is ScheduleStatus.ACTIVE
    schedule.update(ScheduleUpdateOptions(interval=timedelta(hours=1)))
    assert schedule.describe().interval == timedelta(hours=1)
    schedule.delete()
    with pytest.raises(ScheduleNotFoundError):
        schedule.describe()


def test_schedules_are_listed(schedules: ScheduledTaskClient) -> None:
    prefix = new_key()
    created = [schedules.create_schedule(options(f"{prefix}-{n}")) for n in range(3)]
    created[1].pause()
    query = ScheduleQuery(schedule_id_prefix=prefix, page_size=2)
    assert sorted(each.schedule_id for each in schedules.list_schedules(query)) == [f"{prefix}-{n}" for n in range(3)]
    paused = ScheduleQuery(schedule_id_prefix=prefix, status=ScheduleStatus.PAUSED)
    assert [each.schedule_id for each in schedules.list_schedules(paused)] == [f"{prefix}-1"]
    assert schedules.get_schedule(new_key()) is None
    for each in created:
        each.delete()
    assert schedules.list_schedules(query) == []
