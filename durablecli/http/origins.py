"""Origins: which web pages may send requests. Those are the pages of this server and of the origins in the settings.

A browser names the origin of a page in `Origin` or `Sec-Fetch-Site`, and no page can change these headers. Other
clients send neither, so their requests are never cross-site.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Scope

from durablecli.http.responses import ApiError

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_ANY = "*"
_OWN_FETCH_SITES = frozenset({"same-origin", "none"})
_CROSS_SITE_MESSAGE = (
    "The request comes from a page of another site; allow its origin with http.allowed_origins, or with CORS in the "
    "Host section of local.settings.json"
)


class AllowedOrigins:
    """The origins that are allowed in addition to the server's own, as `http://localhost:3000`; `*` allows all."""

    def __init__(self, allowed: Iterable[str] = (), *, credentials: bool = False) -> None:
        self._allowed = frozenset(origin.strip().lower().rstrip("/") for origin in allowed)
        self._credentials = credentials and _ANY not in self._allowed

    def check(self, scope: Scope) -> None:
        """Raise ApiError if the request comes from a page whose origin isn't allowed, whatever the method."""
        if is_cross_site(scope) and not self.allows(_get_header(scope, b"origin")):
            raise cross_site_error()

    def allows(self, origin: str | None) -> bool:
        """Whether an origin is allowed. None, for an unknown origin, is allowed only where all are."""
        return _ANY in self._allowed or (origin is not None and origin.lower() in self._allowed)

    def cors_middleware(self) -> list[Middleware]:
        """The middleware by which pages of these origins can read responses and send any method and header."""
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
    """The error response to a page whose origin isn't allowed."""
    return ApiError(403, _CROSS_SITE_MESSAGE, kind="Forbidden")


def is_cross_site(scope: Scope) -> bool:
    """Whether the request comes from a page of another site, according to the browser."""
    site = _get_header(scope, b"sec-fetch-site")
    if site is not None and site.lower() not in _OWN_FETCH_SITES:
        return True
    sender = _get_header(scope, b"origin")
    return sender is not None and sender.lower() != f"{scope['scheme']}://{_get_header(scope, b'host') or ''}".lower()


def _get_header(scope: Scope, name: bytes) -> str | None:
    found = [value for known, value in scope["headers"] if known == name]
    return found[-1].decode("latin-1") if found else None
