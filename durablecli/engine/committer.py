"""Commits: the cycle's commit goes to the journal, and takes effect once it is on disk, in the order of the commits."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import NoReturn

from durablecli.engine.child_starter import CANCELLED
from durablecli.engine.commit_builder import CommitBuilder
from durablecli.engine.end_watchers import EndWatchers
from durablecli.engine.journal_writer import JournalWriter
from durablecli.engine.log_capture import LogCapture
from durablecli.engine.publisher import Publisher
from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.turns import TurnRunner
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.errors import StorageError
from durablecli.limits import MIB
from durablecli.store.hub import allow_spilled_records, is_still_owner
from durablecli.store.journal.commits import encode_commit

_MAX_UNSYNCED_BYTES = 16 * MIB


class Committer:
    """Begins cycles, commits them, and publishes what is on disk.

    `is_busy` says whether another cycle could begin at once; `fail` stops the engine.
    """

    def __init__(
        self,
        shared: SharedParts,
        turn_runner: TurnRunner,
        publisher: Publisher,
        journal_writer: JournalWriter,
        dispatcher: Dispatcher | None,
        log_capture: LogCapture,
        *,
        is_busy: Callable[[], bool],
        fail: Callable[[BaseException], NoReturn],
    ) -> None:
        self._hub = shared.hub
        self._spill_writer = shared.hub.spill_writer
        self._spill_over = shared.options.spill_over or sys.maxsize
        self._clock = shared.clock
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._stats = shared.cycle.stats
        self._metrics = shared.metrics
        self._tracing = shared.options.tracing
        self._counted_turns = 0
        self._deduplicator = shared.deduplicator
        self._progress = shared.progress
        self._sync_in_place = shared.options.sync_in_place
        self._remote_work = shared.options.remote_work
        self._turn_runner = turn_runner
        self._blocker = turn_runner.blocker
        self._publisher = publisher
        self._journal_writer = journal_writer
        self._dispatcher = dispatcher
        if dispatcher is not None:
            dispatcher.output_log = shared.instance_logs.output_log
        self._log_capture = log_capture
        self._instance_logs = shared.instance_logs
        self._is_busy = is_busy
        self._fail = fail
        self._unsynced: deque[CommitBuilder] = deque()
        self._publishing: CommitBuilder | None = None
        """The commit that is being synced in the engine's thread, or handed to the publisher."""
        self._unsynced_bytes = 0
        self.last_commit = self._hub.last_commit
        """The last commits made, and published; any thread may ask."""
        self.end_watchers = EndWatchers()
        self.committed_at = 0.0
        """When the last commit was made, by the monotonic clock."""

    def close(self) -> None:
        """Write what is left for the logs of instances, and wake all who wait for the end of one."""
        self._instance_logs.close()
        self.end_watchers.close()

    @property
    def unsynced_count(self) -> int:
        """The commits that aren't on disk yet."""
        return len(self._unsynced)

    @property
    def oldest_unsynced_at(self) -> float | None:
        """When the oldest commit that isn't on disk yet was made, by the monotonic clock; any thread may ask."""
        oldest = next(iter(tuple(self._unsynced)), self._publishing)
        return oldest.decided_at or None if oldest is not None else None

    def is_behind(self, max_commits: int) -> bool:
        """Whether so much isn't on disk yet that the next cycle has to wait."""
        return len(self._unsynced) >= max_commits or self._unsynced_bytes >= _MAX_UNSYNCED_BYTES

    def begin_cycle(self) -> None:
        """Begin a cycle, which writes into the next commit."""
        self._spill_writer.discard_current()
        builder = CommitBuilder(self.last_commit + 1, self._hub.epoch, self._clock.now(), self._log_capture.noted)
        builder.spill(self._spill_writer, self._spill_over)
        self._cycle.begin(builder)
        self._deduplicator.begin_cycle()
        self._turn_runner.begin_cycle()

    def commit(self) -> bool:
        """Send the cycle's commit on its way to the disk. False if the cycle has changed nothing."""
        self._turn_runner.start_entity_batches()
        builder = self._cycle.builder
        if builder.is_empty:
            return builder.has_effects and self._publish_in_order(builder)
        if not is_still_owner(self._hub):
            self._fail(StorageError(f"{self._hub.root}: another engine has taken the hub; this one stops"))
        if self._spill_writer.has_current:
            self._enqueue_spilled(builder)
        self.last_commit = builder.commit_number
        self._cycle.undispatched_count += len(builder.activity_tasks)
        self._instances.forbid_eviction(builder.changed)
        self.committed_at = builder.decided_at = now = monotonic()
        builder.cycle_seconds = now - self._cycle.began_at
        builder.turn_count = self._stats["turns"] - self._counted_turns
        self._counted_turns += builder.turn_count
        data = encode_commit(builder.finish())
        self._stats["commits"] += 1
        if self._unsynced:
            self._stats["decided_during_sync"] += 1
        if self._sync_in_place and not self._unsynced and self._can_sync_in_place():
            self._publishing = builder
            try:
                self._journal_writer.write_now(data, builder.commit_number)
            except StorageError as error:
                self._fail(error)
            self._publish(builder)
        else:
            self._add_unsynced(builder)
            self._journal_writer.enqueue(data, builder.commit_number)
        return True

    def _enqueue_spilled(self, builder: CommitBuilder) -> None:
        """Have the spilled records of a commit written before it."""
        try:
            allow_spilled_records(self._hub)
        except StorageError as error:
            self._fail(error)
        self._spill_writer.enqueue_current(builder.commit_number)

    def _publish_in_order(self, builder: CommitBuilder) -> bool:
        """Publish the effects of a cycle that has nothing to write, once the commits before it are published."""
        builder.commit.c = self.last_commit
        self._cycle.undispatched_count += len(builder.activity_tasks)
        if self._unsynced:
            self._add_unsynced(builder)
        else:
            self._publish(builder)
        return True

    def _add_unsynced(self, builder: CommitBuilder) -> None:
        self._unsynced.append(builder)
        self._unsynced_bytes += builder.size

    def _can_sync_in_place(self) -> bool:
        """Whether nothing else could be decided while a commit is being synced."""
        if self._dispatcher is not None and self._dispatcher.in_flight_count:
            return False
        return not self._is_busy()

    def is_on_its_way(self, instance: str) -> bool:
        """Whether a commit that isn't published concerns an instance; any thread may ask."""
        if any(each.concerns(instance) for each in tuple(self._unsynced)):
            return True
        publishing = self._publishing  # after the others: from there commits come here
        return publishing is not None and publishing.concerns(instance)

    # ── publishing ─────────────────────────────────────────────────────────────────────────────────────────────

    def publish_up_to(self, commit_number: int) -> None:
        """Publish the commits up to this one, which are on disk."""
        while self._unsynced and self._unsynced[0].commit.c <= commit_number:
            self._publishing = builder = self._unsynced[0]
            self._unsynced.popleft()
            self._unsynced_bytes -= builder.size
            self._publish(builder)

    def _publish(self, builder: CommitBuilder) -> None:
        """The commit is on disk: now, and not before, it has its effects."""
        commit = builder.commit
        self._publisher.add_commit(builder)
        self._publishing = None
        if builder.decided_at:
            metrics = self._metrics
            metrics.count_commit(builder.counts, builder.turn_count, builder.cycle_seconds, builder.decided_at)
        if commit.purged:
            for purged in commit.purged:
                self._blocker.forget_internal_error(purged.instance)
            self._instance_logs.remove_purged(commit.purged)
        if commit.quarantined or commit.delivered:
            self._hub.quarantined_messages.publish(commit)
        self._cycle.undispatched_count -= len(builder.activity_tasks)
        self.end_watchers.notify(id for id, _, _ in builder.ended_executions)
        if self._dispatcher is not None:
            self._dispatch(builder, self._dispatcher)
        if builder.spans and self._tracing is not None:
            for span in builder.spans:
                self._tracing.emit(span)
        if builder.log_lines:
            self._instance_logs.add_turns(builder.turn_outputs, builder.at)
            self._log_capture.emit(builder.log_lines)
        if builder.progress:
            self._progress.update(builder.progress)
        if self._progress and builder.ended_executions:
            self._progress.forget((id, execution) for id, execution, _ in builder.ended_executions)
        if builder.released_ids:
            self._hub.inbox.release_ids(builder.released_ids)  # from now on the journal shows that they are taken
        if commit.consumed:
            self._hub.inbox.remove(consumed.message for consumed in commit.consumed if consumed.upto is None)
        for ack in builder.acks:
            ack()
        if self._remote_work is not None:
            self._serve_workers(builder, self._remote_work)

    def _serve_workers(self, builder: CommitBuilder, pool: RemoteWorkPool) -> None:
        pool.turns.settle(builder.settled_turns)
        pool.turns.withdraw((id, execution) for id, execution, _ in builder.ended_executions)
        pool.turns.offer(builder.remote_offers)
        pool.turns.deliver(builder.remote_turns)
        for done, reason in builder.remote_acks:
            done(reason)

    def _dispatch(self, builder: CommitBuilder, dispatcher: Dispatcher) -> None:
        if builder.activity_tasks:
            tasks = builder.activity_tasks
            if builder.cancelled_calls:
                cancelled = set(builder.cancelled_calls)
                tasks = [each for each in tasks if (each.instance, each.execution, each.n) not in cancelled]
            dispatcher.dispatch_activities(tasks)
        for key in builder.cancelled_calls:
            dispatcher.cancel(key, CANCELLED)
        dispatcher.abandon(builder.abandoned_batches)
        dispatcher.dispatch_entity_batches(builder.entity_batch_tasks)
        for id, execution, reason in builder.terminated_executions:
            dispatcher.cancel_execution(id, execution, reason)
        for id, execution, abandoned in builder.ended_executions:
            dispatcher.end_execution(id, execution, abandoned)
