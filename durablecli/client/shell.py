"""The client that Azure's users know: the same calls, to be awaited. A shell without logic around the sync client."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from os import PathLike
from typing import Any, Concatenate, ParamSpec, TypeVar

from durablecli.client.client import Client
from durablecli.store.mailbox import Mailbox

P = ParamSpec("P")
R = TypeVar("R")


def _awaited(
    method: Callable[Concatenate[Client, P], R],
) -> Callable[Concatenate[DurableOrchestrationClient, P], Coroutine[Any, Any, R]]:
    @wraps(method)
    async def call(self: DurableOrchestrationClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        import asyncio  # only whoever awaits has it, and a verb that starts fast doesn't

        return await asyncio.to_thread(method, self.client, *args, **kwargs)

    return call


class DurableOrchestrationClient:
    """Every method is the coroutine of `Client`'s method of that name; `client` is the client itself."""

    def __init__(self, state_dir: str | PathLike[str] = ".state", mailbox: Mailbox | None = None) -> None:
        self.client = Client(state_dir, mailbox)

    start_new = _awaited(Client.start_new)
    start_many = _awaited(Client.start_many)
    get_status = _awaited(Client.get_status)
    get_status_all = _awaited(Client.get_status_all)
    get_status_by = _awaited(Client.get_status_by)
    get_history = _awaited(Client.get_history)
    raise_event = _awaited(Client.raise_event)
    terminate = _awaited(Client.terminate)
    suspend = _awaited(Client.suspend)
    resume = _awaited(Client.resume)
    rewind = _awaited(Client.rewind)
    restart = _awaited(Client.restart)
    purge_instance_history = _awaited(Client.purge_instance_history)
    purge_instance_history_by = _awaited(Client.purge_instance_history_by)
    wait = _awaited(Client.wait)
    signal_entity = _awaited(Client.signal_entity)
    read_entity_state = _awaited(Client.read_entity_state)
    entity = _awaited(Client.entity)
    list_entities = _awaited(Client.list_entities)
    count_entities = _awaited(Client.count_entities)
    delete_entity = _awaited(Client.delete_entity)
    purge_entities = _awaited(Client.purge_entities)
    get_entity_history = _awaited(Client.get_entity_history)
