"""The engine: gather arrivals, run turns, commit, publish.

    Nothing starts in the world, and nobody is told anything, before the commit that says so is on disk.

One thread runs the cycle. Everything that comes from elsewhere (outcomes, the journal's thread, clients of this
process, the bell) is put into one hand-off queue. While a commit is being synced the next cycle already gathers and
decides; commits are published in order.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from queue import Empty, SimpleQueue
from time import monotonic

from durablecli.config import LimitsConfig
from durablecli.engine.background import BackgroundThread
from durablecli.engine.clock import Clock, SystemClock
from durablecli.engine.commit_builder import CommitBuilder
from durablecli.engine.deduplicator import Deduplicator
from durablecli.engine.engine_info import EngineInfoWriter
from durablecli.engine.instance_cache import InstanceCache
from durablecli.engine.intake import Intake
from durablecli.engine.journal_writer import JournalWriter
from durablecli.engine.log_capture import LogCapture
from durablecli.engine.message_queue import MessageQueue, Submission, describe
from durablecli.engine.publisher import Publisher
from durablecli.engine.rollback import Rollback
from durablecli.engine.scope import EngineScope
from durablecli.engine.timers import TimerEntry, Timers
from durablecli.engine.turns import TurnRunner
from durablecli.engine.watchdog import CurrentTurn, HangReport, format_block_reason, is_code_unchanged
from durablecli.engine.workers.activity import ActivityResult
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.engine.workers.pool import ReportResult
from durablecli.engine.workers.slot_warnings import SlotWarnings
from durablecli.errors import DamagedHub, DurableError, HubLocked, NewerHub, NoPermission, StorageError
from durablecli.limits import MIB
from durablecli.model.entity_id import is_entity_id
from durablecli.model.versions import ANY_VERSION, VersionPolicy
from durablecli.registry import Registry
from durablecli.store import deduplication
from durablecli.store.history import truncated
from durablecli.store.history.file import history_files, history_path, read_whole_history
from durablecli.store.hub import Hub, begin_checkpoint, finish_checkpoint, is_still_owner, use_index
from durablecli.store.inbox.messages import Message, MessageItem, Receipt, new_message_id
from durablecli.store.index import Index
from durablecli.store.journal.commits import encode_commit

_MAX_SLEEP = 1.0
_IDLE_AFTER = 0.005
"""An engine that has decided nothing for so long is idle: what is just on its way back would only be held up."""
_MAX_UNSYNCED_COMMITS = 16
_MAX_ERROR_LENGTH = 2_000
_FATAL_ERRORS = (OSError, StorageError, HubLocked, DamagedHub, NewerHub, NoPermission)
"""What stops an engine: the disk, or the hub itself, and never one message or one instance."""
_log = logging.getLogger("durablecli.engine")
_MAX_UNSYNCED_SLICES = 2


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is to run; the defaults are those of durable.yaml."""

    replay_always: bool = False
    fail_on_nondeterminism: bool = False
    versions: VersionPolicy = ANY_VERSION
    live_instances: int = 10_000
    checkpoint_bytes: int = 16 * MIB
    checkpoint_interval: timedelta = timedelta(seconds=10)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    sync_in_place: bool = True
    """Whether a commit may be synced in the engine's own thread when nothing else waits."""
    use_threads: bool = True
    """Whether journal, index and checkpoints have threads; without, each of their steps is done where it is due."""
    turn_budget: timedelta = timedelta(milliseconds=10)
    """How long a cycle may run turns before it commits."""
    only_instance: str | None = None
    """The one instance that is driven, with what belongs to it; None: all of the hub's. See `scope`."""


@dataclass(frozen=True)
class SyncReport:
    """The journal's thread: everything up to `c` is on disk, or why it isn't."""

    c: int
    error: BaseException | None = None


