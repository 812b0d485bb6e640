"""The engine: gather inputs, run turns, commit, publish.

Invariant: nothing takes effect outside, and nothing is acknowledged, before the commit that says so is on disk.

One thread runs the cycle. What comes from other threads (results, reports of the journal's thread, submissions of
clients, wake-ups) goes through one hand-off queue. While a commit is being synced the next cycle already runs; commits
are published in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from queue import Empty, SimpleQueue
from time import monotonic
from typing import NoReturn

from durablecli.engine.admission import WorkInFlight
from durablecli.engine.background import BackgroundThread
from durablecli.engine.clock import Clock, SystemClock
from durablecli.engine.code_replacer import CodeReplacer
from durablecli.engine.committer import Committer
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.info_writer import EngineInfoWriter
from durablecli.engine.instance_restorer import InstanceRestorer
from durablecli.engine.intake import Intake
from durablecli.engine.journal_writer import JournalWriter, SyncReport
from durablecli.engine.log_capture import LogCapture
from durablecli.engine.maintenance import Maintenance
from durablecli.engine.message_queue import Submission
from durablecli.engine.monitor import EngineMonitor
from durablecli.engine.publisher import Publisher
from durablecli.engine.remote_answers import RemoteHandoff
from durablecli.engine.shared_parts import make_shared_parts
from durablecli.engine.startup import Startup
from durablecli.engine.timers import TimerEntry
from durablecli.engine.turns import TurnRunner
from durablecli.engine.unexpected_errors import UnexpectedErrorHandler
from durablecli.engine.watchdog import CurrentTurn
from durablecli.engine.workers.activity import ActivityResult
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.engine.workers.pool import ReportResult
from durablecli.errors import DurableError, HubLocked, StorageError
from durablecli.registry import Registry
from durablecli.store.hang_report import HangReport
from durablecli.store.hub import Hub
from durablecli.store.inbox.messages import Message, MessageItem, Receipt, new_message_id
from durablecli.store.publication import EndSignal

_MAX_SLEEP = 1.0
_INDEX_POLL_INTERVAL = 0.01
_BLOCKED_PAUSE = 0.005
"""After a cycle that has changed nothing although there was work: what it waits for may take long."""
_MAX_UNSYNCED_COMMITS = 16
_MAX_UNSYNCED_SLICES = 2
"""While a turn is being split: its slices are large, and the cycles between them mustn't wait for many of them."""

Handoff = ActivityResult | EntityBatchResult | Submission | RemoteHandoff | SyncReport | None
"""An item for the engine's thread from another one; None only wakes it."""
OnDone = Callable[[DurableError | None], None]


