"""Where arrivals come from: clients of this process, the inbox, activities, and the clock.

Each source gives to the turns what it has for as long as the cycle lasts, and keeps the rest for the next one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

import msgspec

from durablecli.engine.activity import Outcome
from durablecli.engine.crew import Crew
from durablecli.engine.messages import Messages
from durablecli.engine.operations import BatchOutcome
from durablecli.engine.set_aside import SetAsideMessages
from durablecli.engine.timers import Due, Timers
from durablecli.engine.turns import Turns
from durablecli.errors import DurableError
from durablecli.model import events as ev
from durablecli.model.entities import is_entity
from durablecli.replay import agenda
from durablecli.store.hub import Hub
from durablecli.store.mailbox import Item, Message

_MOST_WAITING = 1_000
_LOOK_EVERY = 1.0
_UNDELIVERED = "undelivered.jsonl"


@dataclass
class Posted:
    """A message of a client in this process; `done` is set by the commit that takes it.

    Who can't wait for that is `told`, in the engine's thread: with the error, or None when the message is on disk.
    """

    message: Message
    told: Callable[[DurableError | None], None] | None = None
    done: threading.Event = field(default_factory=threading.Event)
    error: DurableError | None = None

    def accept(self) -> None:
        self.done.set()
        if self.told is not None:
            self.told(None)

    def refuse(self, error: DurableError) -> None:
        self.error = error
        self.done.set()
        if self.told is not None:
            self.told(error)


class Sources:
    """What has come in and isn't decided yet."""

    def __init__(
        self,
        hub: Hub,
        turns: Turns,
        timers: Timers,
        crew: Crew | None,
        default_version: str | None,
        say: Callable[[str], None],
    ) -> None:
        self._hub = hub
        self._inbox = hub.inbox
        self._turns = turns
        self._timers = timers
        self._crew = crew
        self._say = say
        set_aside = SetAsideMessages(hub, turns)
        self._messages = Messages(turns, hub.inbox.items, self._undelivered, default_version, hub.begun, set_aside)
        self.outcomes: deque[Outcome | BatchOutcome] = deque()
        self.posted: deque[Posted] = deque()
        self._taken: deque[Posted] = deque()
        """Those in a commit that isn't on disk yet, in the order in which commits get there."""
        self._waiting: deque[Message] = deque()
        self._look_again = True
        self._looked = 0.0
        self._first = 0

    def redeliver(self, id: str) -> Iterator[None]:
        """Deliver what is kept for an instance that was set aside; the draft may be another one after each step."""
        return self._messages.redeliver(id)

    def look_again(self) -> None:
        """There may be something new in the inbox."""
        self._look_again = True

    @property
    def has_messages(self) -> bool:
        """Whether the inbox has something, as far as can be known without looking."""
        return bool(self._waiting or self._look_again or self._inbox.more)

    @property
    def at_hand(self) -> bool:
        """Whether a cycle would find something to do at once."""
        return bool(self.outcomes or self.posted or self._waiting or self._turns.can_go_on)

    def take(self) -> None:
        """Give each source its chance, another one first in every cycle, so that none of them starves."""
        sources = (self._take_messages, self._take_outcomes, self._take_due, self._turns.look)
        for i in range(len(sources)):
            if not self._turns.over:
                sources[(self._first + i) % len(sources)]()
        self._first = (self._first + 1) % len(sources)

    def refuse(self, error: DurableError) -> None:
        """Tell the clients of this process that nothing more is taken, nor acknowledged."""
        for waiting in (self._taken, self.posted):
            while waiting:
                waiting.popleft().refuse(error)

    def _acknowledge(self) -> None:
        self._taken.popleft().accept()

    # ── messages ───────────────────────────────────────────────────────────────────────────────────────────────

    def _take_messages(self) -> None:
        while self.posted and not self._turns.over:
            posted = self.posted[0]
            if not self._messages.take(posted.message):
                break
            self._taken.append(self.posted.popleft())
            self._turns.draft.acks.append(self._acknowledge)
        self._look()
        self._take_inbox()

    def _take_inbox(self) -> None:
        later: list[Message] = []
        targets: set[str] = set()
        while self._waiting and not self._turns.over:
            message = self._waiting.popleft()
            wanted = {item.target for item in message.items}
            if wanted.isdisjoint(targets) and self._messages.take(message, self._inbox.listings):
                continue
            later.append(message)
            targets |= wanted  # what follows for the same instance has to wait as well
            if message.parts:
                break
        self._waiting.extendleft(reversed(later))
        self._look_again |= bool(targets)

    def _look(self) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            return
        if self._look_again or self._inbox.more or monotonic() - self._looked > _LOOK_EVERY:
            self._look_again = False
            self._looked = monotonic()
            self._waiting.extend(self._inbox.waiting())
            for finding in self._inbox.findings():
                self._say(finding)

    def _undelivered(self, message: Message, item: Item, why: str) -> None:
        """Note what met nothing, and say so once."""
        self._turns.stats["undelivered"] += 1
        self._say(f"{message.kind} for {item.instance}: {why}; kept in {_UNDELIVERED}")
        entry = {"at": self._turns.draft.at, "why": why, "message": message.message, "kind": message.kind, "item": item}
        data = msgspec.json.encode(entry) + b"\n"
        path = f"{self._hub.root}/{_UNDELIVERED}"
        with suppress(FileExistsError):
            self._hub.disk.append_once(path, data, create=True)
            return
        self._hub.disk.append_once(path, data, create=False)

    # ── activities ─────────────────────────────────────────────────────────────────────────────────────────────

    def _take_outcomes(self) -> None:
        assert self._crew is not None or not self.outcomes
        later: list[BatchOutcome] = []
        while self._crew is not None and self.outcomes and not self._turns.over:
            outcome = self.outcomes.popleft()
            id, execution, n = outcome.key
            if isinstance(outcome, BatchOutcome) and self._answers_spreading(outcome):
                later.append(outcome)
            elif self._crew.settled(outcome) is None:
                self._turns.stats["dropped"] += 1
            elif isinstance(outcome, BatchOutcome):
                self._turns.entities.done(outcome)
                self._turns.settle()
            elif outcome.failure is not None:
                self._turns.arrive(id, execution, ev.TaskFailed(n, outcome.failure))
            else:
                completed = ev.TaskCompleted(n, outcome.result or ev.NULL, outputs=outcome.outputs)
                self._turns.arrive(id, execution, completed)
        self.outcomes.extendleft(reversed(later))

    def _answers_spreading(self, outcome: BatchOutcome) -> bool:
        """Whether it answers an instance whose turn is being spread: what can't be recorded there could be lost."""
        turns = self._turns
        return turns.is_busy_spreading and any(map(turns.is_spreading, turns.entities.callers(outcome)))

    # ── the clock ──────────────────────────────────────────────────────────────────────────────────────────────

    def _take_due(self) -> None:
        if self._turns.registry is None:
            return
        while not self._turns.over and (due := self._timers.take(self._turns.draft.at)):
            self._fire(due)

    def _fire(self, due: Due) -> None:
        turns = self._turns
        if is_entity(due.instance):
            turns.entities.fire(due)
            turns.settle()
            return
        instance = turns.instances.get(due.instance)
        if instance is None or instance.ledger.ended:
            return
        if due.n is None:
            self._wake(due)
        elif instance.ledger.execution == due.execution and due.n in instance.ledger.open:
            turns.arrive(due.instance, due.execution, ev.TimerFired(due.n))

    def _wake(self, due: Due) -> None:
        """An instance that slept on disk has something due: fire that, and note the rest of what it waits for."""
        turns = self._turns
        instance = turns.instances.get(due.instance)
        assert instance is not None
        now, ledger = turns.draft.at, instance.ledger
        for n, timer in sorted(agenda.timers(ledger), key=lambda each: (each[1].fire_at, each[0])):
            if timer.fire_at <= now:
                turns.arrive(due.instance, ledger.execution, ev.TimerFired(n))
            else:
                back_off = timer.retry_of is not None
                self._timers.set(timer.fire_at, due.instance, ledger.execution, n, back_off=back_off)
        start_at = agenda.delayed_start(ledger)
        if start_at is not None and start_at > now:
            self._timers.set(start_at, due.instance, ledger.execution, None)
        elif ledger.appliable(now) and ledger.blocked is None:
            turns.ready[due.instance] = None
