"""Waiting for an instance: what to do at each look, and for how long to pause before the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from durablecli.azure.client_binding import HttpManagementMixin, RequestLike
from durablecli.azure.durabletask_types import OrchestrationState
from durablecli.azure.http_types import HttpResponse
from durablecli.client import Client, DurableOrchestrationStatus
from durablecli.client.polling import MAX_POLL_INTERVAL, Poller
from durablecli.model.status import OrchestrationRuntimeStatus

_JSON_TYPE = "application/json"
_MIN_POLL_INTERVAL = 0.005


def has_started(status: DurableOrchestrationStatus) -> bool:
    """Whether an engine has begun it."""
    return status.runtime_status is not OrchestrationRuntimeStatus.Pending


def has_ended(status: DurableOrchestrationStatus) -> bool:
    """Whether nothing will happen any more."""
    return status.ended


class StatusPoller:
    """Looks at an instance, soon at first and less often later, until it is as it should be."""

    def __init__(
        self,
        client: Client,
        instance_id: str,
        predicate: Callable[[DurableOrchestrationStatus], bool],
        seconds: float,
        max_interval: float = MAX_POLL_INTERVAL,
    ) -> None:
        self.status = DurableOrchestrationStatus(instance_id=instance_id)
        self._client = client
        self._predicate = predicate
        self._poller = Poller(seconds, min_interval=_MIN_POLL_INTERVAL, max_interval=max_interval)

    @property
    def satisfied(self) -> bool:
        """Whether the last look was enough."""
        return bool(self.status) and self._predicate(self.status)

    def poll(self) -> float:
        """Look once; the seconds to pause before the next look, 0.0 when there is nothing to wait for any more."""
        self.status = self._client.get_status(self.status.instance_id)
        if not self.status or self.satisfied:
            return 0.0
        return self._poller.next_pause()

    def state(self, fetch_payloads: bool) -> OrchestrationState | None:
        """What was waited for; raises TimeoutError if it wasn't to be had."""
        if self.status and not self.satisfied:
            raise TimeoutError(f"Timed-out waiting for the orchestration {self.status.instance_id}")
        return OrchestrationState.from_status(self.status, fetch_payloads)


class CompletionPoller(StatusPoller):
    """Waits for an instance to end, for whoever wants an answer in any case."""

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
        """The answer to whoever started the instance."""
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


def wait_sync(poller: StatusPoller) -> None:
    """Wait in this thread."""
    while pause := poller.poll():
        time.sleep(pause)


async def wait_async(poller: StatusPoller) -> None:
    """Wait without holding up a thread between the looks."""
    while pause := await asyncio.to_thread(poller.poll):  # noqa: ASYNC110 - what changes is a file
        await asyncio.sleep(pause)


def _json_response(status: int, body: str | bytes) -> HttpResponse:
    return HttpResponse(body, status_code=status, headers={"Content-Type": _JSON_TYPE}, mimetype=_JSON_TYPE)
