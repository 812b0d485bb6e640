"""The notice at the top of each page on changed code that doesn't run; kept current where code is reloaded."""

from __future__ import annotations

from starlette.responses import Response

from durablecli.http.dashboard.changes import stream_changes
from durablecli.http.dashboard.site import DashboardSite
from durablecli.http.requests import ApiRequest, ApiRoute


class CodeBanner:
    """Serves the notice alone, and the stream of its changes."""

    def __init__(self, site: DashboardSite) -> None:
        self._site = site

    @property
    def routes(self) -> list[ApiRoute]:
        return [ApiRoute("GET", "ui/code", self.show), ApiRoute("GET", "ui/code/changes", self.stream)]

    async def show(self, request: ApiRequest) -> Response:
        """Respond with the notice."""
        return self._site.render(request, "code_notice.html")

    async def stream(self, request: ApiRequest) -> Response:
        """Stream an event now, and one whenever the notice has changed."""
        return stream_changes(self._site, request.raw, lambda client: self._site.code_notice)
