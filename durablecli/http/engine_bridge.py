"""From the event loop to the engine and to the files, without holding up the loop.

What is posted is handed to the engine, and the coroutine goes on when the commit is on disk: however many wait, one
wake-up lets them all go on. What has to read files runs in a few threads; what it posts is kept until it is back.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import NamedTuple, TypeVar

from msgspec import Raw

from durablecli.client import Client, MessageItem, Receipt, new_message_id
from durablecli.engine.engine import Engine
from durablecli.errors import DurableError
from durablecli.model.ids import new_id

T = TypeVar("T")
_READ_THREADS = 2
_CALL_THREADS = 4
_MAX_INLINE_PARSE_BYTES = 64 * 1024
"""So many bytes are parsed while the loop waits."""


class OutgoingMessage(NamedTuple):
    """One message that is still to be posted."""

    kind: str
    items: Sequence[MessageItem]
    message_id: str


class BufferingMailbox:
    """A mailbox that keeps what is posted."""

    def __init__(self, engine: Engine) -> None:
        self.outgoing: list[OutgoingMessage] = []
        self.is_published = engine.is_published

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        outgoing = OutgoingMessage(kind, items, message or new_message_id())
        self.outgoing.append(outgoing)
        return Receipt(outgoing.message_id, [item.instance for item in items])


class EngineBridge:
    """Does what a client can do, for coroutines. Without an engine in this process it posts to the inbox."""

    def __init__(self, client: Client) -> None:
        self._root = client.root
        self._engine = client.mailbox if isinstance(client.mailbox, Engine) else None
        # Few: more of them only take the interpreter from one another, and from the loop.
        self._read_pool = DaemonThreadPool(_READ_THREADS, "durable-http-read")
        self._call_pool = DaemonThreadPool(_CALL_THREADS, "durable-http-call")
        self._thread_local = threading.local()
        self._instance_locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._completed: deque[tuple[asyncio.Future[None], DurableError | None]] = deque()
        self._wakeup_scheduled = False

    async def read(self, operation: Callable[[Client], T]) -> T:
        """What a look at the files gives."""
        return await self._read_pool.run(lambda: operation(self._get_thread_client()))

    def _get_thread_client(self) -> Client:
        """The client of the thread that asks: it is made once, as it costs a quarter of what a status does."""
        client: Client | None = getattr(self._thread_local, "client", None)
        if client is None:
            client = self._thread_local.client = Client(self._root, self._engine)
        return client

    async def call(self, operation: Callable[[Client], T]) -> T:
        """What a call that may post gives, when all that it posted is on disk."""
        if self._engine is None:
            client = Client(self._root)
            return await self._call_pool.run(lambda: operation(client))
        buffer = BufferingMailbox(self._engine)
        buffered_client = Client(self._root, buffer)
        result = await self._call_pool.run(lambda: operation(buffered_client))
        for message in buffer.outgoing:
            await self._submit(self._engine, message)
        return result

    def instance_lock(self, instance: str) -> asyncio.Lock:
        """What to hold where whoever acts on this instance next has to see what came of it."""
        return self._instance_locks.setdefault(instance, asyncio.Lock())

    async def parse(self, body: bytes, parse: Callable[[bytes], T]) -> T:
        """What a body says; a large one is parsed aside."""
        return await self._call_pool.run(lambda: parse(body)) if len(body) > _MAX_INLINE_PARSE_BYTES else parse(body)

    async def start(self, name: str, data: Raw, version: str | None = None) -> str:
        """Start an orchestration that is known to be there, under a new id; without an engine as `call` does it."""
        if self._engine is None:
            return await self.call(lambda client: client.start_new(name, None, data, version))
        item = MessageItem(new_id(), name, data, version)
        # The id is as random as that of a message would be, and the system isn't asked twice.
        await self._submit(self._engine, OutgoingMessage("start", [item], f"m-{item.instance}"))
        return item.instance

    async def _submit(self, engine: Engine, message: OutgoingMessage) -> None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()

        def on_done(error: DurableError | None) -> None:
            self._completed.append((waiting, error))
            if not self._wakeup_scheduled:
                self._wakeup_scheduled = True
                with suppress(RuntimeError):  # the loop is gone, and nobody waits any more
                    loop.call_soon_threadsafe(self._resolve_futures)

        engine.submit(*message, on_done)
        await waiting

    def _resolve_futures(self) -> None:
        self._wakeup_scheduled = False  # before looking: what is told from now on wakes again
        while self._completed:
            waiting, error = self._completed.popleft()
            if waiting.done():
                continue  # whoever asked has gone, or it was refused twice
            if error is None:
                waiting.set_result(None)
            else:
                waiting.set_exception(error)


class DaemonThreadPool:
    """A few threads that take work in order. They end when nobody has this any more, and no process waits for them."""

    def __init__(self, max_threads: int, name: str) -> None:
        self._max_threads = max_threads
        self._name = name
        self._started = 0
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        weakref.finalize(self, _stop_threads, self._queue, max_threads)

    async def run(self, call: Callable[[], T]) -> T:
        """What it gives, or raises, in one of the threads."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()
        self._queue.put(lambda: _run_call(call, waiting, loop))
        if self._started < self._max_threads:
            self._started += 1
            threading.Thread(target=_run_calls, args=(self._queue,), name=self._name, daemon=True).start()
        return await waiting


def _run_calls(queue: SimpleQueue[Callable[[], None] | None]) -> None:
    while (call := queue.get()) is not None:
        call()
        del call  # what it holds on to may be what these threads end with


def _stop_threads(queue: SimpleQueue[Callable[[], None] | None], count: int) -> None:
    for _ in range(count):
        queue.put(None)


def _run_call(call: Callable[[], T], waiting: asyncio.Future[T], loop: asyncio.AbstractEventLoop) -> None:
    if waiting.cancelled():
        return  # whoever asked has gone
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - whoever asked is told
        set_outcome: Callable[[], None] = partial(waiting.set_exception, error)
    else:
        set_outcome = partial(waiting.set_result, result)
    with suppress(RuntimeError):  # the loop is gone, and nobody waits any more
        loop.call_soon_threadsafe(lambda: None if waiting.done() else set_outcome())
