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

from durablecli.app import Registry
from durablecli.config import LimitsConfig
from durablecli.engine.clock import Clock, SystemClock
from durablecli.engine.commit_builder import Draft
from durablecli.engine.deduplicator import AppliedOperations
from durablecli.engine.engine_info import Notice
from durablecli.engine.instance_cache import Instances
from durablecli.engine.intake import Sources
from durablecli.engine.journal_writer import Writer
from durablecli.engine.log_capture import Voice
from durablecli.engine.message_queue import MessageQueue, Posted, described
from durablecli.engine.publisher import Background, Publisher
from durablecli.engine.rollback import Rollback
from durablecli.engine.scope import Scope
from durablecli.engine.timers import Due, Timers
from durablecli.engine.turns import Turns
from durablecli.engine.watchdog import Stuck, Watch, is_unchanged, reason
from durablecli.engine.workers.activity import Outcome
from durablecli.engine.workers.dispatcher import Crew
from durablecli.engine.workers.entity_batch import BatchOutcome
from durablecli.engine.workers.slot_warnings import OccupancyLog
from durablecli.engine.workers.thread_pool import Report
from durablecli.errors import DamagedHub, DurableError, HubLocked, NewerHub, NoPermission, StorageError
from durablecli.model.entity_id import is_entity_id
from durablecli.model.versions import ANY_VERSION, VersionPolicy
from durablecli.store import deduplication
from durablecli.store.history import truncated
from durablecli.store.history import writer as store_histories
from durablecli.store.hub import Hub, begin_checkpoint, finish_checkpoint, is_still_owner, use_index
from durablecli.store.inbox.messages import Message, MessageItem, Receipt, new_message_id
from durablecli.store.index import Index
from durablecli.store.journal.commits import encode_commit

_LONGEST_SLEEP = 1.0
_CALM = 0.005
"""An engine that has decided nothing for so long is idle: what is just on its way back would only be held up."""
_MOST_UNSYNCED = 16
_LONGEST_ERROR = 2_000
_FATAL = (OSError, StorageError, HubLocked, DamagedHub, NewerHub, NoPermission)
"""What stops an engine: the disk, or the hub itself, and never one message or one instance."""
_log = logging.getLogger("durablecli.engine")
_MOST_SLICES_UNSYNCED = 2


@dataclass(frozen=True)
class Options:
    """How an engine is to run; the defaults are those of durable.yaml."""

    replay_always: bool = False
    fail_on_nondeterminism: bool = False
    versions: VersionPolicy = ANY_VERSION
    live_instances: int = 10_000
    checkpoint_bytes: int = 16 * 1024 * 1024
    checkpoint_every: timedelta = timedelta(seconds=10)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    in_place: bool = True
    """Whether a commit may be synced in the engine's own thread when nothing else waits."""
    threads: bool = True
    """Whether journal, index and checkpoints have threads; without, each of their steps is done where it is due."""
    share: timedelta = timedelta(milliseconds=10)
    """How long a cycle may run turns before it commits."""
    only: str | None = None
    """The one instance that is driven, with what belongs to it; None: all of the hub's. See `scope`."""


