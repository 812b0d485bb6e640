"""Which pages may send requests: those of this server, and those of the origins that the settings allow.

A browser names the page that sends a request, in `Origin` or `Sec-Fetch-Site`; no page can change these headers. What
isn't a browser sends neither, and is no cross-site request.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Scope

from durablecli.http.responses import ApiError

_ANY = "*"
_OWN_FETCH_SITES = frozenset({"same-origin", "none"})
_CROSS_SITE_MESSAGE = (
    "This request comes from a page of another site. Allow its origin with http.allowed_origins, or with CORS in the "
    "Host section of local.settings.json"
)


class AllowedOrigins:
    """The origins that are allowed beside our own, as `http://localhost:3000`; `*` allows all of them."""

    def __init__(self, allowed: Iterable[str] = (), *, credentials: bool = False) -> None:
        self._allowed = frozenset(origin.strip().lower().rstrip("/") for origin in allowed)
        self._credentials = credentials and _ANY not in self._allowed

    def check(self, scope: Scope) -> None:
        """Raise Refused if a page sends this whose origin isn't allowed, whatever the method is."""
        if is_cross_site(scope) and not self.allows(_get_header(scope, b"origin")):
            raise cross_site_error()

    def allows(self, origin: str | None) -> bool:
        """Whether an origin is allowed. Without one, a page may be of any site."""
        return _ANY in self._allowed or (origin is not None and origin.lower() in self._allowed)

    def cors_middleware(self) -> list[Middleware]:
        """What lets pages of these origins read responses, and send more than a browser sends unasked."""
        if not self._allowed:
            return []
        return [
            Middleware(
                CORSMiddleware,
                allow_origins=sorted(self._allowed),
                allow_methods=[_ANY],
                allow_headers=[_ANY],
                allow_credentials=self._credentials,
            )
        ]


def cross_site_error() -> ApiError:
    """What a page of a site that isn't allowed is answered."""
    return ApiError(403, _CROSS_SITE_MESSAGE, kind="Forbidden")


def is_cross_site(scope: Scope) -> bool:
    """Whether a browser says that a page of another site sends this."""
    site = _get_header(scope, b"sec-fetch-site")
    if site is not None and site.lower() not in _OWN_FETCH_SITES:
        return True
    sender = _get_header(scope, b"origin")
    return sender is not None and sender.lower() != f"{scope['scheme']}://{_get_header(scope, b'host') or ''}".lower()


def _get_header(scope: Scope, name: bytes) -> str | None:
    found = [value for known, value in scope["headers"] if known == name]
    return found[-1].decode("latin-1") if found else None
