"""The items that the pool of remote work hands to the engine: requests for turns, and answers of workers as results."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from durablecli.engine.remote_connections import WorkerConnection
from durablecli.engine.remote_queues import OfferedWork, TurnOffer
from durablecli.engine.workers.activity import ActivityCall, ActivityResult
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.entity_batch import EntityBatchCall, EntityBatchResult
from durablecli.engine.workers.pool import WorkItem
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.ids import new_id
from durablecli.replay.remote_work import ActivityAnswer, EntityBatchAnswer, TurnAnswer, TurnKey

ReportDone = Callable[[str | None], None]
"""Called once an answer is on disk, with None, or once it has no effect, with the reason."""


class TurnRequest(NamedTuple):
    """A worker has room for the next turn of an instance."""

    connection: WorkerConnection
    item: OfferedWork
    offer: TurnOffer


class TurnAnswered(NamedTuple):
    """A worker has decided."""

    answer: TurnAnswer
    done: ReportDone


class TurnRefused(NamedTuple):
    """A turn that can't be sent to any worker."""

    key: TurnKey
    reason: str


class AnsweredCall(NamedTuple):
    """The result of a remote activity or entity batch; None if nothing waits for it, as when it was answered before."""

    key: WorkKey
    result: ActivityResult | EntityBatchResult | None
    done: ReportDone


RemoteHandoff = TurnRequest | TurnAnswered | TurnRefused | AnsweredCall


def make_activity_result(answer: ActivityAnswer) -> ActivityResult:
    """Return the result of a remote activity."""
    key = (answer.key.instance, answer.key.execution, answer.key.n)
    return ActivityResult(key, None if answer.failure is not None else answer.result, answer.failure)


def make_entity_result(call: EntityBatchCall, answer: EntityBatchAnswer) -> EntityBatchResult:
    """Return the result of a remote entity batch. If it failed as a whole, each of its operations did."""
    operations = call.operations
    if not answer.results or answer.failure is not None:
        failure = answer.failure or Failure("durablecli.errors.UsageError", "the worker has returned no results")
        return _make_failed_batch(call, failure)
    answered = list(zip(operations, answer.results, strict=False))
    results = tuple(
        ev.EntityOperationResult(o.n, failure=one.failure)
        if one.failure is not None
        else ev.EntityOperationResult(o.n, one.result or ev.NULL)
        for o, one in answered
        if o.waits or one.failure is not None
    )
    starts = tuple(start if start.instance else replace(start, instance=new_id()) for start in answer.starts)
    before, after = call.state, answer.state
    event = ev.EntityBatch(
        answered[-1][0].n,
        state=ev.ABSENT if after == before else after,
        deleted=bool(before) and not after,
        results=results,
        signals=answer.signals,
        starts=starts,
    )
    return EntityBatchResult(call.key, event)


def make_refused_result(call: WorkItem, reason: str) -> ActivityResult | EntityBatchResult:
    """Return the result of a call that can't be sent to any worker."""
    failure = Failure("durablecli.errors.UsageError", reason, retryable=False)
    if isinstance(call, ActivityCall):
        return ActivityResult(call.key, None, failure)
    return _make_failed_batch(call, failure)


def _make_failed_batch(call: EntityBatchCall, failure: Failure) -> EntityBatchResult:
    results = tuple(ev.EntityOperationResult(each.n, failure=failure) for each in call.operations)
    return EntityBatchResult(call.key, ev.EntityBatch(call.operations[-1].n, results=results))
