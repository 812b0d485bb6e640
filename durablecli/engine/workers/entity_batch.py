"""Runs operations of one entity one after another, and makes the event that records their results.

The state is encoded and decoded between any two operations, so it doesn't matter how they are grouped into batches. If
an operation raises, its changes to the state, its signals and its starts are discarded.

A batch runs in a thread of its own, with an event loop of its own if there is something to await, so one that blocks
delays no other entity.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from contextvars import Token, copy_context
from datetime import datetime
from inspect import isawaitable
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Raw

from durablecli.engine.workers.activity_context import Cancellation
from durablecli.engine.workers.awaitables import AwaitedOutcome, await_outcome, unwrap_outcome
from durablecli.engine.workers.decided_tasks import EntityOperation, WorkKey
from durablecli.engine.workers.work_output import (
    OutputLog,
    RunningWork,
    WorkIdentity,
    finish_lines,
    running_work,
    unfinished_lines,
)
from durablecli.entities.context import EntityOperationState
from durablecli.errors import UsageError
from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId
from durablecli.model.failures import Failure, from_exception
from durablecli.model.payloads import encode
from durablecli.model.trace_context import TraceContext
from durablecli.registry import Function
from durablecli.store.file_handles import check_handles_for_event_loop, wait_for_handle
from durablecli.telemetry.interface import TracedCall, Tracing

if TYPE_CHECKING:  # slow to import, and seldom needed
    import asyncio

MAX_BATCH_SECONDS = 0.1
"""Seconds after which a batch ends early, so that its results so far reach the disk."""
MAX_BATCH_BYTES = 2 * 1024 * 1024
"""Bytes of results, signals and starts after which a batch ends early."""
_RESULT_OVERHEAD = 64


class EntityBatchResult(NamedTuple):
    """The result of a batch; `event.upto` is the last operation that it ran."""

    key: WorkKey
    event: ev.EntityBatch


class EntityBatchCall(NamedTuple):
    """Operations of one entity to run; `key` holds its id, its execution and the last operation's `n`."""

    key: WorkKey
    function: Function
    state: Raw
    operations: Sequence[EntityOperation]
    payload_limit: int
    cancellation: Cancellation
    at: datetime
    """The time of the commit that decided on the batch; delays of scheduled signals and starts count from it."""
    output_log: OutputLog | None = None
    tracing: Tracing | None = None
    priority: int = 0

    def run(self) -> EntityBatchResult:
        """Run the operations in this thread until all are done or a limit is reached."""
        with EntityBatchRun(self) as run:
            for operation in self.operations:
                run.run(operation)
                if run.is_over:
                    break
        return run.make_result()

    async def run_async(self) -> EntityBatchResult:
        """Do the same on the current event loop."""
        with EntityBatchRun(self) as run:
            for operation in self.operations:
                await run.run_async(operation)
                if run.is_over:
                    break
        return run.make_result()

    def make_cancelled_result(self) -> EntityBatchResult:
        """Return the result of a batch that was cancelled before it started: its first operation fails, for a result
        has at least one operation. It is never read."""
        import asyncio

        return self.make_failed_result(asyncio.CancelledError("cancelled before it started"))

    def make_failed_result(self, error: BaseException) -> EntityBatchResult:
        """Return the result of a batch that the worker pool couldn't complete: its first operation fails."""
        n = self.operations[0].n
        result = ev.EntityOperationResult(n, failure=from_exception(error))
        return EntityBatchResult(self.key, ev.EntityBatch(n, results=(result,)))


