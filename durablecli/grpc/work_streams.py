"""The streams of work items to workers, with pings while there are none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any
from urllib.parse import unquote

from durablecli.engine.remote_connections import WorkerConnection
from durablecli.engine.remote_queues import WorkerLimits, WorkFilters
from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.grpc.call_errors import stopping_error
from durablecli.grpc.process_sockets import ConnectedPeers
from durablecli.grpc.rpc_router import Calls
from durablecli.grpc.sent_activities import SentActivities
from durablecli.protocol.generated import pb
from durablecli.protocol.work_items import SESSIONS_METADATA, make_work_item
from durablecli.replay.remote_work import RemoteActivity, RemoteTurn, RemoteWork, RemoteWorkKey
from durablecli.serving.daemon_threads import DaemonThreadPool

_log = logging.getLogger("durablecli.grpc")
_MIN_PING_INTERVAL = 0.1
_CLOSED_GRACE = 5.0
"""Seconds for which a worker that has closed its stream may still answer before others get its work."""
_MIN_BREAK_PAUSE, _MAX_BREAK_PAUSE = 0.05, 0.5
"""Seconds between looks at the socket: that of a broken connection is gone soon, but not always at once."""
_LARGE_MESSAGE = 4 * 1024 * 1024
"""Bytes that a client of grpc accepts by default."""
_LONG_PAST = 500
"""A history of more turns takes above 10 ms to translate, and is translated beside the event loop."""
_MAX_CLOSES = 3
_MAX_COUNTED = 1_000
_MAX_PAUSE = 0.5  # a server that shuts down is noticed in time
_LAST_PAUSE = 0.1
"""Seconds in which the last answer of a worker is acknowledged before its stream ends."""


class WorkStreams:
    """The handler. `ping_interval` is in seconds; a message above `message_limit` bytes can't be sent."""

    def __init__(
        self,
        pool: RemoteWorkPool,
        sent: SentActivities,
        is_stopping: Callable[[], bool],
        *,
        ping_interval: float,
        message_limit: int,
    ) -> None:
        self._pool = pool
        self._sent = sent
        self._is_stopping = is_stopping
        self._ping_interval = max(ping_interval, _MIN_PING_INTERVAL)
        self._message_limit = message_limit
        self._closed_by: dict[RemoteWorkKey, int] = {}
        """How often a stream has ended with a large message, by the work."""
        self._peers = ConnectedPeers()
        self._threads = DaemonThreadPool(1, "durable-grpc-history")
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def calls(self) -> Calls:
        return Calls({}, {"GetWorkItems": self.stream})

    async def stream(self, request: Any, context: Any) -> AsyncGenerator[Any, None]:
        """Yield work items until the worker goes away."""
        wakeup = _Wakeup()
        peer = context.peer()  # after the end of the call grpc may read freed memory for it
        connection = self._pool.connect(
            _read_filters(request),
            _read_limits(request),
            wakeup.set,
            request.worker_instance_id or _format_peer(peer),
            keeps_sessions=any(name == SESSIONS_METADATA for name, _ in context.invocation_metadata() or ()),
        )
        large: dict[RemoteWorkKey, int] = {}
        sent_at = monotonic()
        try:
            while True:
                wakeup.clear()
                large.clear()
                while not self._is_stopping() and (work := connection.take()) is not None:
                    if (item := await self._make_item(work)) is not None:
                        if (size := item.ByteSize()) > _LARGE_MESSAGE:
                            large[work.key] = size
                        yield item
                        sent_at = monotonic()
                if not await self._wait(wakeup, connection, sent_at + self._ping_interval):
                    yield pb.WorkItem(healthPing=pb.HealthPing())
                    sent_at = monotonic()
        finally:
            self._count_closed(large)
            if self._is_stopping():
                connection.close()
            else:
                self._close_later(connection, peer)

    def _count_closed(self, large: Mapping[RemoteWorkKey, int]) -> None:
        """Count the large messages with which a stream has ended. A worker that doesn't accept them closes its stream
        each time, and gives back all other work as well."""
        for key, size in large.items():
            count = self._closed_by.pop(key, 0) + 1
            if count >= _MAX_CLOSES:
                self._pool.refuse(
                    key,
                    f"its worker closes the connection when it gets the next message, which has {size:,} bytes: have "
                    "the worker accept larger ones (grpc.max_receive_message_length)",
                )
                continue
            self._closed_by[key] = count
            while len(self._closed_by) > _MAX_COUNTED:
                del self._closed_by[next(iter(self._closed_by))]

    async def _make_item(self, work: RemoteWork) -> Any:
        """Return the work item; None for one that can't be sent, which is refused: the other work goes on."""
        is_long = isinstance(work, RemoteTurn) and len(work.past) > _LONG_PAST
        try:
            item = await self._threads.run(partial(make_work_item, work)) if is_long else make_work_item(work)
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this work alone
            _log.error("can't make a work item of %s", work.key, exc_info=error)
            self._pool.refuse(work.key, "internal error: the next message to its worker can't be made; see the log")
            return None
        size = item.ByteSize()
        if size > self._message_limit:
            self._pool.refuse(
                work.key,
                f"the next message to its worker has {size:,} bytes, and at most {self._message_limit:,} can be sent: "
                "raise grpc.message_limit",
            )
            return None
        if isinstance(work, RemoteActivity):
            self._sent.add(work.key, item.activityRequest.taskId)
        return item

    async def _wait(self, wakeup: _Wakeup, connection: WorkerConnection, ping_at: float) -> bool:
        """Wait until there may be work. False if it is time for a ping, also if the stream is woken often for nothing.

        A server that shuts down ends the stream once its worker has no calls: one whose stream ends drops its answers.
        """
        while (remaining := ping_at - monotonic()) > 0:
            is_over = self._is_stopping() and not connection.call_count
            if await wakeup.wait(min(remaining, _LAST_PAUSE if is_over else _MAX_PAUSE)):
                return True
            if is_over:
                raise stopping_error()
        return False

    def _close_later(self, connection: WorkerConnection, peer: str) -> None:
        task = asyncio.get_running_loop().create_task(self._close(connection, peer, monotonic()))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, connection: WorkerConnection, peer: str, ended_at: float) -> None:
        """Give back the work of a worker: at once if its connection is broken, later if only the stream is closed."""
        connection.close(_CLOSED_GRACE)
        pause, waited = _MIN_BREAK_PAUSE, 0.0
        while waited < _CLOSED_GRACE and self._peers.has(peer, ended_at):
            await asyncio.sleep(pause)
            waited += pause
            pause = min(2 * pause, _MAX_BREAK_PAUSE)
        connection.close()


