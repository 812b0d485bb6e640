"""The calls to the client of the hub that handlers share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from durablecli.client import Client
from durablecli.model.entity_id import is_entity_id
from durablecli.replay.runtime_state import RuntimeState
from durablecli.serving.engine_bridge import EngineBridge

T = TypeVar("T")


class EngineCalls:
    """Reads and submits through a bridge. A submission that has begun is finished, even if its caller goes away."""

    def __init__(self, bridge: EngineBridge) -> None:
        self._bridge = bridge
        self.read = bridge.read
        self.watch_end = bridge.watch_end

    async def submit(self, operation: Callable[[Client], T]) -> T:
        """Run an operation that may post messages; returns when all of them are on disk."""
        return await self._finish(self._bridge.call(operation))

    async def submit_for(self, instance: str, operation: Callable[[Client], T]) -> T:
        """Run an operation that must see the effects of those for the same instance that came before it."""

        async def run() -> T:
            async with self._bridge.instance_lock(instance):
                return await self._bridge.call(operation)

        return await self._finish(run())

    async def read_state(self, instance: str) -> RuntimeState | None:
        """Return the state of an instance; None if there is none. An entity isn't one here."""
        return None if is_entity_id(instance) else await self.read(lambda client: client.state(instance))

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        task.add_done_callback(_retrieve_error)  # the caller may be gone
        return await asyncio.shield(task)


def _retrieve_error(task: asyncio.Task[T]) -> None:
    if not task.cancelled():
        task.exception()
