"""The files that pages load: scripts, styles and images, each under a URL that changes with its content."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib import resources
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

_MEDIA_TYPES = {
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "txt": "text/plain",
}
_HEADERS = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


class StaticFile(NamedTuple):
    """A file, and the version in its URL."""

    content: bytes
    version: str
    media_type: str


def static_url(name: str) -> str:
    """The URL of a file. Templates use it as `static('dashboard.css')`."""
    return f"/ui/static/{name}?v={_load_files()[name].version}"


def static_response(request: Request, name: str) -> Response | None:
    """The response with a file; None if there is none of this name."""
    file = _load_files().get(name)
    if file is None:
        return None
    is_current = request.query_params.get("v") == file.version
    caching = "public, max-age=31536000, immutable" if is_current else "no-cache"
    headers = {**_HEADERS, "cache-control": caching, "etag": f'"{file.version}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(None, 304, headers)
    return Response(file.content, 200, headers, file.media_type)


@cache
def _load_files() -> dict[str, StaticFile]:
    found = {}
    for path in resources.files("durablecli.http.dashboard").joinpath("static").iterdir():
        media_type = _MEDIA_TYPES.get(path.name.rpartition(".")[2])
        if media_type is not None:
            content = path.read_bytes()
            found[path.name] = StaticFile(content, sha256(content).hexdigest()[:12], media_type)
    return found
