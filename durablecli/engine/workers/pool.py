"""What runs user code: the protocol of the worker pools, and the calls that they run.

A batch of calls costs one hand-off and one wake-up. A pool reports each result once, from any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from durablecli.engine.workers.activity import ActivityCall, ActivityResult
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.entity_batch import EntityBatchCall, EntityBatchResult

WorkItem = ActivityCall | EntityBatchCall
"""A call of one activity, or of the operations of one entity."""
ReportResult = Callable[[ActivityResult | EntityBatchResult], None]
"""Takes a result; thread-safe."""


class WorkerPool(Protocol):
    """Runs calls in parallel, up to its capacity, and queues the rest in order."""

    def start(self, calls: Iterable[WorkItem]) -> None: ...
    def cancel(self, key: WorkKey) -> None:
        """Stop a running call where that is possible. A queued one is dropped when its turn comes."""
        ...

    def expire(self, call: WorkItem) -> None:
        """Stop a running call that has timed out. Its slot is free for the next one at once, or soon."""
        ...

    def notify_cancel(self, key: WorkKey) -> None:
        """Pass a cancellation request on to a running call that can't see it by itself."""
        ...

    def pause(self) -> None:
        """Start nothing more; running calls continue."""
        ...

    def maintain(self) -> None:
        """Retry what couldn't be started for lack of threads. Called about once a second."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether a call is running."""
        ...

    @property
    def capacity(self) -> int:
        """How many calls may run at the same time."""
        ...

    @property
    def queue_length(self) -> int:
        """How many calls wait for a running one to end."""
        ...

    def start_times(self) -> dict[WorkKey, float]:
        """Return the running calls, each with the monotonic time of its start."""
        ...

    def stop(self) -> None: ...
