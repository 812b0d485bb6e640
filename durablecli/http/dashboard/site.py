"""What the pages of the dashboard share: the hub behind them, and how a page, a part of one or a redirect is sent.

Everything a page loads comes from this server, and no script or style is inside a page: the headers forbid both.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from functools import cache
from time import thread_time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from durablecli.client import Client, format_code_notice
from durablecli.engine.code_state import CodeState
from durablecli.engine.engine import Engine
from durablecli.http.dashboard.live_budget import LiveBudget, MeasuredBridge, is_update
from durablecli.http.dashboard.static_files import static_url
from durablecli.http.requests import ApiRequest
from durablecli.http.responses import Shutdown
from durablecli.registry import Registry
from durablecli.serving.api_keys import ApiKeys
from durablecli.serving.engine_bridge import EngineBridge

if TYPE_CHECKING:  # loaded for the first page: a daemon whose dashboard nobody opens needs none of it
    from jinja2 import Environment

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
PAGE_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with no-referrer, a browser would send the origin of a form as null
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_FLASH_COOKIE = "durable_flash"
_FLASH_SECONDS = 60
_MAX_FLASH_LENGTH = 1000
_THEME_COOKIE = "durable_theme"
_THEMES = frozenset({"light", "dark"})


class Flash(NamedTuple):
    """A message at the top of the next page; `kind` is ok or error."""

    kind: str
    text: str


class DashboardSite:
    """The hub of a dashboard, and the rendering of its pages. `registry` has the functions of the app, if known."""

    def __init__(self, client: Client, keys: ApiKeys, registry: Registry | None, shutdown: Shutdown) -> None:
        self.budget = LiveBudget()
        self.bridge: EngineBridge = MeasuredBridge(client, self.budget)
        self.registry = registry
        self.shutdown = shutdown
        self._has_login = keys.enabled
        self._engine = client.mailbox if isinstance(client.mailbox, Engine) else None

    @property
    def _code(self) -> CodeState | None:
        return self._engine.code.state if self._engine is not None else None

    @property
    def code_notice(self) -> str | None:
        """A line on files of the app that have changed and don't run, for the top of each page; None if there are none,
        or no engine runs in this process."""
        return None if self._code is None else format_code_notice(self._code.info)

    def render(self, request: ApiRequest, template: str, *, status: int = 200, **values: Any) -> Response:
        """Render a template to a page. It gets `values`, and what `base.html` needs: see there."""
        flash = read_flash(request.raw)
        theme = request.raw.cookies.get(_THEME_COOKIE, "")
        began = thread_time()
        html = (
            load_templates()
            .get_template(template)
            .render(
                values,
                flash=flash,
                theme=theme if theme in _THEMES else "",
                has_login=self._has_login,
                now=datetime.now(UTC),
                hub=self.bridge.root,
                code_notice=self.code_notice,
                has_live_code=self._code is not None and self._code.reloads,
                is_fragment=is_fragment(request.raw),
            )
        )
        if is_update.get():
            self.budget.spend(thread_time() - began)
        response = Response(html, status, PAGE_HEADERS, "text/html")
        if flash is not None:
            response.delete_cookie(_FLASH_COOKIE, path="/", httponly=True, samesite="strict")
        return response

    def redirect(self, url: str, text: str = "", *, kind: str = "ok") -> Response:
        """Send the browser to another page after a POST; that page shows `text`."""
        response = Response(None, 303, {**PAGE_HEADERS, "location": url})
        if text:
            value = base64.urlsafe_b64encode(msgspec.json.encode([kind, text[:_MAX_FLASH_LENGTH]])).decode()
            response.set_cookie(_FLASH_COOKIE, value, _FLASH_SECONDS, path="/", httponly=True, samesite="strict")
        return response


def read_flash(request: Request) -> Flash | None:
    """The message that the page before left, if any. A part of a page, maybe of another one, doesn't show it."""
    if is_fragment(request):
        return None
    try:
        kind, text = msgspec.json.decode(
            base64.urlsafe_b64decode(request.cookies.get(_FLASH_COOKIE, "")), type=tuple[str, str]
        )
    except (ValueError, msgspec.MsgspecError):
        return None
    return Flash("error" if kind == "error" else "ok", text)


def is_fragment(request: Request) -> bool:
    """Whether a script of a page asks for a part of it, to put it in the place of the old one."""
    return request.headers.get("hx-request") == "true"


def local_path(url: str) -> str:
    """A path of this server, as the target of a redirect; `/` if the text is anything else."""
    try:
        parts = urlsplit(url)
    except ValueError:  # a bracket in the place of the host
        return "/"
    is_local = not parts.scheme and not parts.netloc and url.startswith("/") and not url.startswith(("//", "/\\"))
    return quote(url, safe="/%?&=+~@:!$'()*,;-._") if is_local else "/"


@cache
def load_templates() -> Environment:
    """The templates of all pages, with the filters of `template_filters`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from durablecli.http.dashboard.template_filters import FILTERS

    environment = Environment(
        loader=PackageLoader("durablecli.http.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(FILTERS)
    environment.globals["static"] = static_url
    return environment
