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
_READING = 2
_CALLING = 4
_QUICK = 64 * 1024
"""So many bytes are parsed while the loop waits."""


class Letter(NamedTuple):
    """One message that is still to be posted."""

    kind: str
    items: Sequence[MessageItem]
    message: str


class Kept:
    """A mailbox that keeps what is posted."""

    def __init__(self, engine: Engine) -> None:
        self.letters: list[Letter] = []
        self.is_published = engine.is_published

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        letter = Letter(kind, items, message or new_message_id())
        self.letters.append(letter)
        return Receipt(letter.message, [item.instance for item in items])


class Desk:
    """Does what a client can do, for coroutines. Without an engine in this process it posts to the inbox."""

    def __init__(self, client: Client) -> None:
        self._root = client.root
        self._engine = client.mailbox if isinstance(client.mailbox, Engine) else None
        # Few: more of them only take the interpreter from one another, and from the loop.
        self._reading = Threads(_READING, "durable-http-read")
        self._calling = Threads(_CALLING, "durable-http-call")
        self._readers = threading.local()
        self._alone: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._told: deque[tuple[asyncio.Future[None], DurableError | None]] = deque()
        self._woken = False

    async def read(self, look: Callable[[Client], T]) -> T:
        """What a look at the files gives."""
        return await self._reading.do(lambda: look(self._reader()))

    def _reader(self) -> Client:
        """The client of the thread that asks: it is made once, as it costs a quarter of what a status does."""
        client: Client | None = getattr(self._readers, "client", None)
        if client is None:
            client = self._readers.client = Client(self._root, self._engine)
        return client

    async def call(self, act: Callable[[Client], T]) -> T:
        """What a call that may post gives, when all that it posted is on disk."""
        if self._engine is None:
            client = Client(self._root)
            return await self._calling.do(lambda: act(client))
        kept = Kept(self._engine)
        posting = Client(self._root, kept)
        result = await self._calling.do(lambda: act(posting))
        for letter in kept.letters:
            await self._post(self._engine, letter)
        return result

    def alone(self, instance: str) -> asyncio.Lock:
        """What to hold where whoever acts on this instance next has to see what came of it."""
        return self._alone.setdefault(instance, asyncio.Lock())

    async def parse(self, body: bytes, parse: Callable[[bytes], T]) -> T:
        """What a body says; a large one is parsed aside."""
        return await self._calling.do(lambda: parse(body)) if len(body) > _QUICK else parse(body)

    async def start(self, name: str, data: Raw, version: str | None = None) -> str:
        """Start an orchestration that is known to be there, under a new id; without an engine as `call` does it."""
        if self._engine is None:
            return await self.call(lambda client: client.start_new(name, None, data, version))
        item = MessageItem(new_id(), name, data, version)
        # The id is as random as that of a message would be, and the system isn't asked twice.
        await self._post(self._engine, Letter("start", [item], f"m-{item.instance}"))
        return item.instance

    async def _post(self, engine: Engine, letter: Letter) -> None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()

        def told(error: DurableError | None) -> None:
            self._told.append((waiting, error))
            if not self._woken:
                self._woken = True
                with suppress(RuntimeError):  # the loop is gone, and nobody waits any more
                    loop.call_soon_threadsafe(self._deliver)

        engine.submit(*letter, told)
        await waiting

    def _deliver(self) -> None:
        self._woken = False  # before looking: what is told from now on wakes again
        while self._told:
            waiting, error = self._told.popleft()
            if waiting.done():
                continue  # whoever asked has gone, or it was refused twice
            if error is None:
                waiting.set_result(None)
            else:
                waiting.set_exception(error)


class Threads:
    """A few threads that take work in order. They end when nobody has this any more, and no process waits for them."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._begun = 0
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        weakref.finalize(self, _dismiss, self._work, most)

    async def do(self, act: Callable[[], T]) -> T:
        """What it gives, or raises, in one of the threads."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()
        self._work.put(lambda: _carry_out(act, waiting, loop))
        if self._begun < self._most:
            self._begun += 1
            threading.Thread(target=_work, args=(self._work,), name=self._name, daemon=True).start()
        return await waiting


def _work(given: SimpleQueue[Callable[[], None] | None]) -> None:
    while (act := given.get()) is not None:
        act()
        del act  # what it holds on to may be what these threads end with


def _dismiss(given: SimpleQueue[Callable[[], None] | None], most: int) -> None:
    for _ in range(most):
        given.put(None)


def _carry_out(act: Callable[[], T], waiting: asyncio.Future[T], loop: asyncio.AbstractEventLoop) -> None:
    if waiting.cancelled():
        return  # whoever asked has gone
    try:
        result = act()
    except BaseException as error:  # noqa: BLE001 - whoever asked is told
        tell: Callable[[], None] = partial(waiting.set_exception, error)
    else:
        tell = partial(waiting.set_result, result)
    with suppress(RuntimeError):  # the loop is gone, and nobody waits any more
        loop.call_soon_threadsafe(lambda: None if waiting.done() else tell())
