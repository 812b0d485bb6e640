"""Reports which calls are queued, for what they wait, and how many are before them; bounded, however many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.dispatcher import Dispatcher, pool_kind
from durablecli.engine.workers.pool import WorkItem
from durablecli.store.engine_info import LimitedFunction

MAX_ENTRIES = 1_000
_MAX_COUNTED = 20_000
_MAX_OF_EXECUTION = 100


class QueuedCall(NamedTuple):
    """A call that is queued behind `ahead` others, for the limit of its function if it has a `key`."""

    call: WorkItem
    ahead: int
    key: str | None


def list_queued(dispatcher: Dispatcher, running: Collection[WorkKey]) -> list[QueuedCall]:
    """Return the first calls that are queued, not too many of one execution."""
    calls = [call for call in islice(dispatcher.iter_in_flight(), _MAX_COUNTED) if call.key not in running]
    if any(call.priority for call in calls):
        calls.sort(key=lambda call: -call.priority)
    ahead: Counter[object] = Counter()
    of_execution: Counter[tuple[str, str]] = Counter()
    found: list[QueuedCall] = []
    for call in calls:
        limited = dispatcher.limited.limiter.find_queue(call.key)
        queue = pool_kind(call) if limited is None else limited
        execution = call.key[:2]
        of_execution[execution] += 1
        if len(found) < MAX_ENTRIES and of_execution[execution] <= _MAX_OF_EXECUTION:
            found.append(QueuedCall(call, ahead[queue], None if limited is None else limited[1]))
        ahead[queue] += 1
    return found


def list_limited(dispatcher: Dispatcher, now: datetime) -> Iterator[LimitedFunction]:
    """Yield the functions and keys whose limits hold calls back."""
    for each in islice(dispatcher.limited.limiter.list_queues(), MAX_ENTRIES):
        rate, next_at = None, None
        if each.next_in is not None:
            rate, next_at = str(each.options.rate), now + timedelta(seconds=each.next_in)
        limit = each.options.max_concurrency
        yield LimitedFunction(each.name, each.key, each.running, each.queued, limit, rate, next_at)
