"""The schedules of a hub as people see them: what the app declares and the state in the hub, and the verbs for them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from durablecli.apps.declared_schedules import DeclaredSchedule, ScheduleDeclarations
from durablecli.builtin.schedule_entity import PAUSE, RESUME
from durablecli.builtin.schedule_starts import list_schedule_names, read_state
from durablecli.client import Client
from durablecli.errors import Conflict, NotFound, UsageError, WrongState
from durablecli.model.ids import new_id
from durablecli.model.schedule_options import SCHEDULE_TAG, SCHEDULED_TIME_TAG
from durablecli.model.status import InstanceSummary
from durablecli.model.suggestions import did_you_mean
from durablecli.scheduling.schedule_state import ScheduleSpec, ScheduleState
from durablecli.scheduling.schedule_turn import GRACE
from durablecli.store.query import Query


class ScheduleView(msgspec.Struct, frozen=True):
    """One schedule. `declared` is None if the app doesn't declare it, or unless `knows_app`."""

    name: str
    spec: ScheduleSpec | None
    state: ScheduleState
    declared: DeclaredSchedule | None = None
    knows_app: bool = True

    @property
    def status(self) -> str:
        """Active, Paused, New (no daemon has loaded it yet) or Not loaded (the app doesn't declare it)."""
        if self.state.paused:
            return "Paused"
        if self.declared is None and (self.knows_app or not self.state.loaded):
            return "Not loaded"
        return "Active" if self.state.loaded else "New"

    @property
    def is_changed(self) -> bool:
        """Whether a daemon has still to take over what the app declares."""
        return self.declared is not None and self.state.loaded and self.state.spec != self.declared.spec

    def next_due(self, now: datetime) -> datetime | None:
        """The next due time; None if there is none because of the status, or of an expression that is unknown here."""
        if self.spec is None or self.status not in ("Active", "New"):
            return None
        due = self.state.due
        if due is not None and due > now - GRACE and not self.is_changed:
            return due
        try:
            return self.spec.due_times.next_after(now)  # no daemon was there at the one in the state
        except ValueError:
            return None

    def list_due_times(self, now: datetime, count: int) -> list[datetime]:
        """The next due times after now, whatever the status. Times are in the zone of the schedule.

        Raises WrongState if the expression or the zone is unknown here.
        """
        found: list[datetime] = []
        moment = now
        try:
            for _ in range(count if self.spec is not None else 0):
                assert self.spec is not None
                moment = self.spec.due_times.next_after(moment)
                found.append(moment.astimezone(self.spec.zone))
        except ValueError as error:
            raise WrongState(f"the due times of schedule '{self.name}' aren't known: {error}") from None
        return found

    def payload(self, now: datetime) -> dict[str, Any]:
        """The schedule as JSON: what the HTTP API and `-o json` give."""
        state, spec, due = self.state, self.spec, self.next_due(now)
        return {
            "name": self.name,
            "status": self.status,
            "orchestrator": spec and spec.orchestrator,
            "schedule": spec and spec.schedule,
            "timezone": spec and spec.timezone,
            "overlap": spec and spec.overlap,
            "catchUp": spec and spec.catch_up,
            "input": spec and spec.input,
            "declaredIn": self.declared and self.declared.location,
            "nextDue": due and spec and spec.format_scheduled_time(due),
            "pausedAt": state.paused_at,
            "lastDue": state.last_due and spec and spec.format_scheduled_time(state.last_due),
            "lastRun": state.last_run,
            "running": state.running,
            "waiting": state.waiting,
            "started": state.started,
            "skipped": state.skipped,
            "missed": state.missed,
            "withoutRun": state.passed,
        }


class ScheduleCatalog:
    """Reads the schedules of a hub, and pauses, resumes and triggers them: no daemon is needed."""

    def __init__(self, client: Client, declarations: ScheduleDeclarations | None = None) -> None:
        """Without `declarations`, the schedules are those that the last daemon has loaded."""
        self._client = client
        self._declared = {} if declarations is None else declarations.schedules
        self._broken = {} if declarations is None else declarations.broken
        self._knows_app = declarations is not None

    def list_all(self) -> list[ScheduleView]:
        """All schedules, sorted by name."""
        names = {*list_schedule_names(self._client), *self._declared}
        return [self._view(name, read_state(self._client, name)) for name in sorted(names, key=str.casefold)]

    def get(self, name: str) -> ScheduleView:
        """One schedule. Raises NotFound."""
        state = read_state(self._client, name)
        if state is None and name not in self._declared:
            known = [*list_schedule_names(self._client), *self._declared]
            exact = next((each for each in known if each.casefold() == name.casefold()), None)
            if exact is not None:
                return self.get(exact)
            raise NotFound(f"no schedule '{name}'{did_you_mean(name, known)}")
        return self._view(name, state)

    def _view(self, name: str, found: ScheduleState | None) -> ScheduleView:
        state = found or ScheduleState()
        declared = self._declared.get(name)
        spec = state.spec if declared is None else declared.spec
        return ScheduleView(name, spec, state, declared, self._knows_app)

    def pause(self, name: str) -> None:
        """Start no more runs until `resume`. Raises NotFound, and WrongState if it is paused."""
        view = self.get(name)
        if view.state.paused:
            raise WrongState(f"schedule '{view.name}' is paused already")
        self._client.signal_schedule(view.name, PAUSE)

    def resume(self, name: str) -> None:
        """Start runs again, from the next due time on. Raises NotFound, and WrongState if it isn't paused."""
        view = self.get(name)
        if not view.state.paused:
            raise WrongState(f"schedule '{view.name}' isn't paused")
        self._client.signal_schedule(view.name, RESUME)

    def trigger(self, name: str) -> str:
        """Start a run now, whatever runs, and return its id.

        Raises NotFound; UsageError if the app declares the schedule with a mistake; InvalidInput if the running engine
        says that the orchestrator can't take its input.
        """
        if (problem := self._broken.get(name)) is not None:
            raise UsageError(problem)
        view = self.get(name)
        spec = view.spec
        if spec is None:
            raise NotFound(f"schedule '{view.name}' has never been loaded, so nothing is known about its orchestrator")
        at = datetime.now(UTC).replace(microsecond=0)
        tags = {SCHEDULE_TAG: spec.name, SCHEDULED_TIME_TAG: spec.format_scheduled_time(at)}
        id = f"{spec.name}-manual-{at:%Y-%m-%dT%H:%M:%S}Z"
        try:
            return self._client.start_new(spec.orchestrator, id, spec.input, if_exists="fail", tags=tags)
        except Conflict:  # a second one in the same second
            return self._client.start_new(spec.orchestrator, f"{id}-{new_id()[:6]}", spec.input, tags=tags)

    def runs(self, name: str, limit: int = 10) -> list[InstanceSummary]:
        """The latest runs, newest first, with those that were triggered."""
        query = Query(prefix=f"{name}-", tags={SCHEDULE_TAG: name}, roots_only=True, limit=limit)
        return self._client.page(query).rows