@dataclass(frozen=True)
class Synced:
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
        options: Options = Options(),
        clock: Clock | None = None,
        crew: Callable[[Report], Crew] | None = None,
        notice: Notice | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.hub = hub
        self.options = options
        self.clock = clock or SystemClock()
        self.say = say
        self.watch = Watch()
        self.voice = Voice()
        self._queue: SimpleQueue[Outcome | BatchOutcome | Posted | Synced | None] = SimpleQueue()
        self.background = Background(lambda error: self._queue.put(Synced(0, error)), threaded=options.threads)
        self.instances = Instances(
            lambda id: store_histories.read_whole_history(hub.disk, hub.root, id),
            lambda id: store_histories.history_path(hub.root, id),
            hub.incomplete_turns,
            options.live_instances,
            hub.quarantine,
            say,
        )
        self.timers = Timers()
        queue = MessageQueue(hub.inbox)
        self.scope = Scope(options.only, self.instances)
        self.turns = Turns(
            self.instances,
            registry,
            self.timers,
            self.clock,
            self.watch,
            hub.inbox.reserve_for_engine,
            limits=options.limits,
            say=say,
            scope=self.scope,
            share=options.share.total_seconds(),
            replay_always=options.replay_always,
            fail_on_nondeterminism=options.fail_on_nondeterminism,
            versions=options.versions,
            queue=queue,
        )
        self.publisher = Publisher(hub, self.instances, self.background)
        self.writer = Writer(hub.journal, lambda c, error: self._queue.put(Synced(c, error)), threaded=options.threads)
        self._notice = notice
        self._occupancy = OccupancyLog(say)
        self.crew = crew(self._queue.put) if crew is not None else None
        self._c = self._handed_over = hub.last_commit
        self._unsynced: deque[Draft] = deque()
        self._sources = Sources(hub, self.turns, self.timers, self.crew, queue, options.versions.current, say)
        self._rollback = Rollback(
            self.instances, self.turns, self.timers, self._sources, self.publisher, hub.inbox, self.crew
        )
        self._moved = 0.0
        self._checkpointing = False
        self._checkpointed = monotonic()
        self._checkpointed_c = self._c
        self._stopping = False
        self._closed = False
        self._failed: DurableError | None = None
        self.stats: Counter[str] = self.turns.stats

    # ── from other threads ─────────────────────────────────────────────────────────────────────────────────────

    def ring(self) -> None:
        """There may be something new in the inbox."""
        self._sources.look_again()
        self._queue.put(None)

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        """Post from this process: returns when the commit that takes the message is on disk."""
        posted = self.hand_in(kind, items, message)
        posted.done.wait()
        if posted.error is not None:
            raise posted.error
        return Receipt(posted.message.message, [item.instance for item in items])

    def hand_in(
        self,
        kind: str,
        items: Sequence[MessageItem],
        message: str | None = None,
        told: Callable[[DurableError | None], None] | None = None,
    ) -> Posted:
        """The same without waiting; `told` is called, in the engine's thread, once it is on disk or refused."""
        given = Message(message or new_message_id(), 0, self.clock.now(), kind, list(items), run=self.scope.root)
        posted = Posted(given, told)
        self._queue.put(posted)
        if self._closed:  # asked after putting: whoever closes the engine empties the queue after saying so
            posted.refuse(self._failed or _gone())
        return posted

    def is_published(self, instance: str) -> bool:
        """Whether a history is whole without the journal: everything of it that is durable is in its file. While a
        commit is on its way nobody knows: whoever has seen it in the journal must not read an older file then."""
        return self._handed_over == self._c and self.publisher.is_published(instance)

    # ── life ───────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, stuck: Stuck | None = None) -> int:
        """Take up what the hub holds: due times, and the instances that owe work. Returns how many these are."""
        self.instances.note_files(store_histories.history_files(self.hub.disk, self.hub.root))
        draft = self._begin()
        self.scope.find_all()
        for id, due in use_index(self.hub, Index.due_times):
            if id in self.scope:
                self.timers.set(due, id, "", None)
        tried_again = self.hub.quarantine.take_all()
        moving = use_index(self.hub, lambda index: [*index.with_pending_work(), *index.locked_entities()])
        owing = {*moving, *self.hub.incomplete_turns, *tried_again}
        if stuck is not None and is_unchanged(reason(stuck)):
            self.turns.stuck = stuck
            owing.add(stuck.instance)
        self._take_up_applied()
        self._look_for_cut_files()
        driven = [id for id in sorted(owing) if id in self.scope or self._is_stuck(id)]
        for id in tried_again:
            if id not in driven:
                self._probe(id)
        line, in_draft = deque(driven), list[str]()
        while line:
            id = line.popleft()
            in_draft.append(id)
            try:
                draft.handling = id
                self._take_up(id)
                draft.handling = None
            except Exception as error:  # noqa: BLE001 - it is contained, or raised again
                self._contain(error, draft)
                line.extendleft(reversed(in_draft))
                in_draft, draft = [], self._begin()
            if draft.full:
                self._commit(draft)
                in_draft, draft = [], self._begin()
        self._commit(draft)
        if kept := self.hub.quarantined_messages.instances():
            self._complete_turns()
        for id in kept:
            while not self._redeliver(id):
                pass
        self._save_set_aside()
        return len(driven)

    def _is_stuck(self, id: str) -> bool:
        return self.turns.stuck is not None and self.turns.stuck.instance == id

    def _probe(self, id: str) -> None:
        """See whether an instance can be used that was set aside; one that isn't driven here is only looked at."""
        if is_entity_id(id):
            self.instances.entity(id)
        else:
            self.instances.get(id)

    def _take_up(self, id: str, *, redeliver: bool = True) -> None:
        """See what an instance or entity has to do that was read from its file."""
        if is_entity_id(id):
            self.turns.entities.resume(id)
            self.turns.settle()
            return
        instance, stuck = self.instances.get(id), self.turns.stuck
        if instance is None or instance.ledger.ended:
            if not self.instances.is_set_aside(id):
                self.hub.incomplete_turns.discard(id)
        elif id in self.turns.faulty:
            self.turns.block(instance, self.turns.faulty[id])
        elif stuck is not None and stuck.instance == id:
            self.turns.block(instance, reason(stuck))
        elif not (instance.ledger.blocked and is_unchanged(instance.ledger.blocked)):
            self.turns.resume(instance, redeliver=redeliver)

    def _look_for_cut_files(self) -> None:
        """Set those aside whose files end before records that the index has seen: nothing in them shows that."""
        for id, (execution, records) in use_index(self.hub, Index.record_counts).items():
            if id not in self.scope:
                continue
            found = self.instances.entity(id) if is_entity_id(id) else self.instances.get(id)
            path = store_histories.history_path(self.hub.root, id)
            if found is None:
                if not self.instances.is_set_aside(id):
                    self.instances.set_aside(id, f"{path} is missing")
            elif found.ledger.execution == execution and found.ledger.last_n < records:
                reason = f"{path} ends with record n {found.ledger.last_n}, and n {records} was written to it"
                self.instances.set_aside(id, f"{reason}; stop the engine and run `durable doctor --repair`")

    def _complete_turns(self) -> None:
        """Bring turns to their end that were cut off, before what is kept is delivered: applied at once, it leaves no
        marks that would give other numbers to what is decided again."""
        while self.turns.can_go_on:
            draft = self._begin()
            try:
                self.turns.look()
            except Exception as error:  # noqa: BLE001 - it is contained, or raised again
                self._contain(error, draft)
                continue
            if not self._commit(draft) and not self.turns.is_busy_spreading:
                break

    def _redeliver(self, id: str) -> bool:
        """Deliver what is kept for an instance that was set aside; False if the rest of it has to be tried again, as
        something failed that is blocked, or set aside, now."""
        draft = self._begin()
        try:
            draft.handling = id
            for _ in self._sources.redeliver(id):
                if draft.full:
                    self._commit(draft)
                    draft = self._begin()
                draft.handling = id
            draft.handling = None
        except Exception as error:  # noqa: BLE001 - it is contained, or raised again
            self._contain(error, draft)
            return False
        self._commit(draft)
        return True

    def _take_up_applied(self) -> None:
        """Take up which operations were applied before a repair cut their senders' histories."""
        known = self.turns.effects.applied = AppliedOperations(
            deduplication.read_truncated_senders(self.hub.disk, self.hub.root).values()
        )
        for cut in known.cuts:
            if not is_entity_id(cut.instance):
                instance = self.instances.get(cut.instance)
                if instance is not None:
                    known.resume(instance)
                elif not self.instances.is_set_aside(cut.instance):
                    known.discard(cut.instance)
        known.begin()

    def run(self, until: Callable[[Engine], bool] = lambda engine: False) -> None:
        """Cycle until `stop` is called, or `until` says so between two cycles."""
        while not self._stopping and not until(self):
            self.step(_LONGEST_SLEEP)

    def stop(self) -> None:
        self._stopping = True
        self._queue.put(None)

    def drain(self, limit: timedelta) -> None:
        """Start nothing more and give what runs some time; what still runs then is run again by the next engine."""
        until = monotonic() + limit.total_seconds()
        if self.crew is not None:
            self.crew.hold_back()
        while (self.crew is not None and self.crew.running) and monotonic() < until:
            self.step(min(0.1, max(0.0, until - monotonic())))
        self.settle()

    def settle(self) -> None:
        """See that all that was decided is on disk and published. A turn that is being spread is brought to its end;
        nothing new is taken, of which there might be no end."""
        while self._unsynced or self.turns.is_busy_spreading:
            if len(self._unsynced) >= (_MOST_SLICES_UNSYNCED if self.turns.is_busy_spreading else 1):
                self._gather(_LONGEST_SLEEP)
                continue
            draft = self._draft()
            self.turns.begin(draft)
            self._commit(draft)
        self.publisher.flush()
        self.publisher.update_index()
        self._save_set_aside()

    def close(self) -> None:
        """Stop the threads. Everything durable stays; nothing else is lost that anybody was told of.

        Raises what a thread reported and nobody has heard yet: after that the hub must not be called clean.
        """
        if self.crew is not None:
            self.crew.stop()
        self.writer.stop()
        self.background.stop()
        with self.voice:  # what orchestrators say while they are dropped isn't said
            self.instances.close()
        self._closed = True
        unheard: BaseException | None = None
        with suppress(Empty):
            while True:
                item = self._queue.get_nowait()
                if isinstance(item, Posted):
                    self._sources.posted.append(item)
                elif isinstance(item, Synced) and item.error is not None:
                    unheard = item.error
        if unheard is not None and self._failed is None:
            self._fail(unheard)
        self._sources.refuse(self._failed or _gone())

    def catch_up(self) -> None:
        """Take every message that waits in the inbox."""
        while self._sources.has_messages:
            self.step()

    def has_ended(self, id: str) -> bool:
        """Whether an instance has ended, or been purged, as far as the disk knows; its start was posted before."""
        if self._unsynced:
            return False
        instance = self.instances.get(id)
        return not self._sources.has_messages if instance is None else instance.ledger.ended

    @property
    def is_stopping(self) -> bool:
        return self._stopping

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing can move before the next outcome, message or due time."""
        busy = self._unsynced or self._sources.at_hand or self._sources.has_messages or not self.turns.idle
        return not busy and self._queue.empty()

    @property
    def is_idle(self) -> bool:
        """Whether nothing can move without a message or a timer that is still to come; a pending retry is work."""
        if not self.is_at_rest:
            return False
        due = self.timers.next()
        if due is not None and due <= self.clock.now():
            return False
        if self.crew is not None and self.crew.awaited:
            return False
        return not any(self._is_open(due) for due in self.timers.back_offs())

    def _is_open(self, due: Due) -> bool:
        instance = self.instances.get(due.instance)
        if instance is None or instance.ledger.execution != due.execution or instance.ledger.suspended is not None:
            return False
        return due.n in instance.ledger.open_decisions and instance.ledger.blocked is None

    # ── one cycle ──────────────────────────────────────────────────────────────────────────────────────────────

    def step(self, wait: float = 0.0) -> bool:
        """One cycle: gather, turn, commit, publish. Sleeps at most `wait` seconds when there is nothing to do."""
        self._gather(self._sleep(wait))
        if not self._may_go_on():
            return True
        draft = self._draft()
        try:
            self.turns.begin(draft)
            self._sources.take()
            self.turns.give_out()
        except Exception as error:  # noqa: BLE001 - it is contained, or raised again
            self._contain(error, draft)
            return True
        moved = self._commit(draft)
        self._rest()
        return moved

    def _contain(self, error: Exception, draft: Draft) -> None:
        """Set aside the message, or block the instance, whose handling failed unexpectedly, and give the cycle up.

        Errors of the disk still stop the engine, and so does a failure that can't be put down to anything.
        """
        handled, text = draft.handling, f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]
        if isinstance(error, _FATAL) or handled is None:
            raise error
        if isinstance(handled, str) and self.instances.is_set_aside(handled):
            raise error
        _log.error("unexpected error while handling %s", described(handled), exc_info=error)
        if self.turns.is_busy_spreading:
            if not isinstance(handled, str):
                self._sources.set_aside(handled, text)
            raise error
        self._flush()
        concerned = self._rollback.undo(draft)
        if not isinstance(handled, str):
            self._sources.set_aside(handled, text)
        elif is_entity_id(handled) or handled in self.turns.faulty:
            self.instances.set_aside(handled, f"internal error: {text}")
        else:
            self.turns.faulty[handled] = f"internal error: {text}"
        following = self._begin()
        for id in sorted(concerned):
            self._take_up(id, redeliver=False)
        self._commit(following)

    def _flush(self) -> None:
        """Bring all commits to the disk and the histories."""
        while self._unsynced:
            self._gather(_LONGEST_SLEEP)
        self.publisher.flush()

    def _begin(self) -> Draft:
        """The draft of a cycle of its own."""
        draft = self._draft()
        self.turns.begin(draft)
        return draft

    def _draft(self) -> Draft:
        return Draft(self._c + 1, self.hub.epoch, self.clock.now())

    def _sleep(self, wait: float) -> float:
        """How long to wait for the queue: not at all while there is work."""
        if self._sources.at_hand or self._sources.has_messages:
            return 0.0
        if self.publisher.unpublished:
            wait = min(wait, max(0.0, self._moved + _CALM - monotonic()))
        due = self.timers.next()
        if due is not None:
            wait = min(wait, max(0.0, (due - self.clock.now()).total_seconds()))
        if self.publisher.index_is_due or self._checkpoint_is_due():
            wait = min(wait, 0.0 if not self._unsynced else 0.05)
        elif self.publisher.has_rows:
            wait = min(wait, 0.2)
        return wait

    def _gather(self, wait: float) -> None:
        try:
            item = self._queue.get(timeout=wait) if wait > 0 else self._queue.get_nowait()
            while True:
                self._receive(item)
                item = self._queue.get_nowait()
        except Empty:
            pass

    def _receive(self, item: Outcome | BatchOutcome | Posted | Synced | None) -> None:
        match item:
            case Outcome() | BatchOutcome():
                self._sources.outcomes.append(item)
            case Posted():
                self._sources.posted.append(item)
            case Synced(error=BaseException() as error):
                self._fail(error)
            case Synced(c=c):
                self._published_up_to(c)
            case None:
                pass

    def _may_go_on(self) -> bool:
        """Whether a new cycle may begin: not with too much unsynced, nor while index or checkpoint wait for calm."""
        if not self._unsynced:
            self._tidy()
            return True
        # The slices of a turn that is being spread are large: what comes between them mustn't wait for many.
        most = _MOST_SLICES_UNSYNCED if self.turns.is_busy_spreading else _MOST_UNSYNCED
        if len(self._unsynced) >= most or self.publisher.index_is_due or self._checkpoint_is_due():
            self._gather(_LONGEST_SLEEP)
            return False
        return True

    # ── commit and publish ─────────────────────────────────────────────────────────────────────────────────────

    def _commit(self, draft: Draft) -> bool:
        """Send the cycle's commit on its way to the disk."""
        self.turns.give_out()
        if draft.empty:
            if not draft.has_effects:
                return False
            draft.commit.c = self._c
            if self._unsynced:
                self._unsynced.append(draft)
            else:
                self._publish(draft)
            return True
        if not is_still_owner(self.hub):
            self._fail(StorageError(f"{self.hub.root}: another engine has taken the hub; this one stops"))
        self._c = draft.c
        self._moved = monotonic()
        data = encode_commit(draft.finish())
        self.stats["commits"] += 1
        if self._unsynced:
            self.stats["decided_during_sync"] += 1
        if self.options.in_place and not self._unsynced and self._is_quiet():
            try:
                self.writer.write_now(data, draft.c)
            except StorageError as error:
                self._fail(error)
            self._publish(draft)
        else:
            self._unsynced.append(draft)
            self.writer.submit(data, draft.c)
        return True

    def _is_quiet(self) -> bool:
        """Whether nothing else could be decided while a commit is being synced."""
        if self.crew is not None and self.crew.running:
            return False
        return not self._sources.at_hand and self._queue.empty()

    def _published_up_to(self, c: int) -> None:
        while self._unsynced and self._unsynced[0].commit.c <= c:
            self._publish(self._unsynced.popleft())

    def _publish(self, draft: Draft) -> None:
        """The commit is on disk: now, and not before, it has its effects."""
        self.publisher.add(draft)
        for purged in draft.commit.purged:
            self.turns.faulty.pop(purged.instance, None)
        if draft.commit.quarantined or draft.commit.delivered:
            self.hub.quarantined_messages.publish(draft.commit)
        self._handed_over = draft.commit.c
        if draft.jobs and self.crew is not None:
            self.crew.start(draft.jobs)
        if self.crew is not None:
            self.crew.drop(draft.dropped)
            self.crew.run_batches(draft.batches)
        if self.crew is not None:
            for id, execution, abandoned in draft.ended:
                self.crew.end(id, execution, abandoned)
            for id, execution in draft.cancelled:
                self.crew.cancel(id, execution)
        if draft.spoken:
            self.voice.speak(draft.spoken)
        if draft.released:
            self.hub.inbox.release_ids(draft.released)  # who asks from now on finds it in the journal
        if draft.commit.consumed:
            self.hub.inbox.remove(taken.message for taken in draft.commit.consumed if taken.upto is None)
        for ack in draft.acks:
            ack()

    def _save_set_aside(self) -> None:
        """Write the list of instances that are set aside, and let the journal go on without their unfinished turns."""
        if unfinished := [id for id in self.hub.incomplete_turns if id in self.hub.quarantine]:
            truncated.add_truncated(self.hub.disk, self.hub.root, unfinished)
            self.hub.incomplete_turns.difference_update(unfinished)
        self.hub.quarantine.save()
        known = self.turns.effects.applied
        if known.changed and not self._unsynced:
            known.changed = False
            deduplication.write_truncated_senders(self.hub.disk, self.hub.root, known.cuts)

    def _rest(self) -> None:
        """Between two cycles: histories, memory, the notice."""
        self._save_set_aside()
        calm = monotonic() - self._moved > _CALM
        self.publisher.flush_share(idle=calm and not self._sources.at_hand and self._queue.empty())
        if not self._unsynced:
            self._tidy()
        self.instances.trim()
        if self.crew is not None:
            self.crew.tend()
            self._occupancy.update(self.crew)
        if self._notice is not None and self.crew is not None:
            self._notice.update(self.crew, self.clock.now())

    def _tidy(self) -> None:
        """Index and checkpoint, which ask that everything decided is on disk."""
        if self.publisher.index_is_due:
            self.publisher.update_index()
        if self._checkpoint_is_due():
            self._checkpoint()

    def _checkpoint_is_due(self) -> bool:
        if self._checkpointing or self._c == self._checkpointed_c:
            return False
        if self.hub.journal.size > self.options.checkpoint_bytes // 2:
            return True
        idle_for = monotonic() - self._checkpointed
        return idle_for > self.options.checkpoint_every.total_seconds()

    def _checkpoint(self) -> None:
        self._checkpointing = True
        self._checkpointed = monotonic()
        self._checkpointed_c = self._c
        if self.hub.journal.size > 2 * self.options.checkpoint_bytes:
            self.publisher.flush()
        self.publisher.update_index()
        pending = begin_checkpoint(self.hub, oldest_needed_commit=self._floor())

        def finish() -> None:
            finish_checkpoint(self.hub, pending)
            self._checkpointing = False

        self.background.do(finish)

    def _floor(self) -> int | None:
        """The first commit that is still needed: for a turn that isn't written down whole, or for a history."""
        floors = (self.turns.spread_since, self.hub.oldest_needed_commit, self.publisher.floor)
        return min((floor for floor in floors if floor is not None), default=None)

    def _fail(self, error: BaseException) -> None:
        """The fail-stop: no retry, no acknowledgement, nothing dispatched."""
        self._stopping = True
        self._failed = error if isinstance(error, DurableError) else StorageError(str(error))
        self._sources.refuse(self._failed)
        raise self._failed


def _gone() -> DurableError:
    return HubLocked("the engine has stopped and the message was not taken; post it again")
