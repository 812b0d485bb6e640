"""The client that Azure's users know: the same calls, to be awaited. A shell without logic around the sync client."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from os import PathLike
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from durablecli.client.client import Client
from durablecli.store.inbox.messages import Mailbox

C = TypeVar("C", bound=Client)
P = ParamSpec("P")
R = TypeVar("R")


def awaited(
    method: Callable[Concatenate[C, P], R],
) -> Callable[Concatenate[DurableOrchestrationClient, P], Coroutine[Any, Any, R]]:
    """The coroutine that runs this method of the client, or what a subclass has in its place, in a thread."""
    name = method.__name__

    @wraps(method)
    async def call(self: DurableOrchestrationClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        import asyncio  # only whoever awaits has it, and a verb that starts fast doesn't

        return cast("R", await asyncio.to_thread(getattr(self.client, name), *args, **kwargs))

    return call


class DurableOrchestrationClient:
    """Every method is the coroutine of `Client`'s method of that name; `client` is the client itself."""

    client: Client

    def __init__(self, state_dir: str | PathLike[str] = ".state", mailbox: Mailbox | None = None) -> None:
        self.client = Client(state_dir, mailbox)

    start_new = awaited(Client.start_new)
    start_many = awaited(Client.start_many)
    get_status = awaited(Client.get_status)
    get_status_all = awaited(Client.get_status_all)
    get_status_by = awaited(Client.get_status_by)
    get_history = awaited(Client.get_history)
    raise_event = awaited(Client.raise_event)
    terminate = awaited(Client.terminate)
    suspend = awaited(Client.suspend)
    resume = awaited(Client.resume)
    rewind = awaited(Client.rewind)
    restart = awaited(Client.restart)
    purge_instance_history = awaited(Client.purge_instance_history)
    purge_instance_history_by = awaited(Client.purge_instance_history_by)
    wait = awaited(Client.wait)
    signal_entity = awaited(Client.signal_entity)
    read_entity_state = awaited(Client.read_entity_state)
    entity = awaited(Client.entity)
    list_entities = awaited(Client.list_entities)
    count_entities = awaited(Client.count_entities)
    delete_entity = awaited(Client.delete_entity)
    purge_entities = awaited(Client.purge_entities)
    get_entity_history = awaited(Client.get_entity_history)
