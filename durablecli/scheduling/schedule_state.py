"""A schedule as the app declares it, and its state as the hub keeps it: values that are stored as JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal

import msgspec

from durablecli.model.schedule_options import DEFAULT_TIME_ZONE
from durablecli.scheduling.due_times import DueTimes, parse_due_times
from durablecli.scheduling.time_zones import find_time_zone

Overlap = Literal["skip", "queue", "allow"]


class ScheduleSpec(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A schedule: which orchestrator is started, when, and with which input. It was checked when the app was loaded."""

    name: str
    orchestrator: str
    schedule: str
    timezone: str = DEFAULT_TIME_ZONE
    overlap: Overlap = "skip"
    catch_up: bool = False
    input: Any = None

    @property
    def due_times(self) -> DueTimes:
        """Its due times. Raises ValueError if the expression or the zone is unknown here."""
        return parse_due_times(self.schedule, self.timezone)

    @property
    def zone(self) -> tzinfo:
        """Its time zone; UTC if that is unknown here."""
        try:
            return find_time_zone(self.timezone)
        except ValueError:
            return UTC

    def has_same_times(self, other: ScheduleSpec | None) -> bool:
        """Whether another schedule is due at the same times."""
        return other is not None and (self.schedule, self.timezone) == (other.schedule, other.timezone)

    def make_run_id(self, due: datetime) -> str:
        """The instance id of the run for a due time: `nightly-2026-12-01T03:00+0100`. Each due time has its own."""
        return f"{self.name}-{format_due_time(due, self.due_times)}"

    def format_scheduled_time(self, due: datetime) -> str:
        """A due time in the zone of the schedule, as ISO 8601."""
        return due.astimezone(self.zone).isoformat()


class PassedDueTime(msgspec.Struct, frozen=True, rename="camel"):
    """A due time without a run, and why: in words."""

    due: datetime
    reason: str


class ScheduleState(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The state of a schedule. Times are UTC.

    Without a `spec` no engine has loaded it yet. `due` is the next due time that was not decided yet; it is None while
    the schedule is paused or not `loaded`, which is so when the app no longer declares it. `waiting` are due times
    whose runs begin once the present one has ended, and `running` the ids of the runs that haven't ended. `passed` are
    the latest due times without a run; `skipped` and `missed` count all of them. `timer` is the number of the timer
    that counts: earlier ones were replaced.
    """

    spec: ScheduleSpec | None = None
    loaded: bool = False
    paused: bool = False
    paused_at: datetime | None = None
    due: datetime | None = None
    timer: int = 0
    waiting: tuple[datetime, ...] = ()
    running: tuple[str, ...] = ()
    last_due: datetime | None = None
    last_run: str | None = None
    started: int = 0
    skipped: int = 0
    missed: int = 0
    passed: tuple[PassedDueTime, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether due times start runs."""
        return self.spec is not None and self.loaded and not self.paused


def format_due_time(due: datetime, times: DueTimes) -> str:
    """Format a due time for ids: in the zone of the schedule, with its offset, and with seconds only if there are."""
    local = due.astimezone(times.zone)
    seconds = "" if not local.second else f":{local:%S}"
    offset = "Z" if times.zone is UTC or local.utcoffset() == timedelta(0) else f"{local:%z}"
    return f"{local:%Y-%m-%dT%H:%M}{seconds}{offset}"
