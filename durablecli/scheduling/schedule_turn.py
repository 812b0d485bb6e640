"""The rules of schedules: what one operation changes in the state of a schedule, and which runs it starts.

Pure: the time comes in, and runs, timers and log lines come out.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from msgspec.structs import replace

from durablecli.plurals import format_count
from durablecli.scheduling.schedule_state import PassedDueTime, ScheduleSpec, ScheduleState, format_due_time

GRACE = timedelta(seconds=60)
"""A due time that an engine finds this late counts as met: a restart misses nothing."""
MAX_MADE_UP = 100
"""The most due times that are made up for at once: the latest ones."""
MAX_WAITING = 100
"""The most due times that wait for a run to end."""
_MAX_PASSED = 20


class ScheduledRun(NamedTuple):
    """A run to start."""

    id: str
    due: datetime


class LogNote(NamedTuple):
    """A line for the log."""

    level: int
    text: str


class ScheduleTurn:
    """One operation on a schedule at the time `now`: the new state, and what it sets off.

    With `timer_at` a timer is to be set for that time, with the number `state.timer`.
    """

    def __init__(self, name: str, state: ScheduleState, now: datetime) -> None:
        self.state = state
        self.runs: list[ScheduledRun] = []
        self.notes: list[LogNote] = []
        self.timer_at: datetime | None = None
        self._name = name
        self._now = now

    # ── operations ───────────────────────────────────────────────────────────────────────────────────────────────

    def load(self, spec: ScheduleSpec) -> None:
        """Take over what the app declares. If the times have changed, the next due time is computed from now."""
        state = self.state
        keeps_times = state.is_active and state.due is not None and spec.has_same_times(state.spec)
        waiting = state.waiting if keeps_times else ()
        self._change(spec=spec, loaded=True, waiting=waiting)
        if not keeps_times:
            self._rearm()
        self._start_waiting()

    def unload(self) -> None:
        """Stop: the app no longer declares this schedule. Runs that are running aren't touched."""
        self._change(loaded=False, due=None, waiting=(), timer=self.state.timer + 1)

    def pause(self) -> None:
        """Start no more runs. Due times that pass while the schedule is paused are gone."""
        if not self.state.paused:
            self._change(paused=True, paused_at=self._now, due=None, waiting=(), timer=self.state.timer + 1)

    def resume(self) -> None:
        """Start runs again, from the next due time on."""
        if self.state.paused:
            self._change(paused=False, paused_at=None)
            self._rearm()

    def on_timer(self, number: int) -> None:
        """Decide about all due times up to now."""
        state = self.state
        if number != state.timer or not state.is_active or state.due is None:
            return
        assert state.spec is not None
        if state.due > self._now:
            self.timer_at = state.due  # the clock was set back
            return
        found = state.spec.due_times.latest(state.due, self._now, MAX_MADE_UP)
        kept = self._drop_missed(found.times, is_complete=found.is_complete)
        self._take_up(kept)
        self._rearm()
        self._start_waiting()

    def on_run_started(self, id: str) -> None:
        """Count a run that somebody else has started as running."""
        if id not in self.state.running:
            self._change(running=(*self.state.running, id))

    def on_run_ended(self, id: str) -> None:
        """Start the next run that waits."""
        self._change(running=tuple(each for each in self.state.running if each != id))
        self._start_waiting()

    # ── due times ────────────────────────────────────────────────────────────────────────────────────────────────

    def _drop_missed(self, times: list[datetime], *, is_complete: bool) -> list[datetime]:
        """Drop the due times that no engine was there for, unless they are made up for."""
        assert self.state.spec is not None
        if self.state.spec.catch_up:
            kept, missed, reason = times, [], f"more than {MAX_MADE_UP} due times were missed"
        else:
            kept = [each for each in times if self._now - each <= GRACE]
            missed, reason = times[: len(times) - len(kept)], "no daemon was running (catch_up is off)"
        if is_complete and not missed:
            return kept
        first = self.state.due
        assert first is not None
        earliest = missed if is_complete else [first, *missed]
        counted = format_count(len(earliest), "due time") if is_complete else f"more than {len(earliest)} due times"
        self._note(logging.WARNING, f"{counted} missed, from {self._format(earliest[0])} on: {reason}")
        self._pass([earliest[-1]], reason)
        self._change(missed=self.state.missed + len(earliest))
        return kept

    def _take_up(self, times: list[datetime]) -> None:
        """Let runs wait for their turn, or skip them."""
        state = self.state
        assert state.spec is not None
        if not times:
            return
        busy = state.running[-1] if state.running else self._run_id(state.waiting[0]) if state.waiting else None
        if state.spec.overlap == "skip" and busy is not None:
            self._skip(times, f"{busy} is still running" if state.running else f"{busy} hasn't begun")
            return
        room = len(times) if state.spec.overlap != "queue" else MAX_WAITING - len(state.waiting)
        self._change(waiting=(*state.waiting, *times[:room]))
        if times[room:]:
            self._skip(times[room:], f"{MAX_WAITING} due times are waiting already")

    def _start_waiting(self) -> None:
        state = self.state
        if not state.is_active or state.spec is None:
            return
        together = state.spec.overlap == "allow"
        while self.state.waiting and (together or not self.state.running):
            due, *waiting = self.state.waiting
            run = ScheduledRun(self._run_id(due), due)
            self.runs.append(run)
            running = (*self.state.running, run.id)
            self._change(
                waiting=tuple(waiting), running=running, last_due=due, last_run=run.id, started=self.state.started + 1
            )

    def _rearm(self) -> None:
        """Set the timer for the next due time after now."""
        state = self.state
        number = state.timer + 1
        if not state.is_active or state.spec is None:
            self._change(due=None, timer=number)
            return
        # If the clock was set back, a due time isn't decided twice.
        after = self._now if state.last_due is None else max(self._now, state.last_due)
        try:
            self.timer_at = state.spec.due_times.next_after(after)
        except ValueError as error:
            self._note(logging.ERROR, str(error))
            self.timer_at = None
        self._change(due=self.timer_at, timer=number)

    # ── records ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _skip(self, times: list[datetime], reason: str) -> None:
        for due in times:
            self._note(logging.INFO, f"{self._format(due)} skipped: {reason}")
        self._pass(times, reason)
        self._change(skipped=self.state.skipped + len(times))

    def _pass(self, times: list[datetime], reason: str) -> None:
        passed = (*self.state.passed, *(PassedDueTime(due, reason) for due in times))
        self._change(passed=passed[-_MAX_PASSED:])

    def _run_id(self, due: datetime) -> str:
        assert self.state.spec is not None
        return self.state.spec.make_run_id(due)

    def _format(self, due: datetime) -> str:
        assert self.state.spec is not None
        return format_due_time(due, self.state.spec.due_times)

    def _note(self, level: int, text: str) -> None:
        self.notes.append(LogNote(level, f"schedule {self._name}: {text}"))

    def _change(self, **fields: Any) -> None:
        self.state = replace(self.state, **fields)
