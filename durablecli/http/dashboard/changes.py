"""Changes: the stream of server-sent events that has the open pages ask for their content again.

An event says only that something may have changed. The pages together take only a small share of the processor; a page
that isn't visible has no stream, so that it costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from time import monotonic

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from durablecli.client import Client
from durablecli.http.dashboard.site import PAGE_HEADERS, DashboardSite
from durablecli.http.requests import ApiRequest, ApiRoute

_POLL_INTERVAL = 0.5
_TICK = 10.0
_KEEP_ALIVE_POLLS = 30
_EVENT = b"event: change\ndata:\n\n"
_COMMENT = b":\n\n"


class ChangesStream:
    """The streams for the whole hub and for one instance or entity."""

    def __init__(self, site: DashboardSite) -> None:
        self._site = site

    @property
    def routes(self) -> list[ApiRoute]:
        return [ApiRoute("GET", "ui/changes", self.stream)]

    async def stream(self, request: ApiRequest) -> Response:
        """Stream an event now, and one whenever the hub or the instance has changed."""
        instance = request.query.text("id")
        if instance is None:
            return stream_changes(self._site, request.raw, lambda client: client.change_token())

        def read_token(client: Client) -> object:
            # Now and then an event without a change: the page says how long something has taken so far.
            return client.live_token(instance), int(monotonic() / _TICK)

        return stream_changes(self._site, request.raw, read_token)


def stream_changes(site: DashboardSite, request: Request, read_token: Callable[[Client], object]) -> Response:
    """Stream an event now, and one when the token has changed, as soon as the budget of live pages allows it."""

    async def events() -> AsyncIterator[bytes]:
        token = await site.bridge.read(read_token)
        yield _EVENT
        has_changed, polls = False, 0
        while True:
            await asyncio.sleep(_POLL_INTERVAL)
            if site.shutdown.requested:
                return
            current, before = await site.bridge.read(read_token), token
            token, polls = current, polls + 1
            has_changed |= current != before
            if has_changed and not site.budget.is_spent:
                has_changed, polls = False, 0
                yield _EVENT
            elif polls >= _KEEP_ALIVE_POLLS:
                polls = 0
                yield _COMMENT

    return StreamingResponse(events(), 200, PAGE_HEADERS, "text/event-stream")