class Engine:
    """The engine of one hub. `step` is one cycle; `run` cycles until it is stopped. Without a registry no code runs."""

    def __init__(
        self,
        hub: Hub,
        registry: Registry | None,
        *,
        options: EngineOptions | None = None,
        clock: Clock | None = None,
        make_dispatcher: Callable[[ReportResult], Dispatcher] | None = None,
        info_writer: EngineInfoWriter | None = None,
        echo: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.hub, self.echo, self.clock = hub, echo, clock or SystemClock()
        self.options = options = options or EngineOptions()
        self._handoff_queue: SimpleQueue[Handoff] = SimpleQueue()
        self._stopping = self._closed = self._has_changed = False
        self._failure: DurableError | None = None
        report, threaded = self._handoff_queue.put, options.use_threads
        if options.remote_work is not None:
            options.remote_work.bind(report)
        self.background: BackgroundThread[Callable[[], None]] = BackgroundThread(
            "durable-background", lambda work: work(), lambda error: report(SyncReport(0, error)), threaded=threaded
        )
        self.journal_writer = JournalWriter(hub.journal, hub.spill_writer, report, threaded=threaded)
        self.dispatcher = dispatcher = make_dispatcher(report) if make_dispatcher is not None else None
        self.log_capture = LogCapture(report_instances=options.report_instances)
        self.current_turn = CurrentTurn()
        shared = make_shared_parts(hub, registry, options, self.clock, echo, self._count_in_flight)
        self.instances, self.timers, self.scope = shared.instances, shared.timers, shared.scope
        self.stats: Counter[str] = shared.cycle.stats
        self._turn_runner = turns = TurnRunner(shared, self.current_turn)
        self.split_turn, self.hooks = turns.split_turn, turns.applier.hooks
        self._intake = intake = Intake(shared, turns, dispatcher, self.background)
        self._messages = intake.messages
        self.publisher = publisher = Publisher(hub, self.instances, self.background, echo)
        self._committer = committer = Committer(
            shared, turns, publisher, self.journal_writer, dispatcher, self.log_capture,
            is_busy=self._has_input, fail=self._fail,
        )  # fmt: skip
        self.metrics = EngineMonitor(shared, turns, intake, publisher, committer, dispatcher)
        # For readers in this process: see `store/publication.py:PublicationStatus`.
        self.list_unpublished, self.is_on_its_way = publisher.list_unpublished, committer.is_on_its_way
        self._maintenance = Maintenance(
            shared, self.split_turn, publisher, committer, self.background, dispatcher, info_writer
        )
        restorer = InstanceRestorer(shared, turns)
        self._unexpected_errors = UnexpectedErrorHandler(
            shared, turns, intake, committer, publisher, restorer, dispatcher, sync=self._sync
        )
        self.code = CodeReplacer(shared, turns, committer, dispatcher, self._sync, self.wake)
        self._startup = Startup(shared, turns, intake.message_handler, committer, restorer, self._unexpected_errors)

    # ── from other threads ─────────────────────────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        """Look for new messages in the inbox."""
        self._messages.request_poll()
        self._handoff_queue.put(None)

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        """Submit a message from this process. Returns when the commit that handles it is on disk."""
        submission = self.submit(kind, items, message)
        submission.done.wait()
        if submission.error is not None:
            raise submission.error
        return Receipt(submission.message.message, [item.instance for item in items])

    def submit(
        self, kind: str, items: Sequence[MessageItem], message: str | None = None, on_done: OnDone | None = None
    ) -> Submission:
        """Submit a message without waiting; `on_done` is called in the engine's thread, with None or the error."""
        given = Message(message or new_message_id(), 0, self.clock.now(), kind, list(items), run=self.scope.root)
        submission = Submission(given, on_done)
        self._handoff_queue.put(submission)
        if self._closed:  # checked after the put: `close` empties the queue after setting it
            submission.reject(self._failure or _make_stopped_error())
        return submission

    @property
    def is_running(self) -> bool:
        """Whether the engine hasn't been closed; any thread may ask."""
        return not self._closed

    def watch_end(self, instance: str, signal: EndSignal) -> AbstractContextManager[bool]:
        """Have the signal set each time an execution of the instance ends; False if the engine has stopped."""
        return self._committer.end_watchers.watch(instance, signal)

    # ── life ───────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, hang_report: HangReport | None = None) -> list[str]:
        """Continue what the hub holds. Returns the instances and entities with pending work."""
        with_work = self._startup.run(hang_report)
        self._maintenance.save_quarantine()
        return with_work

    def run(self, until: Callable[[Engine], bool] = lambda engine: False) -> None:
        """Cycle until `stop` is called, or `until` is true between two cycles."""
        while not self._stopping and not until(self):
            self.step(_MAX_SLEEP)

    def stop(self) -> None:
        """End `run` after the current cycle; any thread may call this."""
        self._stopping = True
        self._handoff_queue.put(None)

    @property
    def is_stopping(self) -> bool:
        return self._stopping

    def pause(self) -> None:
        """Start no more calls, and ask the running ones to stop. Messages and results are still taken."""
        if self.dispatcher is not None:
            self.dispatcher.pause()

    def keys_in_flight(self) -> set[WorkKey]:
        """Return the keys of the calls that are queued or running."""
        return set() if self.dispatcher is None else {call.key for call in self.dispatcher.iter_in_flight()}

    def drain(self, limit: timedelta) -> None:
        """Start nothing more, and wait for running calls; what outlives `limit` runs again in the next engine."""
        until = monotonic() + limit.total_seconds()
        self.pause()
        while (self.dispatcher is not None and self.dispatcher.in_flight_count) and monotonic() < until:
            self.step(min(0.1, max(0.0, until - monotonic())))
        self._sync()
        self.step()  # takes the result of a call that has ended since the last one
        self.flush()

    def flush(self) -> None:
        """Bring everything decided to the disk and publish it, also the rest of a split turn, but take no new input."""
        committer = self._committer
        while committer.unsynced_count or self.split_turn.is_active:
            if committer.unsynced_count >= (_MAX_UNSYNCED_SLICES if self.split_turn.is_active else 1):
                self._receive(_MAX_SLEEP)
                continue
            committer.begin_cycle()
            committer.commit()
        self.publisher.flush()
        self.publisher.update_index()
        self._maintenance.save_quarantine()

    def close(self) -> None:
        """Stop the threads. Everything acknowledged is on disk.

        Raises an error that a thread has reported and nobody has seen yet: the hub must not be marked clean then.
        """
        if self.dispatcher is not None:
            self.dispatcher.stop()
        self.journal_writer.stop()
        self.background.stop()
        with self.log_capture:  # drops the output of orchestrators that are closed
            self.instances.close()
        self._closed = True
        self._committer.close()
        unseen: BaseException | None = None
        with suppress(Empty):
            while True:
                item = self._handoff_queue.get_nowait()
                if isinstance(item, Submission):
                    self._intake.add(item)
                elif isinstance(item, SyncReport) and item.error is not None:
                    unseen = item.error
        if unseen is not None and self._failure is None:
            self._fail(unseen)
        self._messages.reject_all(self._failure or _make_stopped_error())

    def _count_in_flight(self) -> WorkInFlight:
        if (dispatcher := self.dispatcher) is None:
            return WorkInFlight(0, 0, 0)
        return WorkInFlight(dispatcher.local_count, dispatcher.executions_in_flight_count, dispatcher.capacity)

    # ── state ──────────────────────────────────────────────────────────────────────────────────────────────────

    def process_inbox(self) -> None:
        """Cycle until every message in the inbox is handled."""
        while self._messages.may_have_unread:
            self.step()

    def has_ended(self, id: str) -> bool:
        """Whether an instance, whose start was posted before, has ended or been purged, and that is on disk."""
        if self._committer.unsynced_count:
            return False
        instance = self.instances.get(id)
        return not self._messages.may_have_unread if instance is None else instance.runtime_state.ended

    @property
    def is_quiescent(self) -> bool:
        """Whether nothing can happen before the next result, message or due time."""
        if self._committer.unsynced_count or self._has_input() or self._messages.may_have_unread:
            return False
        return self._turn_runner.is_idle and not self._intake.is_sweeping

    @property
    def is_idle(self) -> bool:
        """Whether nothing can happen without a message or a timer that is still to come; a pending retry is work."""
        if not self.is_quiescent:
            return False
        due = self.timers.next_due_time()
        if due is not None and due <= self.clock.now():
            return False
        dispatcher, remote = self.dispatcher, self.options.remote_work
        if (dispatcher is not None and dispatcher.awaited_count) or (remote is not None and len(remote.turns)):
            return False
        return not any(self._is_timer_open(entry) for entry in self.timers.list_back_offs())

    def _is_timer_open(self, entry: TimerEntry) -> bool:
        instance = self.instances.get(entry.instance)
        if instance is None:
            return False
        state = instance.runtime_state
        if state.execution != entry.execution or state.suspended is not None or state.blocked is not None:
            return False
        return entry.n in state.open_decisions

    # ── one cycle ──────────────────────────────────────────────────────────────────────────────────────────────

    def step(self, wait: float = 0.0) -> bool:
        """Run one cycle. Sleeps at most `wait` seconds if there is nothing to do. False if nothing has changed."""
        self._receive(self._limit_wait(wait))
        if not self._may_begin_cycle():
            return True
        self.code.replace_if_requested()
        try:
            self._committer.begin_cycle()
            self._intake.process_inputs()
            self._turn_runner.start_entity_batches()
        except Exception as error:  # noqa: BLE001 - it is contained, or raised again
            self._unexpected_errors.handle(error)
            return True
        self._has_changed = has_changed = self._committer.commit()
        is_idle = not has_changed and monotonic() > self._maintenance.idle_at
        self._maintenance.run(idle=is_idle and not self._has_input())
        return has_changed

    def _limit_wait(self, wait: float) -> float:
        """The time to wait for the hand-off queue: none while there is work that the last cycle could do."""
        if self._intake.has_work or self._messages.must_poll:
            return 0.0 if self._has_changed else min(wait, _BLOCKED_PAUSE)
        if self.publisher.has_unpublished:
            wait = min(wait, max(0.0, self._maintenance.idle_at - monotonic()))
        due = self.timers.next_due_time()
        if due is not None:
            wait = min(wait, max(0.0, (due - self.clock.now()).total_seconds()))
        wait = self._intake.limit_wait(wait)
        if self.dispatcher is not None and (starts_in := self.dispatcher.limited.next_start_in) is not None:
            wait = min(wait, starts_in)
        if self._maintenance.needs_sync:
            wait = min(wait, 0.0 if not self._committer.unsynced_count else 0.05)
        elif self.publisher.has_unindexed_rows:
            wait = min(wait, 0.2)
        return wait

    def _may_begin_cycle(self) -> bool:
        """Whether a cycle may begin: not with too much unsynced, nor while index or checkpoint wait for the disk."""
        must_wait = self.publisher.must_wait_for_index
        if not (self._committer.unsynced_count or must_wait):
            self._maintenance.run_synced()
            return True
        limit = _MAX_UNSYNCED_SLICES if self.split_turn.is_active else _MAX_UNSYNCED_COMMITS
        if must_wait or self._committer.is_behind(limit) or self._maintenance.needs_sync:
            self._receive(_INDEX_POLL_INTERVAL if must_wait else _MAX_SLEEP)
            return False
        return True

    def _has_input(self) -> bool:
        """Whether the next cycle has something to do already."""
        return self._intake.has_work or not self._handoff_queue.empty()

    def _receive(self, wait: float) -> None:
        """Take everything from the hand-off queue; wait for the first item if there is none."""
        with suppress(Empty):
            item = self._handoff_queue.get(timeout=wait) if wait > 0 else self._handoff_queue.get_nowait()
            while True:
                self._receive_item(item)
                item = self._handoff_queue.get_nowait()

    def _receive_item(self, item: Handoff) -> None:
        match item:
            case SyncReport(error=BaseException() as error):
                self._fail(error)
            case SyncReport(commit_number=commit_number):
                self._committer.publish_up_to(commit_number)
            case _ if item is not None:
                self._intake.add(item)

    def _sync(self) -> None:
        """Wait until every commit is on disk."""
        while self._committer.unsynced_count:
            self._receive(_MAX_SLEEP)

    def _fail(self, error: BaseException) -> NoReturn:
        """Stop at once: no retry, no acknowledgement, nothing dispatched."""
        self._stopping = True
        self._failure = error if isinstance(error, DurableError) else StorageError(str(error))
        self._messages.reject_all(self._failure)
        raise self._failure


def _make_stopped_error() -> DurableError:
    return HubLocked("the engine stopped before accepting the message; retry")
