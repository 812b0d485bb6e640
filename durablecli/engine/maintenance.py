"""Maintenance between cycles: histories, index, checkpoints, the quarantine, memory, and the engine's notices."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from durablecli.engine.background import BackgroundThread
from durablecli.engine.committer import Committer
from durablecli.engine.info_writer import EngineInfoWriter
from durablecli.engine.publisher import Publisher
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.split_turn import SplitTurn
from durablecli.engine.worker_warnings import WorkerWarnings
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.slot_warnings import SlotWarnings
from durablecli.store import deduplication
from durablecli.store.history import truncated
from durablecli.store.hub import begin_checkpoint, finish_checkpoint

_IDLE_AFTER = 0.005
_IDLE_AFTER_CALLS = 0.1
"""An engine that has committed nothing for this time is idle; before, writing histories would delay results. While
calls are in flight the time is longer, as their results will soon extend the histories."""


class Maintenance:
    """Does what no cycle waits for."""

    def __init__(
        self,
        shared: SharedParts,
        split_turn: SplitTurn,
        publisher: Publisher,
        committer: Committer,
        background: BackgroundThread[Callable[[], None]],
        dispatcher: Dispatcher | None,
        info_writer: EngineInfoWriter | None,
    ) -> None:
        self._hub = shared.hub
        self._clock = shared.clock
        self._instances = shared.instances
        self._deduplicator = shared.deduplicator
        self._checkpoint_bytes = shared.options.checkpoint_bytes
        self._checkpoint_interval = shared.options.checkpoint_interval.total_seconds()
        self._split_turn = split_turn
        self._publisher = publisher
        self._committer = committer
        self._background = background
        self._dispatcher = dispatcher
        self._info_writer = info_writer
        self._progress = shared.progress
        self._slot_warnings = SlotWarnings(shared.echo)
        self._remote_work = shared.options.remote_work
        self._worker_warnings = WorkerWarnings(shared.echo)
        self._is_checkpointing = False
        self._checkpointed_at = monotonic()
        self._checkpointed_commit = committer.last_commit

    def run(self, *, idle: bool) -> None:
        """Do what is due between two cycles; `idle` gives histories more time, unless calls are in flight."""
        self.save_quarantine()
        self._publisher.flush_some(idle=idle)
        self.run_synced()
        self._instances.evict_unused()
        if self._dispatcher is not None:
            self._dispatcher.maintain()
            self._slot_warnings.check(self._dispatcher)
            if self._remote_work is not None:
                self._worker_warnings.check(self._remote_work)
            if self._info_writer is not None:
                self._info_writer.update(self._dispatcher, self._clock.now(), self._progress)

    @property
    def idle_at(self) -> float:
        """When the engine is idle if it commits nothing until then, by the monotonic clock."""
        has_calls = self._dispatcher is not None and self._dispatcher.in_flight_count > 0
        return self._committer.committed_at + (_IDLE_AFTER_CALLS if has_calls else _IDLE_AFTER)

    @property
    def needs_sync(self) -> bool:
        """Whether the index or a checkpoint is due, which need every commit on disk."""
        return self._publisher.is_index_due or self._is_checkpoint_due()

    def run_synced(self) -> None:
        """Update the index and make a checkpoint, where they are due and every commit is on disk."""
        if self._committer.unsynced_count:
            return
        if self._publisher.is_index_due:
            self._publisher.update_index()
        if self._is_checkpoint_due():
            self._checkpoint()

    def save_quarantine(self) -> None:
        """Write the list of quarantined instances, so that the journal needn't keep their incomplete turns."""
        hub = self._hub
        if incomplete := [id for id in hub.incomplete_turns if id in hub.quarantine]:
            truncated.add_truncated(hub.disk, hub.root, incomplete)
            hub.incomplete_turns.difference_update(incomplete)
        hub.quarantine.save()
        if self._deduplicator.changed and not self._committer.unsynced_count:
            self._deduplicator.changed = False
            deduplication.write_truncated_senders(hub.disk, hub.root, self._deduplicator.truncated_senders)

    # ── checkpoints ────────────────────────────────────────────────────────────────────────────────────────────

    def _is_checkpoint_due(self) -> bool:
        if self._is_checkpointing or self._committer.last_commit == self._checkpointed_commit:
            return False
        if self._hub.journal.size > self._checkpoint_bytes // 2:
            return True
        return monotonic() - self._checkpointed_at > self._checkpoint_interval

    def _checkpoint(self) -> None:
        self._is_checkpointing = True
        self._checkpointed_at = monotonic()
        self._checkpointed_commit = self._committer.last_commit
        if self._hub.journal.size > 2 * self._checkpoint_bytes:
            self._publisher.flush()
        self._publisher.update_index()
        pending = begin_checkpoint(self._hub, oldest_needed_commit=self._find_oldest_needed_commit())

        def finish() -> None:
            finish_checkpoint(self._hub, pending)
            self._is_checkpointing = False

        self._background.submit(finish)

    def _find_oldest_needed_commit(self) -> int | None:
        """The first commit that the journal still has to keep: for a turn that isn't complete, or for a history."""
        needed = (self._split_turn.first_commit, self._hub.oldest_needed_commit, self._publisher.oldest_needed_commit)
        return min((commit for commit in needed if commit is not None), default=None)
