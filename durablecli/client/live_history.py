"""What a live view of one instance reads: its new records, and what the engine reports of its work."""

from __future__ import annotations

from durablecli.client.follow import HistoryFollower, HistoryLine
from durablecli.client.status_reader import StatusReader
from durablecli.model.reported_progress import ReportedProgress
from durablecli.model.status import PendingWait
from durablecli.replay.runtime_state import RuntimeState


class LiveHistory:
    """Follows one instance, across `continue_as_new`."""

    def __init__(self, reader: StatusReader, instance: str) -> None:
        self._reader = reader
        self._follower = HistoryFollower(reader, instance)

    def new_lines(self) -> list[HistoryLine]:
        """Return the records written since the last call; those of a new execution from its first record."""
        return self._follower.new_lines()

    def explain_waits(self, state: RuntimeState, waits: tuple[PendingWait, ...]) -> tuple[PendingWait, ...]:
        """Return the same waits, each with what delays it."""
        return self._reader.explain_waits(state, waits)

    def count_running(self, state: RuntimeState) -> int:
        """Count the activities of this execution that the engine reports as running."""
        activities = self._reader.read_activities()
        return 0 if activities is None else activities.count_running(state.instance, state.execution)

    def read_progress(self, state: RuntimeState) -> ReportedProgress | None:
        """Return what the orchestrator of this execution has reported last."""
        reported = self._reader.read_activities()
        return None if reported is None else reported.find_progress(state.instance, state.execution)

    def engine_is_alive(self) -> bool:
        """Whether an engine is running."""
        return self._reader.read_engine_status().alive
