"""Running the operations of one entity: one after another, from its state to the event that says what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec import Raw

from durablecli.app import Function
from durablecli.engine.activity import Cancellation
from durablecli.model import events as ev


class Operation(NamedTuple):
    """One operation to run: record `n` of the entity's log. The outcome of one that `waits` is recorded."""

    n: int
    name: str
    input: Raw
    waits: bool


class BatchOutcome(NamedTuple):
    """What came of a batch; `event.upto` tells how far it came."""

    key: tuple[str, str, int]
    event: ev.EntityBatch


class Batch(NamedTuple):
    """Operations of one entity, as an executor needs them; `key` is its id, its execution and the last one's `n`."""

    key: tuple[str, str, int]
    function: Function
    state: Raw
    operations: Sequence[Operation]
    payload_limit: int
    cancellation: Cancellation
    at: datetime | None = None
    """The time of the commit that has them run; what an operation schedules is counted from it."""

    def run(self) -> BatchOutcome:
        """Run them here and now, until the batch is done or has taken its time."""
        raise NotImplementedError

    async def run_async(self) -> BatchOutcome:
        """Run those of an asynchronous entity."""
        raise NotImplementedError

    def dropped(self) -> BatchOutcome:
        """The outcome of a batch that was cancelled before it began: nobody reads it."""
        return BatchOutcome(self.key, ev.EntityBatch(self.operations[0].n - 1))

    def failed(self, error: BaseException) -> BatchOutcome:
        """The outcome of a batch that an executor could not run to its end: its first operation fails."""
        raise NotImplementedError
