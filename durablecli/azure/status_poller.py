"""Waiting for an instance to start or to end, in a thread or on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from threading import Event
from typing import TypeVar

import msgspec

from durablecli.azure.client_binding import JSON_TYPE, HttpManagementMixin, RequestLike
from durablecli.azure.client_results import make_state
from durablecli.azure.durabletask_types import OrchestrationState
from durablecli.azure.http_types import HttpResponse
from durablecli.client import Client, DurableOrchestrationStatus
from durablecli.client.loop_event import LoopEvent
from durablecli.client.polling import MAX_POLL_INTERVAL, Poller
from durablecli.model.status import OrchestrationRuntimeStatus
from durablecli.store.publication import EndSignal

_MIN_POLL_INTERVAL = 0.005


def has_started(status: DurableOrchestrationStatus) -> bool:
    """Whether an engine has started the instance."""
    return status.runtime_status is not OrchestrationRuntimeStatus.Pending


def has_ended(status: DurableOrchestrationStatus) -> bool:
    """Whether the instance has ended."""
    return status.ended


class StatusPoller:
    """Polls the status of an instance until a predicate holds, or until `timeout` (in seconds) has passed.

    When it waits for the end, an engine in this process wakes it, and it polls only every few seconds.
    """

    def __init__(
        self,
        client: Client,
        instance_id: str,
        predicate: Callable[[DurableOrchestrationStatus], bool],
        timeout: timedelta | float | None,
        max_interval: float = MAX_POLL_INTERVAL,
    ) -> None:
        self.status = DurableOrchestrationStatus(instance_id=instance_id)
        self._client = client
        self._predicate = predicate
        self._poller = Poller(timeout, min_interval=_MIN_POLL_INTERVAL, max_interval=max_interval)

    @property
    def satisfied(self) -> bool:
        """Whether the predicate held at the last poll."""
        return bool(self.status) and self._predicate(self.status)

    def watch(self, signal: EndSignal) -> AbstractContextManager[bool]:
        """Have the signal set when there is something to poll; False if nobody does that."""
        if self._predicate is not has_ended:
            return nullcontext(False)
        return self._client.watch_end(self.status.instance_id, signal)

    def poll(self, watched: bool) -> float:
        """Poll once; returns the seconds to pause before the next poll, 0.0 if there is nothing left to wait for."""
        self.status = self._client.get_status(self.status.instance_id)
        if not self.status or self.satisfied:
            return 0.0
        return self._poller.watching_pause() if watched else self._poller.next_pause()

    def state(self, fetch_payloads: bool) -> OrchestrationState | None:
        """The state at the last poll; raises TimeoutError if the predicate didn't hold."""
        if self.status and not self.satisfied:
            raise TimeoutError(f"Timed-out waiting for the orchestration {self.status.instance_id}")
        return make_state(self._client, self.status, fetch_payloads)


class CompletionPoller(StatusPoller):
    """Polls until an instance has ended, and makes a response whether it has or not."""

    def __init__(
        self,
        client: Client,
        links: HttpManagementMixin,
        request: RequestLike | None,
        instance_id: str,
        timeout: int,
        interval: int,
        error_on_failure: bool,
    ) -> None:
        if interval > timeout:
            raise ValueError(f"Total timeout {timeout} (ms) should be bigger than retry timeout {interval} (ms)")
        super().__init__(client, instance_id, has_ended, timeout / 1000, max(interval / 1000, _MIN_POLL_INTERVAL))
        self._links = links
        self._request = request
        self._error_on_failure = error_on_failure

    def make_response(self) -> HttpResponse:
        """The output, the status or the links of the instance."""
        if not self.satisfied:
            instance = self.status.instance_id
            return self._links.create_check_status_response(self._request, instance, self._error_on_failure)
        if self.status.runtime_status is OrchestrationRuntimeStatus.Completed:
            output = self.status.output
            return _json_response(200, output if isinstance(output, str) else bytes(self.status.shown_output))
        failed = self.status.runtime_status is OrchestrationRuntimeStatus.Failed
        return _json_response(
            500 if failed and self._error_on_failure else 200, msgspec.json.encode(self.status.to_json())
        )


P = TypeVar("P", bound=StatusPoller)


def wait_sync(poller: P) -> P:
    """Wait in this thread; returns the poller."""
    while True:
        signal = Event()
        with poller.watch(signal) as watched:
            if not (pause := poller.poll(watched)):
                return poller
            signal.wait(pause)


async def wait_async(poller: P) -> P:
    """Wait on the event loop, where only the polls take a thread; returns the poller."""
    while True:
        signal = LoopEvent()
        with poller.watch(signal) as watched:
            if not (pause := await asyncio.to_thread(poller.poll, watched)):
                return poller
            await signal.wait(pause)


def _json_response(status: int, body: str | bytes) -> HttpResponse:
    return HttpResponse(body, status_code=status, headers={"Content-Type": JSON_TYPE}, mimetype=JSON_TYPE)
