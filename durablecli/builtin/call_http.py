"""Durable HTTP: the built-in orchestrator behind `context.call_http`, and the activity that sends a request.

A response of 202 with a Location means that the result is still to come. The orchestrator waits on a durable timer for
as long as the server says (Retry-After) and polls the Location, so nothing is lost if the engine is killed between two
polls. Any other response is the result. Another origin gets only headers that can't be credentials, and never the
content.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
from collections.abc import Callable, Generator
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from durablecli.current_trace import read_current_trace
from durablecli.limits import MAX_RESPONSE_BYTES
from durablecli.model.http_messages import (
    HTTP_ACTIVITY,
    HTTP_ORCHESTRATOR,
    DurableHttpRequest,
    DurableHttpResponse,
    HttpHeaders,
    check_uri,
)
from durablecli.model.secrets import Secret
from durablecli.replay.context import DurableOrchestrationContext
from durablecli.replay.function_marks import FunctionMark, set_mark

if TYPE_CHECKING:  # these, and asyncio, take 100 ms to import, and only calls need them
    import ssl

    import httpx

DEFAULT_POLL_INTERVAL = timedelta(seconds=30)
DEFAULT_TIMEOUT = timedelta(seconds=100)
_MAX_REDIRECTS = 20
_MAX_POLLS_PER_EXECUTION = 100
"""After this many polls the orchestrator continues as new, so that polling for days makes no long history."""
_MIN_POLL_INTERVAL = timedelta(seconds=1)  # each poll is written to disk, so a server can't ask for more
_MAX_POLL_INTERVAL = timedelta(days=366)
_sending: ContextVar[bool] = ContextVar("durablecli_sending", default=False)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_is_shareable_header = re.compile(
    r"accept(-.*)?|user-agent|content-.*|cache-control|prefer|traceparent|tracestate", re.IGNORECASE
).fullmatch
"""The headers that may be sent to another origin; any other could be a credential."""


def make_call_http_functions(
    poll_interval: timedelta = DEFAULT_POLL_INTERVAL, timeout: timedelta = DEFAULT_TIMEOUT
) -> tuple[Callable[..., Any], ...]:
    """Make the orchestrator and the activity.

    `poll_interval` holds if a 202 response gives none; `timeout` limits one whole exchange, redirects included.
    """

    def http_orchestrator(context: DurableOrchestrationContext) -> Generator[Any, Any, DurableHttpResponse | None]:
        return _send_and_poll(context, poll_interval)

    async def http_activity(request: DurableHttpRequest) -> DurableHttpResponse:
        return await send_request(request, timeout)

    return (
        set_mark(http_orchestrator, FunctionMark("orchestrator", HTTP_ORCHESTRATOR)),
        set_mark(http_activity, FunctionMark("activity", HTTP_ACTIVITY)),
    )


# ── the orchestrator ───────────────────────────────────────────────────────────────────────────────────────────────


def _send_and_poll(
    context: DurableOrchestrationContext, default_interval: timedelta
) -> Generator[Any, Any, DurableHttpResponse | None]:
    if context.parent_instance_id is None:
        raise PermissionError(f"{HTTP_ORCHESTRATOR} can't be started directly; use context.call_http")
    request: DurableHttpRequest = context.get_input(DurableHttpRequest)
    for _ in range(_MAX_POLLS_PER_EXECUTION):
        response = yield context.call_activity(HTTP_ACTIVITY, request, DurableHttpResponse)
        location = response.headers.get("Location")
        if response.status_code != 202 or not location:
            return response  # type: ignore[no-any-return]
        yield context.create_timer(_get_poll_interval(response.headers, context.current_utc_datetime, default_interval))
        request = make_poll_request(request, location)
    context.continue_as_new(request)
    return None


def make_poll_request(request: DurableHttpRequest, location: str) -> DurableHttpRequest:
    """Make the request that polls the location."""
    headers, source = HttpHeaders(request.headers), request.token_source
    # The key of a function isn't one of the management API, and a poll has no content.
    _remove_headers(headers, lambda name: name in ("x-functions-key", "content-type", "content-length"))
    if not is_same_origin(request.uri, location):
        _remove_headers(headers, lambda name: not _is_shareable_header(name) or isinstance(headers[name], Secret))
        source = None
    return DurableHttpRequest("GET", location, None, headers, source)


def _remove_headers(headers: HttpHeaders, unwanted: Callable[[str], object]) -> None:
    for name in [name for name in headers if unwanted(name.casefold())]:
        del headers[name]


def is_same_origin(one: str, other: str) -> bool:
    """Whether scheme, host and port are the same."""
    return _get_origin(urlsplit(one)) == _get_origin(urlsplit(other))


def _get_origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    scheme = parts.scheme.lower()
    return scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(scheme)


def _get_poll_interval(headers: HttpHeaders, now: datetime, default_interval: timedelta) -> timedelta:
    """The interval that the server gives in Retry-After, as seconds or as the date of the next attempt."""
    retry_after = str(headers.get("Retry-After", "")).strip()
    if re.fullmatch(r"[0-9]{1,9}", retry_after):
        return _clamp(timedelta(seconds=int(retry_after)))
    from email.utils import parsedate_to_datetime

    try:
        at = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError, OverflowError):
        return default_interval
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return _clamp(at - now)


def _clamp(wait: timedelta) -> timedelta:
    return min(max(wait, _MIN_POLL_INTERVAL), _MAX_POLL_INTERVAL)


# ── the activity ───────────────────────────────────────────────────────────────────────────────────────────────────


async def send_request(
    request: DurableHttpRequest, limit: timedelta = DEFAULT_TIMEOUT, *, follow_redirects: bool = True
) -> DurableHttpResponse:
    """Send one request and return its response, whatever the status; redirects are followed if that is wanted.

    Raises TimeoutError after `limit`, ConnectionRefusedError or another ConnectionError if there is no response, and
    ValueError for a response of more than 16 MiB.
    """
    import asyncio

    import httpx

    try:
        async with asyncio.timeout(limit.total_seconds()):
            return await _exchange(request, follow_redirects=follow_redirects)
    except TimeoutError:
        raise TimeoutError(f"{request.label}: no response within {limit.total_seconds():g} s") from None
    except httpx.InvalidURL as error:
        raise ValueError(f"{request.label}: {error}") from None
    except httpx.RequestError as error:
        raise _to_connection_error(request, error) from None


async def _exchange(request: DurableHttpRequest, *, follow_redirects: bool) -> DurableHttpResponse:
    import asyncio

    import httpx

    headers = {**_make_trace_headers(request.headers), "User-Agent": "durablecli", **_resolve_secrets(request.headers)}
    if request.token_source is not None:
        headers["Authorization"] = f"Bearer {await asyncio.to_thread(_get_token, request.token_source.resource)}"
    content = None if request.content is None else request.content.encode()
    _silence_httpx_log()
    _sending.set(True)
    async with httpx.AsyncClient(timeout=None, verify=_get_ssl_context()) as client:  # noqa: S113 - the exchange has a timeout
        sent = client.build_request(request.method, request.uri, headers=headers, content=content)
        for _ in range(_MAX_REDIRECTS):
            response = await client.send(sent, stream=True)
            try:
                if response.next_request is None or not follow_redirects:
                    return await _read_response(response)
            finally:
                await response.aclose()
            sent = _check_redirect(request, sent, response.next_request)
    raise ConnectionError(f"{request.label}: more than {_MAX_REDIRECTS} redirects")


def _make_trace_headers(given: HttpHeaders) -> dict[str, str]:
    """The headers that continue the trace of the activity, if it has one and the author gives no other."""
    current = read_current_trace()
    if current is None or "traceparent" in given:
        return {}
    return {"traceparent": current.traceparent, **({"tracestate": current.tracestate} if current.tracestate else {})}


def _resolve_secrets(headers: HttpHeaders) -> dict[str, str]:
    """The headers as they are sent, with the values of secrets: this is the only place that reads them."""
    return {name: value.resolve(os.environ) if isinstance(value, Secret) else value for name, value in headers.items()}


def _check_redirect(request: DurableHttpRequest, sent: httpx.Request, redirect: httpx.Request) -> httpx.Request:
    check_uri(str(redirect.url))
    if is_same_origin(str(sent.url), str(redirect.url)):
        return redirect
    if redirect.read():
        origin = f"{redirect.url.scheme}://{redirect.url.netloc.decode('ascii')}"
        raise ConnectionError(f"{request.label}: redirected to {origin}: the content is not sent to another origin")
    secrets = {name.casefold() for name, value in request.headers.items() if isinstance(value, Secret)}
    for name in [
        name for name in redirect.headers if name in secrets or not (name == "host" or _is_shareable_header(name))
    ]:
        del redirect.headers[name]
    return redirect


async def _read_response(response: httpx.Response) -> DurableHttpResponse:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > MAX_RESPONSE_BYTES:
            raise ValueError(
                f"{response.request.method} {response.url.host}: the response is over {MAX_RESPONSE_BYTES:,} bytes"
            )
    headers = HttpHeaders()
    for name, value in response.headers.raw:
        key, text = name.decode("latin-1"), value.decode(response.headers.encoding, "replace")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    location = headers.get("Location")
    if location and response.status_code == 202:
        _remove_headers(headers, lambda name: name == "location")
        headers["Location"] = str(response.url.join(location))  # made absolute here, where its base is known
    return DurableHttpResponse(response.status_code, headers, _decode_text(bytes(body), response.charset_encoding))


def _decode_text(body: bytes, charset: str | None) -> str:
    try:
        return body.decode(codecs.lookup(charset or "utf-8").name, "replace")
    except (LookupError, ValueError):
        return body.decode("utf-8", "replace")


def _to_connection_error(request: DurableHttpRequest, error: BaseException) -> ConnectionError:
    """Convert an error of the network to an exception that an orchestrator can catch by name."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, ConnectionRefusedError):
            return ConnectionRefusedError(f"{request.label}: connection refused")
        link = link.__cause__ or link.__context__
    return ConnectionError(f"{request.label}: {str(error) or type(error).__name__}")


@cache
def _silence_httpx_log() -> None:
    """Keep URLs out of the log, because they may contain keys. Requests of the author's own are still logged."""
    logging.getLogger("httpx").addFilter(lambda record: not _sending.get())


@cache
def _get_ssl_context() -> ssl.SSLContext:
    """The SSL context, made once, because reading all certificates takes longer than most calls."""
    import httpx

    return httpx.create_ssl_context()


def _get_token(resource: str) -> str:
    try:
        identity = import_module("azure.identity")
    except ImportError:
        raise RuntimeError("a token_source needs the package azure-identity: pip install azure-identity") from None
    with identity.DefaultAzureCredential() as credential:
        token: str = credential.get_token(f"{resource.rstrip('/')}/.default").token
        return token
