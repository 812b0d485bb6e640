"""From the event loop to the engine and to the files, without holding up the loop.

What is posted is handed to the engine, and the coroutine goes on when the commit is on disk: however many wait, one
wake-up lets them all go on. What has to read files runs in a few threads; what it posts is kept until it is back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple, TypeVar

from msgspec import Raw

from durablecli.client import Client
from durablecli.engine.cycle import Engine
from durablecli.errors import DurableError
from durablecli.model.ids import new_id
from durablecli.store.mailbox import Item, Receipt, new_message

T = TypeVar("T")
_READING = 2
_CALLING = 4


class Letter(NamedTuple):
    """One message that is still to be posted."""

    kind: str
    items: Sequence[Item]
    message: str


class Kept:
    """A mailbox that keeps what is posted."""

    def __init__(self, engine: Engine) -> None:
        self.letters: list[Letter] = []
        self.is_published = engine.is_published

    def post(self, kind: str, items: Sequence[Item], message: str | None = None) -> Receipt:
        letter = Letter(kind, items, message or new_message())
        self.letters.append(letter)
        return Receipt(letter.message, [item.instance for item in items])


class Desk:
    """Does what a client can do, for coroutines. Without an engine in this process it posts to the inbox."""

    def __init__(self, client: Client) -> None:
        self._root = client.root
        self._engine = client.mailbox if isinstance(client.mailbox, Engine) else None
        # Few: more of them only take the interpreter from one another, and from the loop.
        self._reading = ThreadPoolExecutor(_READING, "durable-http-read")
        self._calling = ThreadPoolExecutor(_CALLING, "durable-http-call")
        self._told: deque[tuple[asyncio.Future[None], DurableError | None]] = deque()
        self._woken = False

    async def read(self, look: Callable[[Client], T]) -> T:
        """What a look at the files gives."""
        return await _aside(self._reading, look, Client(self._root, self._engine))

    async def call(self, act: Callable[[Client], T]) -> T:
        """What a call that may post gives, when all that it posted is on disk."""
        if self._engine is None:
            return await _aside(self._calling, act, Client(self._root))
        kept = Kept(self._engine)
        result = await _aside(self._calling, act, Client(self._root, kept))
        for letter in kept.letters:
            await self._post(self._engine, letter)
        return result

    async def start(self, name: str, data: Raw, version: str | None = None) -> str:
        """Start an orchestration that is known to be there, under a new id; without an engine as `call` does it."""
        if self._engine is None:
            return await self.call(lambda client: client.start_new(name, None, data, version))
        item = Item(new_id(), name, data, version)
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

        engine.hand_in(*letter, told)
        await waiting

    def close(self) -> None:
        """Let the threads go."""
        for threads in (self._reading, self._calling):
            threads.shutdown(wait=False, cancel_futures=True)

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


async def _aside(threads: ThreadPoolExecutor, do: Callable[[Client], T], client: Client) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, do, client)
