"""The login page: where the server requires a key, it turns one into a session."""

from __future__ import annotations

from starlette.responses import Response

from durablecli.http.dashboard.forms import read_form
from durablecli.http.dashboard.sessions import LoginSessions
from durablecli.http.dashboard.site import DashboardSite, local_path
from durablecli.http.requests import ApiRequest, ApiRoute

_WRONG_KEY = "That is not the system or master key of this server."


class LoginPage:
    """Logs in and out."""

    def __init__(self, site: DashboardSite, sessions: LoginSessions) -> None:
        self._site = site
        self._sessions = sessions

    @property
    def routes(self) -> list[ApiRoute]:
        return [
            ApiRoute("GET", "ui/login", self.show),
            ApiRoute("POST", "ui/login", self.log_in),
            ApiRoute("POST", "ui/logout", self.log_out),
        ]

    async def show(self, request: ApiRequest) -> Response:
        """Show the form, unless there is nothing to log in to."""
        target = local_path(request.query.text("next") or "/")
        if self._sessions.allows(request.raw):
            return self._site.redirect(target)
        return self._site.render(request, "login.html", error="", target=target)

    async def log_in(self, request: ApiRequest) -> Response:
        """Begin a session, if the key is right."""
        form = await read_form(request.raw)
        address = request.raw.client.host if request.raw.client else ""
        target = local_path(form.text("next") or "/")
        if seconds := self._sessions.seconds_until_try(address):
            response = self._site.render(
                request,
                "login.html",
                status=429,
                error=f"Too many wrong keys. Try again in {seconds} seconds.",
                target=target,
            )
            response.headers["retry-after"] = str(seconds)
            return response
        token = self._sessions.log_in(form.text("key").strip(), address)
        if token is None:
            return self._site.render(request, "login.html", status=403, error=_WRONG_KEY, target=target)
        response = self._site.redirect(target)
        self._sessions.set_cookie(response, token, secure=request.raw.url.scheme == "https")
        return response

    async def log_out(self, request: ApiRequest) -> Response:
        """End the session."""
        response = self._site.redirect("/ui/login")
        self._sessions.log_out(request.raw, response)
        return response