class _Wakeup:
    """An event of the running loop that any thread may set, however often, at little cost."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._is_scheduled = False

    def set(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._event.set)

    def clear(self) -> None:
        self._event.clear()
        self._is_scheduled = False  # after it, so that what is set from now on wakes the stream again

    async def wait(self, seconds: float) -> bool:
        """Whether the event is set, now or within `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for may ignore that it is cancelled, before Python 3.12
                await self._event.wait()
        return self._event.is_set()


def _read_limits(request: Any) -> WorkerLimits:
    limits = (
        request.maxConcurrentOrchestrationWorkItems,
        request.maxConcurrentActivityWorkItems,
        request.maxConcurrentEntityWorkItems,
    )
    return WorkerLimits(*(max(0, limit) for limit in limits))


def _format_peer(peer: str) -> str:
    """Format the address of a worker: without its kind, `ipv4:` or `ipv6:`."""
    kind, _, address = peer.partition(":")
    return unquote(address) if kind in ("ipv4", "ipv6") else peer


def _read_filters(request: Any) -> WorkFilters | None:
    """Return the names that a worker runs, with their versions; None if it runs everything."""
    if not request.HasField("workItemFilters"):
        return None
    given = request.workItemFilters
    orchestrators: dict[str, frozenset[str]] = {}
    activities: dict[str, frozenset[str]] = {}
    for names, filters in ((orchestrators, given.orchestrations), (activities, given.activities)):
        for each in filters:
            names[each.name] = names.get(each.name, frozenset()) | frozenset(each.versions)
    return WorkFilters(orchestrators, activities, {each.name.lower(): frozenset() for each in given.entities})