class Engine:
    """One hub's engine. `step` is one cycle; `run` goes on until it is stopped. Without a registry no code runs."""

    def __init__(
        self,
        hub: Hub,
        registry: Registry | None,
        *,
        options: EngineOptions = EngineOptions(),
        clock: Clock | None = None,
        make_dispatcher: Callable[[ReportResult], Dispatcher] | None = None,
        info_writer: EngineInfoWriter | None = None,
        echo: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.hub = hub
        self.options = options
        self.clock = clock or SystemClock()
        self.echo = echo
        self.current_turn = CurrentTurn()
        self.log_capture = LogCapture()
        self._handoff_queue: SimpleQueue[ActivityResult | EntityBatchResult | Submission | SyncReport | None] = (
            SimpleQueue()
        )
        self.background: BackgroundThread[Callable[[], None]] = BackgroundThread(
            "durable-background",
            lambda work: work(),
            lambda error: self._handoff_queue.put(SyncReport(0, error)),
            threaded=options.use_threads,
        )
        self.instances = InstanceCache(
            lambda id: read_whole_history(hub.disk, hub.root, id),
            lambda id: history_path(hub.root, id),
            hub.incomplete_turns,
            options.live_instances,
            hub.quarantine,
            echo,
        )
        self.timers = Timers()
        queue = MessageQueue(hub.inbox)
        self.scope = EngineScope(options.only_instance, self.instances)
        self.turn_runner = TurnRunner(
            self.instances,
            registry,
            self.timers,
            self.clock,
            self.current_turn,
            hub.inbox.reserve_for_engine,
            limits=options.limits,
            echo=echo,
            scope=self.scope,
            turn_budget=options.turn_budget.total_seconds(),
            replay_always=options.replay_always,
            fail_on_nondeterminism=options.fail_on_nondeterminism,
            versions=options.versions,
            queue=queue,
        )
        self.publisher = Publisher(hub, self.instances, self.background)
        self.journal_writer = JournalWriter(
            hub.journal, lambda c, error: self._handoff_queue.put(SyncReport(c, error)), threaded=options.use_threads
        )
        self._info_writer = info_writer
        self._slot_warnings = SlotWarnings(echo)
        self.dispatcher = make_dispatcher(self._handoff_queue.put) if make_dispatcher is not None else None
        self._last_commit = self._published_commit = hub.last_commit
        self._unsynced: deque[CommitBuilder] = deque()
        self._intake = Intake(
            hub, self.turn_runner, self.timers, self.dispatcher, queue, options.versions.current, echo
        )
        self._rollback = Rollback(
            self.instances, self.turn_runner, self.timers, self._intake, self.publisher, hub.inbox, self.dispatcher
        )
        self._committed_at = 0.0
        self._is_checkpointing = False
        self._checkpointed_at = monotonic()
        self._checkpointed_commit = self._last_commit
        self._stopping = False
        self._closed = False
        self._failure: DurableError | None = None
        self.stats: Counter[str] = self.turn_runner.stats

    # ── from other threads ─────────────────────────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        """There may be something new in the inbox."""
        self._intake.request_poll()
        self._handoff_queue.put(None)

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        """Post from this process: returns when the commit that takes the message is on disk."""
        posted = self.submit(kind, items, message)
        posted.done.wait()
        if posted.error is not None:
            raise posted.error
        return Receipt(posted.message.message, [item.instance for item in items])

    def submit(
        self,
        kind: str,
        items: Sequence[MessageItem],
        message: str | None = None,
        on_done: Callable[[DurableError | None], None] | None = None,
    ) -> Submission:
        """The same without waiting; `told` is called, in the engine's thread, once it is on disk or refused."""
        given = Message(message or new_message_id(), 0, self.clock.now(), kind, list(items), run=self.scope.root)
        posted = Submission(given, on_done)
        self._handoff_queue.put(posted)
        if self._closed:  # asked after putting: whoever closes the engine empties the queue after saying so
            posted.reject(self._failure or _stopped_error())
        return posted

    def is_published(self, instance: str) -> bool:
        """Whether a history is whole without the journal: everything of it that is durable is in its file. While a
        commit is on its way nobody knows: whoever has seen it in the journal must not read an older file then."""
        return self._published_commit == self._last_commit and self.publisher.is_published(instance)

    # ── life ───────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, hang_report: HangReport | None = None) -> int:
        """Take up what the hub holds: due times, and the instances that owe work. Returns how many these are."""
        self.instances.set_known_files(history_files(self.hub.disk, self.hub.root))
        draft = self._begin_cycle()
        self.scope.add_all_related()
        for id, due in use_index(self.hub, Index.due_times):
            if id in self.scope:
                self.timers.set(due, id, "", None)
        tried_again = self.hub.quarantine.take_all()
        moving = use_index(self.hub, lambda index: [*index.with_pending_work(), *index.locked_entities()])
        owing = {*moving, *self.hub.incomplete_turns, *tried_again}
        if hang_report is not None and is_code_unchanged(format_block_reason(hang_report)):
            self.turn_runner.hang_report = hang_report
            owing.add(hang_report.instance)
        self._load_deduplicator()
        self._quarantine_truncated()
        driven = [id for id in sorted(owing) if id in self.scope or self._is_hung(id)]
        for id in tried_again:
            if id not in driven:
                self._try_to_load(id)
        line, in_draft = deque(driven), list[str]()
        while line:
            id = line.popleft()
            in_draft.append(id)
            try:
                draft.handling = id
                self._restore(id)
                draft.handling = None
            except Exception as error:  # noqa: BLE001 - it is contained, or raised again
                self._contain_error(error, draft)
                line.extendleft(reversed(in_draft))
                in_draft, draft = [], self._begin_cycle()
            if draft.is_full:
                self._commit(draft)
                in_draft, draft = [], self._begin_cycle()
        self._commit(draft)
        if kept := self.hub.quarantined_messages.instances():
            self._complete_cut_off_turns()
        for id in kept:
            while not self._redeliver(id):
                pass
        self._save_quarantine()
        return len(driven)

    def _is_hung(self, id: str) -> bool:
        return self.turn_runner.hang_report is not None and self.turn_runner.hang_report.instance == id

    def _try_to_load(self, id: str) -> None:
        """See whether an instance can be used that was set aside; one that isn't driven here is only looked at."""
        if is_entity_id(id):
            self.instances.get_entity(id)
        else:
            self.instances.get(id)

    def _restore(self, id: str, *, redeliver: bool = True) -> None:
        """See what an instance or entity has to do that was read from its file."""
        if is_entity_id(id):
            self.turn_runner.entity_scheduler.restore(id)
            self.turn_runner.deliver()
            return
        instance, stuck = self.instances.get(id), self.turn_runner.hang_report
        if instance is None or instance.runtime_state.ended:
            if not self.instances.is_quarantined(id):
                self.hub.incomplete_turns.discard(id)
        elif id in self.turn_runner.internal_errors:
            self.turn_runner.block(instance, self.turn_runner.internal_errors[id])
        elif stuck is not None and stuck.instance == id:
            self.turn_runner.block(instance, format_block_reason(stuck))
        elif not (instance.runtime_state.blocked and is_code_unchanged(instance.runtime_state.blocked)):
            self.turn_runner.restore(instance, redeliver=redeliver)

    def _quarantine_truncated(self) -> None:
        """Set those aside whose files end before records that the index has seen: nothing in them shows that."""
        for id, (execution, records) in use_index(self.hub, Index.record_counts).items():
            if id not in self.scope:
                continue
            found = self.instances.get_entity(id) if is_entity_id(id) else self.instances.get(id)
            path = history_path(self.hub.root, id)
            if found is None:
                if not self.instances.is_quarantined(id):
                    self.instances.quarantine(id, f"{path} is missing")
            elif found.runtime_state.execution == execution and found.runtime_state.last_n < records:
                reason = f"{path} ends with record n {found.runtime_state.last_n}, and n {records} was written to it"
                self.instances.quarantine(id, f"{reason}; stop the engine and run `durable doctor --repair`")

    def _complete_cut_off_turns(self) -> None:
        """Bring turns to their end that were cut off, before what is kept is delivered: applied at once, it leaves no
        marks that would give other numbers to what is decided again."""
        while self.turn_runner.has_runnable_work:
            draft = self._begin_cycle()
            try:
                self.turn_runner.run_ready()
            except Exception as error:  # noqa: BLE001 - it is contained, or raised again
                self._contain_error(error, draft)
                continue
            if not self._commit(draft) and not self.turn_runner.has_split_turn:
                break

    def _redeliver(self, id: str) -> bool:
        """Deliver what is kept for an instance that was set aside; False if the rest of it has to be tried again, as
        something failed that is blocked, or set aside, now."""
        draft = self._begin_cycle()
        try:
            draft.handling = id
            for _ in self._intake.redeliver(id):
                if draft.is_full:
                    self._commit(draft)
                    draft = self._begin_cycle()
                draft.handling = id
            draft.handling = None
        except Exception as error:  # noqa: BLE001 - it is contained, or raised again
            self._contain_error(error, draft)
            return False
        self._commit(draft)
        return True

    def _load_deduplicator(self) -> None:
        """Take up which operations were applied before a repair cut their senders' histories."""
        known = self.turn_runner.applier.deduplicator = Deduplicator(
            deduplication.read_truncated_senders(self.hub.disk, self.hub.root).values()
        )
        for cut in known.truncated_senders:
            if not is_entity_id(cut.instance):
                instance = self.instances.get(cut.instance)
                if instance is not None:
                    known.skip_decided(instance)
                elif not self.instances.is_quarantined(cut.instance):
                    known.forget_sender(cut.instance)
        known.begin_cycle()

    def run(self, until: Callable[[Engine], bool] = lambda engine: False) -> None:
        """Cycle until `stop` is called, or `until` says so between two cycles."""
        while not self._stopping and not until(self):
            self.step(_MAX_SLEEP)

    def stop(self) -> None:
        self._stopping = True
        self._handoff_queue.put(None)

    def drain(self, limit: timedelta) -> None:
        """Start nothing more and give what runs some time; what still runs then is run again by the next engine."""
        until = monotonic() + limit.total_seconds()
        if self.dispatcher is not None:
            self.dispatcher.pause()
        while (self.dispatcher is not None and self.dispatcher.in_flight_count) and monotonic() < until:
            self.step(min(0.1, max(0.0, until - monotonic())))
        self.flush()

    def flush(self) -> None:
        """See that all that was decided is on disk and published. A turn that is being spread is brought to its end;
        nothing new is taken, of which there might be no end."""
        while self._unsynced or self.turn_runner.has_split_turn:
            if len(self._unsynced) >= (_MAX_UNSYNCED_SLICES if self.turn_runner.has_split_turn else 1):
                self._receive_all(_MAX_SLEEP)
                continue
            draft = self._make_builder()
            self.turn_runner.begin_cycle(draft)
            self._commit(draft)
        self.publisher.flush()
        self.publisher.update_index()
        self._save_quarantine()

    def close(self) -> None:
        """Stop the threads. Everything durable stays; nothing else is lost that anybody was told of.

        Raises what a thread reported and nobody has heard yet: after that the hub must not be called clean.
        """
        if self.dispatcher is not None:
            self.dispatcher.stop()
        self.journal_writer.stop()
        self.background.stop()
        with self.log_capture:  # what orchestrators say while they are dropped isn't said
            self.instances.close()
        self._closed = True
        unheard: BaseException | None = None
        with suppress(Empty):
            while True:
                item = self._handoff_queue.get_nowait()
                if isinstance(item, Submission):
                    self._intake.submissions.append(item)
                elif isinstance(item, SyncReport) and item.error is not None:
                    unheard = item.error
        if unheard is not None and self._failure is None:
            self._fail(unheard)
        self._intake.reject_all(self._failure or _stopped_error())

    def process_inbox(self) -> None:
        """Take every message that waits in the inbox."""
        while self._intake.has_messages:
            self.step()

    def has_ended(self, id: str) -> bool:
        """Whether an instance has ended, or been purged, as far as the disk knows; its start was posted before."""
        if self._unsynced:
            return False
        instance = self.instances.get(id)
        return not self._intake.has_messages if instance is None else instance.runtime_state.ended

    @property
    def is_stopping(self) -> bool:
        return self._stopping

    @property
    def is_quiescent(self) -> bool:
        """Whether nothing can move before the next outcome, message or due time."""
        busy = self._unsynced or self._intake.has_work or self._intake.has_messages or not self.turn_runner.is_idle
        return not busy and self._handoff_queue.empty()

    @property
    def is_idle(self) -> bool:
        """Whether nothing can move without a message or a timer that is still to come; a pending retry is work."""
        if not self.is_quiescent:
            return False
        due = self.timers.next_due_time()
        if due is not None and due <= self.clock.now():
            return False
        if self.dispatcher is not None and self.dispatcher.awaited_count:
            return False
        return not any(self._is_timer_open(due) for due in self.timers.list_back_offs())

    def _is_timer_open(self, entry: TimerEntry) -> bool:
        instance = self.instances.get(entry.instance)
        if (
            instance is None
            or instance.runtime_state.execution != entry.execution
            or instance.runtime_state.suspended is not None
        ):
            return False
        return entry.n in instance.runtime_state.open_decisions and instance.runtime_state.blocked is None

    # ── one cycle ──────────────────────────────────────────────────────────────────────────────────────────────

    def step(self, wait: float = 0.0) -> bool:
        """One cycle: gather, turn, commit, publish. Sleeps at most `wait` seconds when there is nothing to do."""
        self._receive_all(self._limit_wait(wait))
        if not self._may_begin_cycle():
            return True
        draft = self._make_builder()
        try:
            self.turn_runner.begin_cycle(draft)
            self._intake.process_inputs()
            self.turn_runner.start_entity_batches()
        except Exception as error:  # noqa: BLE001 - it is contained, or raised again
            self._contain_error(error, draft)
            return True
        moved = self._commit(draft)
        self._between_cycles()
        return moved

    def _contain_error(self, error: Exception, builder: CommitBuilder) -> None:
        """Set aside the message, or block the instance, whose handling failed unexpectedly, and give the cycle up.

        Errors of the disk still stop the engine, and so does a failure that can't be put down to anything.
        """
        handled, text = builder.handling, f"{type(error).__name__}: {error}"[:_MAX_ERROR_LENGTH]
        if isinstance(error, _FATAL_ERRORS) or handled is None:
            raise error
        if isinstance(handled, str) and self.instances.is_quarantined(handled):
            raise error
        _log.error("unexpected error while handling %s", describe(handled), exc_info=error)
        if self.turn_runner.has_split_turn:
            if not isinstance(handled, str):
                self._intake.move_to_failed(handled, text)
            raise error
        self._sync_and_publish_all()
        concerned = self._rollback.roll_back(builder)
        if not isinstance(handled, str):
            self._intake.move_to_failed(handled, text)
        elif is_entity_id(handled) or handled in self.turn_runner.internal_errors:
            self.instances.quarantine(handled, f"internal error: {text}")
        else:
            self.turn_runner.internal_errors[handled] = f"internal error: {text}"
        following = self._begin_cycle()
        for id in sorted(concerned):
            self._restore(id, redeliver=False)
        self._commit(following)

    def _sync_and_publish_all(self) -> None:
        """Bring all commits to the disk and the histories."""
        while self._unsynced:
            self._receive_all(_MAX_SLEEP)
        self.publisher.flush()

    def _begin_cycle(self) -> CommitBuilder:
        """The draft of a cycle of its own."""
        draft = self._make_builder()
        self.turn_runner.begin_cycle(draft)
        return draft

    def _make_builder(self) -> CommitBuilder:
        return CommitBuilder(self._last_commit + 1, self.hub.epoch, self.clock.now())

    def _limit_wait(self, wait: float) -> float:
        """How long to wait for the queue: not at all while there is work."""
        if self._intake.has_work or self._intake.has_messages:
            return 0.0
        if self.publisher.has_unpublished:
            wait = min(wait, max(0.0, self._committed_at + _IDLE_AFTER - monotonic()))
        due = self.timers.next_due_time()
        if due is not None:
            wait = min(wait, max(0.0, (due - self.clock.now()).total_seconds()))
        if self.publisher.is_index_due or self._checkpoint_is_due():
            wait = min(wait, 0.0 if not self._unsynced else 0.05)
        elif self.publisher.has_unindexed_rows:
            wait = min(wait, 0.2)
        return wait

    def _receive_all(self, wait: float) -> None:
        try:
            item = self._handoff_queue.get(timeout=wait) if wait > 0 else self._handoff_queue.get_nowait()
            while True:
                self._receive(item)
                item = self._handoff_queue.get_nowait()
        except Empty:
            pass

    def _receive(self, item: ActivityResult | EntityBatchResult | Submission | SyncReport | None) -> None:
        match item:
            case ActivityResult() | EntityBatchResult():
                self._intake.results.append(item)
            case Submission():
                self._intake.submissions.append(item)
            case SyncReport(error=BaseException() as error):
                self._fail(error)
            case SyncReport(c=c):
                self._publish_up_to(c)
            case None:
                pass

    def _may_begin_cycle(self) -> bool:
        """Whether a new cycle may begin: not with too much unsynced, nor while index or checkpoint wait for calm."""
        if not self._unsynced:
            self._maintain()
            return True
        # The slices of a turn that is being spread are large: what comes between them mustn't wait for many.
        most = _MAX_UNSYNCED_SLICES if self.turn_runner.has_split_turn else _MAX_UNSYNCED_COMMITS
        if len(self._unsynced) >= most or self.publisher.is_index_due or self._checkpoint_is_due():
            self._receive_all(_MAX_SLEEP)
            return False
        return True

    # ── commit and publish ─────────────────────────────────────────────────────────────────────────────────────

    def _commit(self, builder: CommitBuilder) -> bool:
        """Send the cycle's commit on its way to the disk."""
        self.turn_runner.start_entity_batches()
        if builder.is_empty:
            if not builder.has_effects:
                return False
            builder.commit.c = self._last_commit
            if self._unsynced:
                self._unsynced.append(builder)
            else:
                self._publish(builder)
            return True
        if not is_still_owner(self.hub):
            self._fail(StorageError(f"{self.hub.root}: another engine has taken the hub; this one stops"))
        self._last_commit = builder.commit_number
        self._committed_at = monotonic()
        data = encode_commit(builder.finish())
        self.stats["commits"] += 1
        if self._unsynced:
            self.stats["decided_during_sync"] += 1
        if self.options.sync_in_place and not self._unsynced and self._can_sync_in_place():
            try:
                self.journal_writer.write_now(data, builder.commit_number)
            except StorageError as error:
                self._fail(error)
            self._publish(builder)
        else:
            self._unsynced.append(builder)
            self.journal_writer.enqueue(data, builder.commit_number)
        return True

    def _can_sync_in_place(self) -> bool:
        """Whether nothing else could be decided while a commit is being synced."""
        if self.dispatcher is not None and self.dispatcher.in_flight_count:
            return False
        return not self._intake.has_work and self._handoff_queue.empty()

    def _publish_up_to(self, c: int) -> None:
        while self._unsynced and self._unsynced[0].commit.c <= c:
            self._publish(self._unsynced.popleft())

    def _publish(self, builder: CommitBuilder) -> None:
        """The commit is on disk: now, and not before, it has its effects."""
        self.publisher.add_commit(builder)
        for purged in builder.commit.purged:
            self.turn_runner.internal_errors.pop(purged.instance, None)
        if builder.commit.quarantined or builder.commit.delivered:
            self.hub.quarantined_messages.publish(builder.commit)
        self._published_commit = builder.commit.c
        if builder.activity_tasks and self.dispatcher is not None:
            self.dispatcher.dispatch_activities(builder.activity_tasks)
        if self.dispatcher is not None:
            self.dispatcher.abandon(builder.abandoned_batches)
            self.dispatcher.dispatch_entity_batches(builder.entity_batch_tasks)
        if self.dispatcher is not None:
            for id, execution, abandoned in builder.ended_executions:
                self.dispatcher.end_execution(id, execution, abandoned)
            for id, execution in builder.terminated_executions:
                self.dispatcher.cancel_execution(id, execution)
        if builder.log_lines:
            self.log_capture.emit(builder.log_lines)
        if builder.released_ids:
            self.hub.inbox.release_ids(builder.released_ids)  # who asks from now on finds it in the journal
        if builder.commit.consumed:
            self.hub.inbox.remove(taken.message for taken in builder.commit.consumed if taken.upto is None)
        for ack in builder.acks:
            ack()

    def _save_quarantine(self) -> None:
        """Write the list of instances that are set aside, and let the journal go on without their unfinished turns."""
        if unfinished := [id for id in self.hub.incomplete_turns if id in self.hub.quarantine]:
            truncated.add_truncated(self.hub.disk, self.hub.root, unfinished)
            self.hub.incomplete_turns.difference_update(unfinished)
        self.hub.quarantine.save()
        known = self.turn_runner.applier.deduplicator
        if known.changed and not self._unsynced:
            known.changed = False
            deduplication.write_truncated_senders(self.hub.disk, self.hub.root, known.truncated_senders)

    def _between_cycles(self) -> None:
        """Between two cycles: histories, memory, the notice."""
        self._save_quarantine()
        calm = monotonic() - self._committed_at > _IDLE_AFTER
        self.publisher.flush_some(idle=calm and not self._intake.has_work and self._handoff_queue.empty())
        if not self._unsynced:
            self._maintain()
        self.instances.evict_unused()
        if self.dispatcher is not None:
            self.dispatcher.maintain()
            self._slot_warnings.check(self.dispatcher)
        if self._info_writer is not None and self.dispatcher is not None:
            self._info_writer.update(self.dispatcher, self.clock.now())

    def _maintain(self) -> None:
        """Index and checkpoint, which ask that everything decided is on disk."""
        if self.publisher.is_index_due:
            self.publisher.update_index()
        if self._checkpoint_is_due():
            self._checkpoint()

    def _checkpoint_is_due(self) -> bool:
        if self._is_checkpointing or self._last_commit == self._checkpointed_commit:
            return False
        if self.hub.journal.size > self.options.checkpoint_bytes // 2:
            return True
        idle_for = monotonic() - self._checkpointed_at
        return idle_for > self.options.checkpoint_interval.total_seconds()

    def _checkpoint(self) -> None:
        self._is_checkpointing = True
        self._checkpointed_at = monotonic()
        self._checkpointed_commit = self._last_commit
        if self.hub.journal.size > 2 * self.options.checkpoint_bytes:
            self.publisher.flush()
        self.publisher.update_index()
        pending = begin_checkpoint(self.hub, oldest_needed_commit=self._find_oldest_needed_commit())

        def finish() -> None:
            finish_checkpoint(self.hub, pending)
            self._is_checkpointing = False

        self.background.submit(finish)

    def _find_oldest_needed_commit(self) -> int | None:
        """The first commit that is still needed: for a turn that isn't written down whole, or for a history."""
        floors = (
            self.turn_runner.split_turn_first_commit,
            self.hub.oldest_needed_commit,
            self.publisher.oldest_needed_commit,
        )
        return min((floor for floor in floors if floor is not None), default=None)

    def _fail(self, error: BaseException) -> None:
        """The fail-stop: no retry, no acknowledgement, nothing dispatched."""
        self._stopping = True
        self._failure = error if isinstance(error, DurableError) else StorageError(str(error))
        self._intake.reject_all(self._failure)
        raise self._failure


def _stopped_error() -> DurableError:
    return HubLocked("the engine has stopped and the message was not taken; post it again")
