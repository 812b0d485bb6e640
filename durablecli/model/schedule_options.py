"""The schedule of an orchestrator, as its decorator gives it, and the names of what belongs to schedules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

SCHEDULE_ENTITY = "builtin__schedule"
"""The name of the built-in entity of schedules; the key of each is the schedule's name."""
SCHEDULE_TAG = "durable.schedule"
"""The tag of a schedule's runs: the schedule's name."""
SCHEDULED_TIME_TAG = "durable.scheduled-time"
"""The tag of a run that was started because it was due: that time, as ISO 8601 with an offset."""
RUN_STARTED = "run_started"
RUN_ENDED = "run_ended"
DEFAULT_TIME_ZONE = "UTC"
OVERLAP_POLICIES = ("skip", "queue", "allow")


class ScheduleOptions(NamedTuple):
    """When an orchestrator is started: `schedule` is a cron expression or an interval, in the zone `timezone`.

    `overlap` says what happens at a due time while a run is still running, and `catch_up` whether due times that were
    missed while no engine ran are made up for. `input` is the input of each run. The values aren't checked here.
    """

    schedule: str
    timezone: str = DEFAULT_TIME_ZONE
    overlap: str = "skip"
    catch_up: bool = False
    input: Any = None


def read_scheduled_time(tags: Mapping[str, str]) -> datetime | None:
    """The scheduled time that the tags of an instance name; None if there is none."""
    text = tags.get(SCHEDULED_TIME_TAG)
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None  # a tag that somebody has made up


def make_schedule_id(name: str) -> str:
    """Make the id of the entity of a schedule."""
    return f"@{SCHEDULE_ENTITY}@{name}"
