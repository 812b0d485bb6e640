"""Connects coroutines to the engine and to the files of a hub without blocking the event loop.

A message goes to the engine, and its coroutine resumes once the commit is on disk; one wake-up of the loop resumes all
that wait. Calls that read files run in a few threads; the messages they submit are buffered until the call is over.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from msgspec import Raw

from durablecli.client import Client, MessageItem, Receipt, new_message_id
from durablecli.current_trace import read_current_trace
from durablecli.engine.engine import Engine
from durablecli.engine.monitor import EngineMonitor
from durablecli.model.ids import new_id
from durablecli.serving.daemon_threads import DaemonThreadPool
from durablecli.serving.loop_futures import LoopFutures

T = TypeVar("T")
_READ_THREADS = 2
_CALL_THREADS = 4
_MAX_INLINE_PARSE_BYTES = 64 * 1024
"""A body of up to this size is parsed on the event loop."""


class OutgoingMessage(NamedTuple):
    """A message that is to be submitted."""

    kind: str
    items: Sequence[MessageItem]
    message_id: str


class BufferingMailbox:
    """A mailbox that keeps the messages posted to it."""

    def __init__(self, engine: Engine) -> None:
        self.outgoing: list[OutgoingMessage] = []
        self._engine = engine
        self.is_on_its_way = engine.is_on_its_way
        self.list_unpublished = engine.list_unpublished
        self.watch_end = engine.watch_end

    @property
    def is_running(self) -> bool:
        return self._engine.is_running

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        outgoing = OutgoingMessage(kind, items, message or new_message_id())
        self.outgoing.append(outgoing)
        return Receipt(outgoing.message_id, [item.instance for item in items])


class EngineBridge:
    """The calls of a client, for coroutines. Without an engine in this process they post to the inbox.

    `server` is in the names of its threads. `check_names=False` also accepts functions that the engine doesn't know.
    """

    def __init__(self, client: Client, server: str = "http", *, check_names: bool = True) -> None:
        self.root = client.root
        self.watch_end = client.watch_end
        self._engine = client.mailbox if isinstance(client.mailbox, Engine) else None
        # Few threads: more of them only compete with each other and the loop for the interpreter.
        self._read_pool = DaemonThreadPool(_READ_THREADS, f"durable-{server}-read")
        self._call_pool = DaemonThreadPool(_CALL_THREADS, f"durable-{server}-call")
        self._checks_names = check_names
        self._thread_local = threading.local()
        self._instance_locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._futures: LoopFutures[None] = LoopFutures()

    async def read(self, operation: Callable[[Client], T]) -> T:
        """Run an operation that only reads."""
        return await self._read_pool.run(lambda: operation(self._get_thread_client()))

    def _get_thread_client(self) -> Client:
        """The client of this thread, made once: making one costs a quarter of a status query."""
        client: Client | None = getattr(self._thread_local, "client", None)
        if client is None:
            client = self._thread_local.client = Client(self.root, self._engine, check_names=self._checks_names)
        return client

    async def call(self, operation: Callable[[Client], T]) -> T:
        """Run an operation that may post messages; returns when all of them are on disk."""
        if self._engine is None:
            client = Client(self.root, check_names=self._checks_names)
            return await self._call_pool.run(lambda: operation(client))
        buffer = BufferingMailbox(self._engine)
        buffered_client = Client(self.root, buffer, check_names=self._checks_names)
        result = await self._call_pool.run(lambda: operation(buffered_client))
        for message in buffer.outgoing:
            await self._submit(self._engine, message)
        return result

    @property
    def monitor(self) -> EngineMonitor | None:
        """The metrics of the engine in this process; None if there is none, or no longer."""
        return self._engine.metrics if self._engine is not None and self._engine.is_running else None

    def instance_lock(self, instance: str) -> asyncio.Lock:
        """The lock to hold where the next caller has to see the effect of this one."""
        return self._instance_locks.setdefault(instance, asyncio.Lock())

    async def parse(self, body: bytes, parse: Callable[[bytes], T]) -> T:
        """Parse a body; a large one is parsed in a thread."""
        return await self._call_pool.run(lambda: parse(body)) if len(body) > _MAX_INLINE_PARSE_BYTES else parse(body)

    async def start(self, name: str, data: Raw, version: str | None, tags: dict[str, str]) -> str:
        """Start an orchestration that is known to exist, under a new id, and return the id."""
        if self._engine is None:
            return await self.call(lambda client: client.start_new(name, None, data, version, tags=tags))
        item = MessageItem(new_id(), name, data, version, tags=tags, trace=read_current_trace())
        # The instance id is random already, so the message id needs no second call for random bytes.
        await self._submit(self._engine, OutgoingMessage("start", [item], f"m-{item.instance}"))
        return item.instance

    async def _submit(self, engine: Engine, message: OutgoingMessage) -> None:
        waiting, complete = self._futures.make()
        engine.submit(*message, complete)
        await waiting
