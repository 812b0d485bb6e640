"""Picks up new messages, from the inbox on disk and from clients in this process, and has them handled in order.

For each target, what was acknowledged earlier is handled earlier, whichever way it came in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

import msgspec

from durablecli.engine.message_handler import MessageHandler
from durablecli.engine.message_queue import BatchItem, PendingBatch, QueuedMessage, Submission
from durablecli.engine.shared_parts import SharedParts
from durablecli.errors import DurableError
from durablecli.store.inbox.messages import Message
from durablecli.store.recovery import PartialBatch

_MAX_QUEUED_MESSAGES = 1_000
_POLL_INTERVAL = 1.0


class MessageIntake:
    """Queues new messages and has them handled in order."""

    def __init__(self, shared: SharedParts, message_handler: MessageHandler) -> None:
        self._cycle = shared.cycle
        self._inbox = shared.hub.inbox
        self._partial_batches = shared.hub.partial_batches
        self._queue = shared.messages
        self._echo = shared.echo
        self._admission = shared.admission
        self._message_handler = message_handler
        self._submissions: deque[Submission] = deque()
        """The submissions that aren't queued yet."""
        self._unacknowledged: deque[Submission] = deque()
        """The submissions in commits that aren't on disk yet, in the order of the commits."""
        self._poll_requested = True
        self._polled_at = 0.0
        self._is_up_to_date = False
        self._handled: list[QueuedMessage] = []
        """The messages that this cycle has handled."""
        self._progress: list[tuple[PendingBatch, int, PartialBatch | None]] = []
        """The batches that this cycle has worked on, and how far they were before it."""
        self._started_early: list[tuple[PendingBatch, int]] = []
        """The starts that this cycle has made ahead of their slice."""

    def add(self, submission: Submission) -> None:
        """Take a submission; the next cycle queues it."""
        self._submissions.append(submission)

    def request_poll(self) -> None:
        """Look for new messages in the inbox; any thread may ask."""
        self._poll_requested = True

    @property
    def has_work(self) -> bool:
        """Whether a cycle could handle something without a look at the inbox."""
        if self._submissions or self._queue.message_count:
            return True
        return bool(self._queue.batches) and self._admission.has_batch_room

    @property
    def may_have_unread(self) -> bool:
        """Whether a message is queued, or may be in the inbox, as far as is known without a look."""
        return bool(self._queue or self.must_poll)

    @property
    def must_poll(self) -> bool:
        """Whether a look at the inbox might find a message."""
        return bool(self._poll_requested or self._inbox.has_more)

    # ── queueing ───────────────────────────────────────────────────────────────────────────────────────────────

    def begin_cycle(self) -> None:
        """Queue all that was acknowledged before this cycle, and behind it what clients of this process submit."""
        for batch, upto, _ in self._progress:
            batch.forget_started_early(upto)
        self._handled, self._progress, self._started_early = [], [], []
        listings = self._inbox.listing_count
        self._is_up_to_date = self._inbox.refresh_listing(
            force=self._poll_requested or monotonic() - self._polled_at > _POLL_INTERVAL
        )
        if self._inbox.listing_count != listings:
            self._poll_requested, self._polled_at = False, monotonic()
        if self._queue.message_count < _MAX_QUEUED_MESSAGES and self._inbox.has_more:
            for message in self._inbox.take_next():
                self._enqueue(message, None)
        for warning in self._inbox.take_warnings():
            self._echo(warning)
        if self._submissions and self._is_up_to_date:
            self._enqueue_submissions()

    def _enqueue_submissions(self) -> None:
        """Queue submissions, except those for a target with an unread message in the inbox, which comes first."""
        later: deque[Submission] = deque()
        blocked: set[str] = set()
        for submission in self._submissions:
            targets = {item.target for item in submission.message.items} if self._inbox.has_more else set[str]()
            if blocked.isdisjoint(targets) and not any(map(self._inbox.has_unread, targets)):
                self._enqueue(submission.message, submission)
            else:
                later.append(submission)
                blocked |= targets
        self._submissions = later

    def _enqueue(self, message: Message, submission: Submission | None) -> None:
        if self._message_handler.is_sliced(message):
            self._queue.add_batch(message, submission, self._message_handler.get_batch_progress(message))
        else:
            self._queue.add(message, submission)

    # ── handling ───────────────────────────────────────────────────────────────────────────────────────────────

    def handle_queued(self, is_over: Callable[[], bool]) -> None:
        """Handle messages in order. One that has to wait lets messages for other targets pass."""
        blocked: set[str] = set()
        for entry in self._queue.iterate_messages():
            if is_over():
                return
            if not blocked.isdisjoint(entry.targets) or not self._handle(entry):
                blocked.update(entry.targets)
                self._poll_requested |= entry.submission is None

    def handle_before(self, target: str) -> bool:
        """Handle the messages for a target that were acknowledged before something else that reaches it. False if that
        isn't possible in this cycle, and the other has to wait."""
        if self._queue.is_clear:
            return self._is_up_to_date
        if not self._queue.has_message_for(target):
            return self._is_up_to_date
        self.start_early(target)
        for entry in self._queue.find_messages_before(target):
            if self._message_handler.waits_for_batch(entry.message):
                break  # the batch may wait for what reaches the target
            if self._cycle.is_budget_spent or not self._handle(entry):
                return False
        return self._is_up_to_date and not self._inbox.has_unread(target)

    @property
    def is_clear(self) -> bool:
        """Whether no message could have to come before anything else."""
        return self._is_up_to_date and self._queue.is_clear

    def _handle(self, entry: QueuedMessage) -> bool:
        """Handle the first message for its targets. False when it has to wait."""
        for target in entry.targets:
            self.start_early(target)
        self._cycle.handling = entry
        if entry.submission is not None:
            entry.submission.refusal = None  # that of a cycle that was rolled back
        is_handled = self._message_handler.handle(
            entry.message, None if entry.submission is not None else self._inbox.listing_count
        )
        self._cycle.handling = None
        if not is_handled:
            return False
        self._queue.remove(entry)
        self._handled.append(entry)
        self._acknowledge_later(entry.submission)
        return True

    def handle_batches(self, limit: int) -> None:
        """Start at most `limit` instances of the batches, in turn, if there is room for them."""
        while limit and self._queue.batches and not self._cycle.is_budget_spent:
            room = min(limit, self._admission.take_batch_room())
            if not room:
                return
            self._handle_slice_of(self._queue.batches[0], room)
            limit -= room

    def _handle_slice_of(self, batch: PendingBatch, limit: int) -> None:
        self._save_progress(batch)
        self._cycle.handling = batch
        is_done = self._message_handler.handle_slice(batch, limit)
        self._cycle.handling = None
        self._queue.batches.popleft()
        if is_done:
            self._acknowledge_later(batch.submission)
        else:
            self._queue.batches.append(batch)

    def start_early(self, target: str) -> None:
        """Start an instance of a pending batch ahead of its slice, because something is about to reach it."""
        if self._queue.batches and (found := self._queue.find_batch_to_start(target)) is not None:
            batch, index = found
            self._save_progress(batch)
            self._cycle.handling = batch
            self._message_handler.start_early(batch, index)
            self._started_early.append((batch, index))
            self._cycle.handling = None

    def _save_progress(self, batch: PendingBatch) -> None:
        if not any(saved is batch for saved, _, _ in self._progress):
            partial = self._partial_batches.get(batch.message.message)
            self._progress.append((batch, batch.upto, partial))

    # ── answers ────────────────────────────────────────────────────────────────────────────────────────────────

    def _acknowledge_later(self, submission: Submission | None) -> None:
        if submission is not None:
            self._unacknowledged.append(submission)
            self._cycle.builder.acks.append(self._acknowledge)

    def _acknowledge(self) -> None:
        self._unacknowledged.popleft().accept()

    def reject_all(self, error: DurableError) -> None:
        """Answer all clients of this process that their messages were not accepted."""
        for submission in [*self._unacknowledged, *self._queue.list_submissions(), *self._submissions]:
            submission.reject(error)
        self._unacknowledged.clear()
        self._queue.clear()
        self._submissions.clear()

    # ── when a cycle fails ─────────────────────────────────────────────────────────────────────────────────────

    def roll_back(self, ack_count: int) -> None:
        """Put back what this cycle has handled, with the acknowledgements that it would have sent."""
        for _ in range(ack_count):
            self._unacknowledged.pop()
        self._queue.put_back(self._handled)
        for batch, index in self._started_early:
            batch.started_early.discard(index)
        for batch, upto, partial in self._progress:
            batch.upto = upto
            if partial is None:
                self._partial_batches.pop(batch.message.message, None)
            else:
                self._partial_batches[batch.message.message] = partial
            if batch not in self._queue.batches:
                self._queue.batches.appendleft(batch)
        self._handled, self._progress, self._started_early = [], [], []

    def move_to_failed(self, handled: QueuedMessage | PendingBatch | BatchItem, error: str) -> None:
        """Remove a message whose handling failed from the queue, and keep it where a repair finds it."""
        message, submission = (handled.batch if isinstance(handled, BatchItem) else handled).message, None
        match handled:
            case BatchItem(batch, position, item):
                batch.started_early.add(position)  # it counts as started
                message = msgspec.structs.replace(message, items=[item], count=0, parts=(), batch=None)
                self._inbox.store_failed(message, error)
            case QueuedMessage():
                submission = handled.submission
                self._queue.remove(handled)
            case PendingBatch():
                submission = handled.submission
                self._queue.batches.remove(handled)
                self._partial_batches.pop(message.message, None)
        if submission is not None:
            submission.reject(DurableError(f"internal error: {error}; the message was not accepted"))
        elif not isinstance(handled, BatchItem):
            self._inbox.move_to_failed(message, error)
        self._inbox.release_ids((item.target, message.message) for item in message.items if item.reserved)
        targets = ", ".join(item.target for item in message.items[:3]) or message.batch or "?"
        self._echo(f"{message.kind} for {targets} failed and is kept in inbox/failed: {error}; see: durable doctor")