class EntityBatchRun:
    """A running batch: the state so far, and the results to record."""

    def __init__(self, batch: EntityBatchCall) -> None:
        self._batch = batch
        self._adapter = batch.function.newest.entity_adapter
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
        self._output_token: Token[RunningWork | None] | None = None

    @property
    def output_log(self) -> OutputLog | None:
        return self._batch.output_log

    def identify(self) -> WorkIdentity:
        """Return the operation that runs, as the source of what is printed."""
        id, execution, _ = self._batch.key
        name = self._operation.name if self._operation is not None else ""
        return WorkIdentity(id, execution, "entity", name, self._upto)

    @property
    def is_over(self) -> bool:
        """Whether the batch ends here; operations that are left go into another batch."""
        return self._size >= MAX_BATCH_BYTES or monotonic() >= self._deadline or self._batch.cancellation.requested

    def __enter__(self) -> EntityBatchRun:
        self._output_token = running_work.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._batch.cancellation.interrupt = None
        if self._runner is not None:
            with suppress(Exception):  # tasks that the author's code left running may refuse to end
                self._runner.close()
            self._runner = None  # its context refers to this run
        if self._output_token is not None:
            running_work.reset(self._output_token)
            self._output_token = None

    def run(self, operation: EntityOperation) -> None:
        """Run one operation."""
        if operation.trace is not None and self._batch.tracing is not None:
            self._run_traced(operation, operation.trace, self._batch.tracing)
        else:
            self._run(operation)

    def _run(self, operation: EntityOperation) -> Failure | None:
        failure: Failure | None = None
        try:
            value = self._invoke(operation)
            self._complete(operation, self._run_awaitable(value) if isawaitable(value) else value)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            failure = self._fail(operation, error)
        if unfinished_lines:
            finish_lines(self)
        return failure

    async def run_async(self, operation: EntityOperation) -> None:
        """Run one operation on the current event loop, without a span."""
        try:
            value = self._invoke(operation)
            self._complete(operation, await value if isawaitable(value) else value)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            self._fail(operation, error)
        if unfinished_lines:
            finish_lines(self)

    def _run_traced(self, operation: EntityOperation, trace: TraceContext, tracing: Tracing) -> None:
        id, execution, _ = self._batch.key
        name = self._batch.function.name
        span = TracedCall(trace, "entity", name, id, execution, operation.n, operation=operation.name)
        with tracing.trace_call(span) as running:
            if (failure := self._run(operation)) is not None:
                running.fail(failure)

    def _run_awaitable(self, value: Awaitable[Any]) -> Any:
        import asyncio

        if self._runner is None or self._runner.get_loop().is_closed():
            wait_for_handle(check_handles_for_event_loop)
            self._runner = asyncio.Runner()
        loop = self._runner.get_loop()

        async def wait() -> AwaitedOutcome:
            task = asyncio.current_task()
            assert task is not None
            cancellation = self._batch.cancellation
            cancellation.interrupt = lambda: loop.call_soon_threadsafe(task.cancel)
            if cancellation.abandoned:
                task.cancel()
            return await await_outcome(value)

        return unwrap_outcome(self._runner.run(wait(), context=copy_context()))

    def _invoke(self, operation: EntityOperation) -> Any:
        """Call the author's code; the value may be awaitable."""
        batch = self._batch
        self._upto = operation.n
        self._operation = state = EntityOperationState(
            self._id, operation.name, operation.input, self._state, batch.payload_limit, batch.at
        )
        return self._adapter.call(state)

    def _complete(self, operation: EntityOperation, value: Any) -> None:
        """Add what an operation did to the batch; raises if that can't be recorded."""
        state = self._operation
        assert state is not None
        self._adapter.complete(state, value)
        state.finish()
        if value is not None and not state.result:
            state.result = encode(value, state.payload_limit)
        if state.size > state.payload_limit:
            raise UsageError(
                f"the operation's state, result, signals and starts have {state.size:,} bytes together, "
                f"the limit is {state.payload_limit:,}: keep the data in a file and pass its path"
            )
        self._state = state.state
        if operation.waits:
            self._add_result(operation.n, state.result or ev.NULL, None)
        if state.signals or state.starts:
            self._signals += state.signals
            self._starts += state.starts
            self._size += state.sent_bytes

    def _fail(self, operation: EntityOperation, error: BaseException) -> Failure:
        """Discard what an operation did, and record its failure, also if no caller waits for it."""
        if self._operation is not None:
            self._operation.finish()
        failure = from_exception(error)
        self._add_result(operation.n, ev.ABSENT, failure)
        return failure

    def _add_result(self, n: int, result: Raw, failure: Failure | None) -> None:
        self._results.append(ev.EntityOperationResult(n, result, failure))
        self._size += len(result) + _RESULT_OVERHEAD
        while failure is not None:
            self._size += len(failure.message) + len(failure.traceback)
            failure = failure.cause

    def make_result(self) -> EntityBatchResult:
        """Return the results to record, with the state only if it has changed."""
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
