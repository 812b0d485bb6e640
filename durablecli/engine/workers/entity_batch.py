"""Running the operations of one entity: one after another, from its state to the event that says what came of them.

The state crosses the codec between any two operations, so nothing depends on how they were put into batches. An
operation that raises leaves the state, what it sent and what it started as if it had never run.

A batch has its thread to itself, and an event loop of its own where something is to be awaited: so one that blocks
holds up no other entity.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import datetime
from inspect import isawaitable
from time import monotonic
from typing import Any, NamedTuple

from msgspec import Raw

from durablecli.engine.workers.activity_context import Cancellation
from durablecli.engine.workers.decided_tasks import EntityOperation, WorkKey
from durablecli.entities.context import EntityOperationState
from durablecli.errors import UsageError
from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId
from durablecli.model.failures import Failure, from_exception
from durablecli.model.payloads import encode
from durablecli.registry import Function

MAX_BATCH_SECONDS = 0.1
"""Seconds after which a batch ends early, so that what it has done so far gets to the disk."""
MAX_BATCH_BYTES = 2 * 1024 * 1024
"""Bytes of results, signals and starts after which it does."""
_RESULT_OVERHEAD = 64


class EntityBatchResult(NamedTuple):
    """What came of a batch; `event.upto` tells how far it came."""

    key: WorkKey
    event: ev.EntityBatch


class EntityBatchCall(NamedTuple):
    """Operations of one entity, as an executor needs them; `key` is its id, its execution and the last one's `n`."""

    key: WorkKey
    function: Function
    state: Raw
    operations: Sequence[EntityOperation]
    payload_limit: int
    cancellation: Cancellation
    at: datetime
    """The time of the commit that has them run; what an operation schedules is counted from it."""

    def run(self) -> EntityBatchResult:
        """Run them here and now, until the batch is done or has taken its time. What one raises is its failure."""
        with EntityBatchRun(self) as course:
            for operation in self.operations:
                course.run(operation)
                if course.is_over:
                    break
        return course.make_result()

    def make_cancelled_result(self) -> EntityBatchResult:
        """The outcome of a batch that was cancelled before it began. Nobody reads it; if anybody did, its first
        operation would have failed, as an outcome is always that of at least one."""
        return self.make_failed_result(asyncio.CancelledError("it was cancelled before it began"))

    def make_failed_result(self, error: BaseException) -> EntityBatchResult:
        """The outcome of a batch that an executor could not run to its end: its first operation fails."""
        n = self.operations[0].n
        outcome = ev.EntityOperationResult(n, failure=from_exception(error))
        return EntityBatchResult(self.key, ev.EntityBatch(n, results=(outcome,)))


class EntityBatchRun:
    """A batch on its way: the state so far, and what is to be recorded."""

    def __init__(self, batch: EntityBatchCall) -> None:
        self._batch = batch
        self._adapter = batch.function.entity_adapter
        self._id = EntityId.parse(batch.key[0])
        self._state = batch.state
        self._results: list[ev.EntityOperationResult] = []
        self._signals: list[ev.EntityOperationSignal] = []
        self._starts: list[ev.EntityOperationStart] = []
        self._size = 0
        self._upto = 0
        self._deadline = monotonic() + MAX_BATCH_SECONDS
        self._operation: EntityOperationState | None = None
        self._runner: asyncio.Runner | None = None

    @property
    def is_over(self) -> bool:
        """Whether it ends here, whatever is left to do: that is another batch's."""
        return self._size >= MAX_BATCH_BYTES or monotonic() >= self._deadline or self._batch.cancellation.requested

    def __enter__(self) -> EntityBatchRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._batch.cancellation.interrupt = None
        if self._runner is not None:
            with suppress(Exception):  # what the author's code left running may refuse to end
                self._runner.close()

    def run(self, operation: EntityOperation) -> None:
        """Run one operation."""
        try:
            value = self._invoke(operation)
            self._complete(operation, self._run_awaitable(value) if isawaitable(value) else value)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            self._fail(operation, error)

    def _run_awaitable(self, value: Awaitable[Any]) -> Any:
        if self._runner is None or self._runner.get_loop().is_closed():
            self._runner = asyncio.Runner()
        loop = self._runner.get_loop()

        async def wait() -> Any:
            task = asyncio.current_task()
            assert task is not None
            cancellation = self._batch.cancellation
            cancellation.interrupt = lambda: loop.call_soon_threadsafe(task.cancel)
            if cancellation.abandoned:
                task.cancel()
            return await value

        return self._runner.run(wait())

    def _invoke(self, operation: EntityOperation) -> Any:
        """Call the user's code; what it returns may have to be awaited."""
        batch = self._batch
        self._upto = operation.n
        self._operation = act = EntityOperationState(
            self._id, operation.name, operation.input, self._state, batch.payload_limit, batch.at
        )
        return self._adapter.call(act)

    def _complete(self, operation: EntityOperation, value: Any) -> None:
        """Take over what an operation did; raises if that can't be kept."""
        act = self._operation
        assert act is not None
        self._adapter.complete(act, value)
        act.finished = True
        if value is not None and not act.result:
            act.result = encode(value, act.payload_limit)
        if act.size > act.payload_limit:
            raise UsageError(
                f"the operation's state, result and what it sends have {act.size:,} bytes together, "
                f"the limit is {act.payload_limit:,}: keep them in a file and pass its path"
            )
        self._state = act.state
        if operation.waits:
            self._add_result(operation.n, act.result or ev.NULL, None)
        if act.signals or act.starts:
            self._signals += act.signals
            self._starts += act.starts
            self._size += act.sent_bytes

    def _fail(self, operation: EntityOperation, error: BaseException) -> None:
        """Forget what an operation did; its failure is recorded, whether or not anybody waits for it."""
        if self._operation is not None:
            self._operation.finished = True
        self._add_result(operation.n, ev.ABSENT, from_exception(error))

    def _add_result(self, n: int, result: Raw, failure: Failure | None) -> None:
        self._results.append(ev.EntityOperationResult(n, result, failure))
        self._size += len(result) + _RESULT_OVERHEAD
        while failure is not None:
            self._size += len(failure.message) + len(failure.traceback)
            failure = failure.cause

    def make_result(self) -> EntityBatchResult:
        """What is to be recorded: a state only where it isn't as it was."""
        before, after = self._batch.state, self._state
        event = ev.EntityBatch(
            self._upto,
            ev.ABSENT if after == before else after,
            bool(before) and not after,
            tuple(self._results),
            tuple(self._signals),
            tuple(self._starts),
        )
        return EntityBatchResult(self._batch.key, event)
