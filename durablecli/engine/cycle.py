"""The running cycle: the commit it builds, the time it may take, and the deliveries it has still to make."""

from __future__ import annotations

from collections import Counter, deque
from time import monotonic

from durablecli.engine.clock import Clock
from durablecli.engine.commit_builder import CommitBuilder
from durablecli.engine.message_queue import HandledItem
from durablecli.model import events as ev


class Cycle:
    """Shared by everything that takes part in a cycle; `begin` starts the next one."""

    def __init__(self, clock: Clock, turn_budget: float) -> None:
        self.builder = CommitBuilder(0, 0, clock.now())
        self.handling: HandledItem = None
        """The item that the engine is working on, and that is blamed for an unexpected error."""
        self.stats: Counter[str] = Counter()
        """Counts over all cycles."""
        self.starting_children: set[str] = set()
        """The instances whose start is among the deliveries."""
        self.child_starts: dict[str, ev.Origin] = {}
        """The sub-orchestrations whose start is among the deliveries, with the decisions that create them."""
        self.cancelled_starts: set[str] = set()
        """Those of them that were cancelled since: their starts are held."""
        self.delivery_count = 0
        """The deliveries queued since the last time all of them were made."""
        self.undispatched_count = 0
        """The activities that commits have decided, and that aren't dispatched as the commits aren't on disk yet."""
        self._deliveries: deque[tuple[str, str | None, ev.Arrival | ev.EntityArrival]] = deque()
        self._held_count = 0
        self._turn_budget = turn_budget
        self._deadline = 0.0
        self.began_at = monotonic()
        """When the last cycle began, by the monotonic clock."""

    def begin(self, builder: CommitBuilder) -> None:
        """Begin a cycle that writes into this commit."""
        self.builder = builder
        self.handling = None
        self.began_at = now = monotonic()
        self._deadline = now + self._turn_budget

    @property
    def is_budget_spent(self) -> bool:
        """Whether the cycle has used its time, or its commit is full."""
        return self.builder.is_full or monotonic() > self._deadline

    @property
    def is_half_budget_spent(self) -> bool:
        """Whether the cycle has used half of its time, or of its commit."""
        return self.builder.is_half_full or monotonic() > self._deadline - self._turn_budget / 2

    # ── deliveries ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def has_deliveries(self) -> bool:
        return bool(self._deliveries)

    @property
    def has_sent(self) -> bool:
        """Whether anything was sent, or a start announced, since all deliveries were made."""
        return bool(self._deliveries or self.delivery_count or self.starting_children)

    def send(self, id: str, execution: str | None, event: ev.Arrival | ev.EntityArrival) -> None:
        """Queue an arrival for an instance or entity; it is delivered within this cycle."""
        self._deliveries.append((id, execution, event))
        self.delivery_count += 1

    def send_parked(self, parked: list[tuple[str, str | None, ev.Arrival | ev.EntityArrival]]) -> None:
        """Queue arrivals that were parked during earlier cycles."""
        self._deliveries.extend(parked)

    def hold_deliveries(self) -> None:
        """Have all deliveries queued until now recorded as held, not applied."""
        self._held_count = len(self._deliveries)

    def pop_delivery(self) -> tuple[str, str | None, ev.Arrival | ev.EntityArrival, bool]:
        """Take the next delivery, and whether it must be held."""
        id, execution, event = self._deliveries.popleft()
        if self._held_count:
            self._held_count -= 1
            return id, execution, event, True
        return id, execution, event, self.builder.is_full or monotonic() > self._deadline

    def finish_deliveries(self) -> None:
        """Note that every delivery has been made."""
        self.delivery_count = 0
        self.starting_children.clear()
        self.child_starts.clear()
        self.cancelled_starts.clear()

    def is_reached(self, id: str) -> bool:
        """Whether a delivery to this instance or entity is queued."""
        return any(recipient == id for recipient, _, _ in self._deliveries)

    def roll_back(self) -> None:
        """Forget all deliveries: the commit is given up."""
        self._deliveries.clear()
        self._held_count = 0
        self.finish_deliveries()
