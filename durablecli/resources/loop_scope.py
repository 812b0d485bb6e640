"""The async resources that the activities on an event loop share.

Each is set up and torn down by a task of its own: some libraries want both in the same task, and the end of the
activity that needed it first must not end the set-up for the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import Any
from weakref import WeakKeyDictionary

from durablecli.resources.declarations import Resource
from durablecli.resources.shared_scopes import log_teardown_error

GetArguments = Callable[[], Awaitable[Mapping[str, Any]]]

_scopes: WeakKeyDictionary[asyncio.AbstractEventLoop, list[LoopScope]] = WeakKeyDictionary()
"""The scopes of each event loop, one for each app."""


class LoopScope:
    """Sets up each resource once, when it is first needed. Used on its event loop only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._holders: dict[Resource, _Holder] = {}
        self._order: list[_Holder] = []
        _scopes.setdefault(loop, []).append(self)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tear down."""
        return not self._holders

    async def get(self, resource: Resource, get_arguments: GetArguments) -> Any:
        """Return the value of a resource. Raises what its set-up raises, which the next call tries again."""
        holder = self._holders.get(resource)
        if holder is None:
            holder = self._holders[resource] = _Holder(resource)
            # In a context of its own: its output is not that of the activity that happens to need it first.
            holder.task = self._loop.create_task(self._hold(holder, get_arguments), context=Context())
        return await asyncio.shield(holder.ready)

    async def _hold(self, holder: _Holder, get_arguments: GetArguments) -> None:
        try:
            async with holder.resource.open_async(await get_arguments()) as value:
                self._order.append(holder)
                holder.ready.set_result(value)
                await holder.released.wait()
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            if holder.ready.done():
                if not isinstance(error, asyncio.CancelledError):
                    log_teardown_error(holder.resource, error)
            else:
                holder.ready.set_exception(error)
                holder.ready.exception()  # all that wait may have been cancelled
        finally:
            if self._holders.get(holder.resource) is holder:
                del self._holders[holder.resource]

    async def close(self) -> None:
        """Tear down all resources, the last first. What that raises is logged."""
        order, self._order = self._order, []
        for holder in reversed(order):
            if self._holders.get(holder.resource) is holder:
                del self._holders[holder.resource]
            holder.released.set()
            assert holder.task is not None
            await asyncio.wait([holder.task])


class _Holder:
    """The task that holds a resource: `ready` has its value once it is set up, and `released` has it torn down."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.released = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


def has_resources(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether an event loop has resources to tear down."""
    return any(not scope.is_empty for scope in _scopes.get(loop, ()))


async def close_loop_scopes() -> None:
    """Tear down the resources of the current event loop, which is about to end."""
    for scope in _scopes.pop(asyncio.get_running_loop(), []):
        await scope.close()
