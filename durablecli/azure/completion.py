"""Waiting for an instance: what to do at each look, and for how long to pause before the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from durablecli.azure.client_binding import Links, Request
from durablecli.azure.durabletask_types import OrchestrationState
from durablecli.azure.http_types import HttpResponse
from durablecli.client import Client, DurableOrchestrationStatus
from durablecli.model.status import OrchestrationRuntimeStatus

_JSON = "application/json"
_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.2


def has_begun(status: DurableOrchestrationStatus) -> bool:
    """Whether an engine has begun it."""
    return status.runtime_status is not OrchestrationRuntimeStatus.Pending


def has_ended(status: DurableOrchestrationStatus) -> bool:
    """Whether nothing will happen any more."""
    return status.ended


class Wait:
    """Looks at an instance, soon at first and less often later, until it is as it should be."""

    def __init__(
        self,
        client: Client,
        instance_id: str,
        enough: Callable[[DurableOrchestrationStatus], bool],
        seconds: float,
        longest_pause: float = _LONGEST_PAUSE,
    ) -> None:
        self.status = DurableOrchestrationStatus(instance_id=instance_id)
        self._client = client
        self._enough = enough
        self._until = time.monotonic() + seconds
        self._longest = longest_pause
        self._pause = min(_FIRST_PAUSE, longest_pause)

    @property
    def satisfied(self) -> bool:
        """Whether the last look was enough."""
        return bool(self.status) and self._enough(self.status)

    def look(self) -> float:
        """Look once; the seconds to pause before the next look, 0.0 when there is nothing to wait for any more."""
        self.status = self._client.get_status(self.status.instance_id)
        left = self._until - time.monotonic()
        if not self.status or self.satisfied or left <= 0:
            return 0.0
        pause, self._pause = min(self._pause, left), min(self._pause * 1.5, self._longest)
        return pause

    def state(self, fetch_payloads: bool) -> OrchestrationState | None:
        """What was waited for; raises TimeoutError if it wasn't to be had."""
        if self.status and not self.satisfied:
            raise TimeoutError(f"Timed-out waiting for the orchestration {self.status.instance_id}")
        return OrchestrationState.of(self.status, fetch_payloads)


class Completion(Wait):
    """Waits for an instance to end, for whoever wants an answer in any case."""

    def __init__(
        self,
        client: Client,
        links: Links,
        request: Request | None,
        instance_id: str,
        timeout: int,
        interval: int,
        error_on_failure: bool,
    ) -> None:
        if interval > timeout:
            raise ValueError(f"Total timeout {timeout} (ms) should be bigger than retry timeout {interval} (ms)")
        super().__init__(client, instance_id, has_ended, timeout / 1000, max(interval / 1000, _FIRST_PAUSE))
        self._links = links
        self._request = request
        self._error_on_failure = error_on_failure

    def answer(self) -> HttpResponse:
        """The answer to whoever started the instance."""
        if not self.satisfied:
            instance = self.status.instance_id
            return self._links.create_check_status_response(self._request, instance, self._error_on_failure)
        if self.status.runtime_status is OrchestrationRuntimeStatus.Completed:
            output = self.status.output
            return _answer(200, output if isinstance(output, str) else bytes(self.status.redacted_output))
        failed = self.status.runtime_status is OrchestrationRuntimeStatus.Failed
        return _answer(500 if failed and self._error_on_failure else 200, msgspec.json.encode(self.status.to_json()))


def slept(wait: Wait) -> None:
    """Wait in this thread."""
    while pause := wait.look():
        time.sleep(pause)


async def paused(wait: Wait) -> None:
    """Wait without holding up a thread between the looks."""
    while pause := await asyncio.to_thread(wait.look):  # noqa: ASYNC110 - what changes is a file
        await asyncio.sleep(pause)


def _answer(status: int, body: str | bytes) -> HttpResponse:
    return HttpResponse(body, status_code=status, headers={"Content-Type": _JSON}, mimetype=_JSON)
