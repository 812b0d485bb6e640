"""Requests and responses of `context.call_http`, as values, and the sources of their tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from msgspec import Raw

from durablecli.model.secrets import Secret, parse_reference

HTTP_ORCHESTRATOR = "BuiltIn__HttpPollOrchestrator"
HTTP_ACTIVITY = "BuiltIn__HttpActivity"
MANAGED_IDENTITY = "AzureManagedIdentity"

_is_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_is_line = re.compile(r"[^\r\n\0]*").fullmatch
_INVALID_RAW_STR = (
    "Invalid use of 'is_raw_str' parameter: 'is_raw_str' is set to 'True' but 'content' is not an instance of type "
    "'str'. Either set 'is_raw_str' to 'False', or ensure your 'content' is of type 'str'."
)


class TokenSource:
    """The source of an OAuth token."""


class ManagedIdentityTokenSource(TokenSource):
    """The managed identity of the machine in Azure, or the developer's own. `resource` is the target of the token."""

    def __init__(self, resource: str) -> None:
        self.resource = resource

    def to_json(self) -> dict[str, Any]:
        """Return its form in a request."""
        return {"resource": self.resource, "kind": MANAGED_IDENTITY}


class HttpHeaders(dict[str, Any]):
    """Headers by name, ignoring case. Repeated headers are joined by commas.

    The value of a header is text; in a request it may also be a secret.
    """

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(self._stored_name(name))

    def __setitem__(self, name: str, value: str | Secret) -> None:
        super().__setitem__(self._stored_name(name), value)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(self._stored_name(name))

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a header, or the default."""
        return super().get(self._stored_name(name), default)

    def _stored_name(self, name: Any) -> Any:
        if not isinstance(name, str) or super().__contains__(name):
            return name
        folded = name.casefold()
        return next((own for own in self if own.casefold() == folded), name)


class DurableHttpRequest:
    """One request. `content` is sent unchanged; `uri` is absolute, http or https; a header may be a `df.secret`."""

    def __init__(
        self,
        method: str,
        uri: str,
        content: str | None = None,
        headers: Mapping[str, Any] | None = None,
        token_source: Any = None,
    ) -> None:
        self.method = _check_method(method)
        self.uri = check_uri(uri)
        self.content = content
        self.headers = _check_headers(headers)
        self.token_source = _to_token_source(token_source)

    def to_json(self) -> dict[str, Any]:
        """Return its form in a history."""
        parts = {
            "method": self.method,
            "uri": self.uri,
            "content": self.content,
            "headers": {name: _header_to_json(value) for name, value in self.headers.items()} or None,
            "tokenSource": self.token_source and self.token_source.to_json(),
        }
        return {key: value for key, value in parts.items() if value is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DurableHttpRequest:
        """Read what to_json returned."""
        headers = {name: parse_reference(text) or text for name, text in (value.get("headers") or {}).items()}
        return cls(value["method"], value["uri"], value.get("content"), headers, value.get("tokenSource"))

    @property
    def label(self) -> str:
        """Method and address, without parts that may be secret."""
        parts = urlsplit(self.uri)
        return f"{self.method} {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class DurableHttpResponse(dict[str, Any]):
    """A response with any status. It is also a mapping: `statusCode`, `headers`, `content`."""

    def __init__(self, status_code: int, headers: Mapping[str, str] | None = None, content: str | None = None) -> None:
        super().__init__(statusCode=status_code, headers=HttpHeaders(headers or {}), content=content)

    @property
    def status_code(self) -> int:
        status: int = self["statusCode"]
        return status

    @property
    def headers(self) -> HttpHeaders:
        """The headers by name, ignoring case."""
        headers: HttpHeaders = self["headers"]
        return headers

    @property
    def content(self) -> str | None:
        """The body as text."""
        content: str | None = self["content"]
        return content

    def to_json(self) -> dict[str, Any]:
        """Return the plain mapping."""
        return {**self, "headers": dict(self.headers)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DurableHttpResponse:
        """Read what to_json returned."""
        return cls(value["statusCode"], value.get("headers"), value.get("content"))


def make_request(
    encode: Callable[[Any], Raw],
    method: str,
    uri: str,
    content: Any,
    headers: Mapping[str, Any] | None,
    token_source: Any,
    is_raw_str: bool,
) -> DurableHttpRequest:
    """Make the request of a call. `content` is written as JSON unless `is_raw_str`, when it is text."""
    if is_raw_str and not isinstance(content, str):
        raise TypeError(_INVALID_RAW_STR)
    if content is None:
        return DurableHttpRequest(method, uri, None, headers, token_source)
    text = content if is_raw_str else bytes(encode(content)).decode()
    request = DurableHttpRequest(method, uri, text, headers, token_source)
    if "content-type" not in request.headers:
        request.headers["Content-Type"] = "text/plain; charset=utf-8" if is_raw_str else "application/json"
    return request


# ── checks before anything is sent ───────────────────────────────────────────────────────────────────────────────────


def check_uri(uri: str) -> str:
    """Return the address if it is absolute, http or https; raises ValueError."""
    if not isinstance(uri, str):
        raise TypeError(f"the uri of an HTTP call is a string, not {type(uri).__name__}")
    try:
        parts = urlsplit(uri)
        host = parts.hostname and parts.port != 0
    except ValueError:  # its text may contain secrets
        raise ValueError(f"invalid address {_redact_uri(uri)!r}: its host or port can't be read") from None
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise ValueError(f"invalid address {_redact_uri(uri)!r}: use an absolute http or https URL")
    return uri


def _redact_uri(uri: str) -> str:
    """Remove parts of an address that may be secret, even if it is invalid."""
    path = re.split(r"[?#;]", uri, maxsplit=1)[0]
    scheme, mark, rest = path.rpartition("//")
    return scheme + mark + rest.rpartition("@")[2]


def _check_method(method: str | Enum) -> str:
    text = method.value if isinstance(method, Enum) else method
    if not isinstance(text, str) or not _is_token(text):
        raise ValueError(f"invalid HTTP method {text!r}")
    return text.upper()


def _header_to_json(value: str | Secret) -> str | dict[str, str]:
    return value.reference() if isinstance(value, Secret) else value


def _check_headers(headers: Mapping[str, Any] | None) -> HttpHeaders:
    found = HttpHeaders()
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not _is_token(name):
            raise ValueError(f"invalid header name {name!r}")
        if isinstance(value, Secret):
            found[name] = _check_secret(name, value)
            continue
        if not _is_line(text := str(value)):
            raise ValueError(f"the header {name} has more than one line")
        found[name] = text
    return found


def _check_secret(name: str, secret: Secret) -> Secret:
    if not _is_line(secret.prefix + secret.suffix):
        raise ValueError(f"the header {name} has more than one line")
    return secret


def _to_token_source(source: Any) -> ManagedIdentityTokenSource | None:
    if source is None:
        return None
    data = source.to_json() if callable(getattr(source, "to_json", None)) else source
    if not isinstance(data, Mapping) or data.get("kind") != MANAGED_IDENTITY or not isinstance(data["resource"], str):
        raise TypeError("a token_source is a ManagedIdentityTokenSource(resource)")
    return ManagedIdentityTokenSource(data["resource"])
