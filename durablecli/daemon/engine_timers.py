"""Timer functions on another engine: each has its orchestration there, which the first worker starts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from durablecli.builtin import timer_starts
from durablecli.daemon.assembly import Echo
from durablecli.dts.address import EngineAddress
from durablecli.engine.thread_start import start_thread
from durablecli.errors import Conflict, DurableError
from durablecli.model.ids import new_id
from durablecli.model.payloads import decode
from durablecli.registry import Registry
from durablecli.store.inbox.messages import MessageItem, Receipt

if TYPE_CHECKING:  # imports grpc
    from durablecli.dts.engine_client import EngineClient


def register_timer_functions(registry: Registry) -> None:
    """Add the orchestrator of timer functions, and the activities that call them."""
    if not registry.functions_of_kind("timer"):
        return
    from durablecli.builtin import timer_functions  # slow to import, and few apps have some

    timer_functions.register_timers(registry, lambda: cast("Any", None))  # functions that want a client are left out


class EngineTimers:
    """Ensures, once the engine is reached, that each timer function has its orchestration with its schedule.

    Those of functions that this app doesn't have are left alone: another worker may have them.
    """

    def __init__(self, registry: Registry, address: EngineAddress, since: datetime, echo: Echo) -> None:
        self._registry = registry
        self._address = address
        self._since = since
        self._echo = echo

    def start(self) -> None:
        """Begin, in a thread: the engine may take its time."""
        if self._registry.functions_of_kind("timer"):
            start_thread(threading.Thread(target=self._ensure, name="durable-timers", daemon=True))

    def _ensure(self) -> None:
        from durablecli.dts.engine_client import open_client_at

        try:
            client = open_client_at(self._address)
            timer_starts.ensure_timers(
                self._registry,
                cast("Any", client),  # it has the methods that are needed
                _EngineMailbox(client),
                self._since,
                is_complete=False,
                warn=self._echo,
            )
        except DurableError as error:
            self._echo(f"timer functions were not started: {error}")


class _EngineMailbox:
    """Sends messages by a client of the engine."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        for item in items:
            self._send(kind, item)
        return Receipt(message or new_id(), [item.instance for item in items])

    def _send(self, kind: str, item: MessageItem) -> None:
        if kind == "terminate":
            self._client.terminate(item.instance, item.reason or "")
        elif kind == "raise-event":
            self._client.raise_event(item.instance, item.name or "", decode(item.input))
        else:
            try:
                self._client.start_new(item.name or "", item.instance, decode(item.input))
            except Conflict:
                return  # another worker was faster
