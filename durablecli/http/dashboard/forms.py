"""Forms: reads what a page posts, and refuses what no page of this server has sent."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request

from durablecli.http.origins import SAFE_METHODS, cross_site_error, is_cross_site
from durablecli.http.responses import ApiError

_MAX_FIELDS = 1000
_FORM_TYPE = "application/x-www-form-urlencoded"


class FormValues:
    """The fields of a form, each with the values that were given for it."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in fields:
            self._values.setdefault(name, []).append(value)

    def has(self, name: str) -> bool:
        """Whether the form has the field, be it empty."""
        return name in self._values

    def text(self, name: str) -> str:
        """The last value of a field; empty if there is none. Line ends are as the browser sends them, CRLF."""
        return self._values.get(name, [""])[-1]

    def texts(self, name: str) -> list[str]:
        """All values of a field."""
        return list(self._values.get(name, []))

    def flag(self, name: str) -> bool:
        """Whether a box is ticked."""
        return self.text(name) not in ("", "0", "false")


async def read_form(request: Request) -> FormValues:
    """Read the fields that a page posts; raises ApiError for anything but a form."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM_TYPE:
        raise ApiError(415, f"Send the form as {_FORM_TYPE}")
    try:
        text = (await request.body()).decode("ascii")
        return FormValues(parse_qsl(text, True, errors="strict", max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise ApiError(400, "The form can't be read") from None


def check_sender(request: Request) -> None:
    """Raise ApiError for a request that a page of another site may have caused.

    A link of another site may open a page, and nothing else. A browser sends the origin of each form that is posted, so
    that a form without one isn't from a page.
    """
    if request.method in SAFE_METHODS:
        if is_cross_site(request.scope) and request.headers.get("sec-fetch-mode", "navigate") != "navigate":
            raise cross_site_error()
    elif is_cross_site(request.scope):
        raise cross_site_error()
    elif not (request.headers.get("origin") or request.headers.get("sec-fetch-site")):
        raise ApiError(403, "The form doesn't say which page it comes from", kind="Forbidden")
