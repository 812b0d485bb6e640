"""The dashboard as an ASGI app: who may see it, and which page answers which request.

To add a page, write a class with `routes` in a module of its own, and add it in `Dashboard.__init__`.
"""

from __future__ import annotations

import logging
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from durablecli.client import Client
from durablecli.errors import DurableError
from durablecli.http.dashboard.bulk_page import BulkPage
from durablecli.http.dashboard.changes import ChangesStream
from durablecli.http.dashboard.code_banner import CodeBanner
from durablecli.http.dashboard.entity_pages import EntityPages
from durablecli.http.dashboard.forms import check_sender
from durablecli.http.dashboard.functions_page import FunctionsPage
from durablecli.http.dashboard.hub_page import HubPage
from durablecli.http.dashboard.instance_list_page import InstanceListPage
from durablecli.http.dashboard.instance_page import InstancePage
from durablecli.http.dashboard.live_budget import is_update
from durablecli.http.dashboard.login_page import LoginPage
from durablecli.http.dashboard.schedules_page import SchedulesPage
from durablecli.http.dashboard.sessions import LoginSessions
from durablecli.http.dashboard.site import PAGE_HEADERS, DashboardSite, is_fragment
from durablecli.http.dashboard.start_page import StartPage
from durablecli.http.dashboard.static_files import static_response
from durablecli.http.dashboard.verb_page import VerbPage
from durablecli.http.origins import SAFE_METHODS
from durablecli.http.requests import ApiRequest, ApiRoute, QueryParams, get_request_url, split_path
from durablecli.http.responses import ApiError, Shutdown, internal_error, route_not_found, to_api_error
from durablecli.registry import Registry
from durablecli.serving.api_keys import ApiKeys

PATH = "/ui"
_log = logging.getLogger("durablecli.http")
_TITLES = {400: "That request isn't right", 403: "Not allowed", 404: "Not found", 409: "Not possible now"}


class Dashboard:
    """All pages. `port` is that of the server: the cookies of two servers on one machine must have different names."""

    def __init__(
        self,
        client: Client,
        keys: ApiKeys,
        registry: Registry | None = None,
        shutdown: Shutdown | None = None,
        port: int = 0,
    ) -> None:
        self._site = site = DashboardSite(client, keys, registry, shutdown or Shutdown())
        self._sessions = LoginSessions(keys, f"durable_session_{port}")
        self._public_routes = [
            *LoginPage(site, self._sessions).routes,
            ApiRoute("GET", "ui/static/{name}", self._get_static),
        ]
        self._routes = [
            *InstanceListPage(site).routes,
            *BulkPage(site).routes,
            *ChangesStream(site).routes,
            *CodeBanner(site).routes,
            *InstancePage(site).routes,
            *VerbPage(site).routes,
            *StartPage(site).routes,
            *EntityPages(site).routes,
            *FunctionsPage(site).routes,
            *SchedulesPage(site).routes,
            *HubPage(site).routes,
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._respond(request)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        is_update.set(is_fragment(request))
        try:
            check_sender(request)
            segments = split_path(request, "")
            if (response := await self._dispatch(request, segments, self._public_routes)) is not None:
                return response
            if not self._sessions.allows(request):
                return _ask_to_log_in(request)
            if (response := await self._dispatch(request, segments, self._routes)) is not None:
                return response
            raise route_not_found(request)
        except ApiError as error:
            return self._error_page(request, error)
        except DurableError as error:
            return self._error_page(request, to_api_error(error))
        except Exception:  # noqa: BLE001 - the page says so, and the log has the traceback
            _log.exception("the dashboard failed: %s %s", request.method, request.url.path)
            return self._error_page(request, internal_error())

    async def _dispatch(self, request: Request, segments: list[str], routes: list[ApiRoute]) -> Response | None:
        method = "GET" if request.method == "HEAD" else request.method
        for route in routes:
            if route.method == method and (values := route.match(segments)) is not None:
                return await route.handler(ApiRequest(request, values, QueryParams(request)))
        return None

    def _error_page(self, request: Request, error: ApiError) -> Response:
        """The page that shows an error."""
        if is_fragment(request):
            return Response(error.detail, error.status, PAGE_HEADERS, "text/plain")
        title = _TITLES.get(error.status, "Something went wrong" if error.status >= 500 else "Not possible")
        api_request = ApiRequest(request, (), QueryParams(Request({**request.scope, "query_string": b""})))
        return self._site.render(api_request, "error.html", status=error.status, title=title, error=error)

    async def _get_static(self, request: ApiRequest) -> Response:
        response = static_response(request.raw, request.path_values[0])
        if response is None:
            raise route_not_found(request.raw)
        return response


def _ask_to_log_in(request: Request) -> Response:
    if request.method not in SAFE_METHODS:
        return Response(None, 303, {**PAGE_HEADERS, "location": f"{PATH}/login"})
    parts = get_request_url(request).split("/", 3)
    login = f"{PATH}/login?next={quote(f'/{parts[3]}' if len(parts) > 3 else '/', safe='')}"
    if is_fragment(request):  # the script of a page that was open when its session ended
        return Response(None, 401, {**PAGE_HEADERS, "hx-redirect": login})
    return Response(None, 303, {**PAGE_HEADERS, "location": login})
