"""The async client: the methods of the sync client as coroutines, each run in a thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import wraps
from os import PathLike
from typing import Any, Concatenate, ParamSpec, TypeVar, cast, overload

from durablecli.client.client import Client
from durablecli.client.orchestration_status import DurableOrchestrationStatus
from durablecli.client.queries import HubQueries
from durablecli.store.inbox.messages import Mailbox

C = TypeVar("C", bound=HubQueries)
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def as_coroutine(
    method: Callable[Concatenate[C, P], R],
) -> Callable[Concatenate[DurableOrchestrationClient, P], Coroutine[Any, Any, R]]:
    """Return a coroutine function that runs this method of the client, or a subclass's override, in a thread."""
    name = method.__name__

    @wraps(method)
    async def call(self: DurableOrchestrationClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        import asyncio  # slow to load, and no verb of the command line awaits anything

        return cast("R", await asyncio.to_thread(getattr(self.client, name), *args, **kwargs))

    return call


class DurableOrchestrationClient:
    """The client with `async` methods: each awaits the method of the same name of `client`."""

    client: Client

    def __init__(self, state_dir: str | PathLike[str] = ".state", mailbox: Mailbox | None = None) -> None:
        self.client = Client(state_dir, mailbox)

    start_new = as_coroutine(Client.start_new)
    start_many = as_coroutine(Client.start_many)
    get_status = as_coroutine(Client.get_status)
    get_status_all = as_coroutine(Client.get_status_all)
    get_status_by = as_coroutine(Client.get_status_by)
    get_history = as_coroutine(Client.get_history)
    get_logs = as_coroutine(Client.get_logs)
    raise_event = as_coroutine(Client.raise_event)
    terminate = as_coroutine(Client.terminate)
    suspend = as_coroutine(Client.suspend)
    resume = as_coroutine(Client.resume)
    rewind = as_coroutine(Client.rewind)
    restart = as_coroutine(Client.restart)
    fork = as_coroutine(Client.fork)
    purge_instance_history = as_coroutine(Client.purge_instance_history)
    purge_instance_history_by = as_coroutine(Client.purge_instance_history_by)
    signal_entity = as_coroutine(Client.signal_entity)
    read_entity_state = as_coroutine(Client.read_entity_state)
    entity = as_coroutine(Client.entity)
    list_entities = as_coroutine(Client.list_entities)
    count_entities = as_coroutine(Client.count_entities)
    delete_entity = as_coroutine(Client.delete_entity)
    purge_entities = as_coroutine(Client.purge_entities)
    get_entity_history = as_coroutine(Client.get_entity_history)

    @overload
    def wait(
        self, instance_id: str, timeout: timedelta | float | None = None
    ) -> Coroutine[Any, Any, DurableOrchestrationStatus]: ...
    @overload
    def wait(
        self, instance_id: str, timeout: timedelta | float | None = None, *, expected_type: type[T]
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def wait(
        self, instance_id: str, timeout: timedelta | float | None = None, *, expected_type: Any
    ) -> Coroutine[Any, Any, Any]: ...
    def wait(
        self, instance_id: str, timeout: timedelta | float | None = None, *, expected_type: Any = None
    ) -> Coroutine[Any, Any, Any]:
        """Return the status once the instance has ended, or its output as an object of the `expected_type`."""
        return _convert_output(self._wait_for_status(instance_id, timeout), expected_type)

    def _wait_for_status(
        self, instance_id: str, timeout: timedelta | float | None = None
    ) -> Coroutine[Any, Any, DurableOrchestrationStatus]:
        return as_coroutine(Client.wait)(self, instance_id, timeout)


async def _convert_output(waiting: Coroutine[Any, Any, DurableOrchestrationStatus], expected_type: Any) -> Any:
    status = await waiting
    return status if expected_type is None else status.get_output(expected_type)
