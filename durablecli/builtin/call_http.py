"""Durable HTTP: the built-in orchestrator that carries a `context.call_http`, and the activity that sends a request.

An answer of 202 with a Location is a promise of another one. The orchestrator sleeps as long as the server says
(Retry-After) by a durable timer, and asks again at the Location; so nothing is lost when the engine is killed between
two polls. Whatever is no such 202 is the result. Another origin is told a few headers that say nothing of whoever
asks, and never the content.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
import os
import re
from collections.abc import Callable, Generator
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

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
from durablecli.replay.function_marks import MARK_ATTRIBUTE, FunctionMark

if TYPE_CHECKING:  # 100 ms that only whoever calls pays
    import ssl

    import httpx

POLL = timedelta(seconds=30)
TIMEOUT = timedelta(seconds=100)
_LARGEST = 16 * 1024 * 1024
_MOST_REDIRECTS = 20
_POLLS = 100
"""So many polls make one execution: what is polled for days has no long history."""
_SHORTEST_WAIT = timedelta(seconds=1)  # whatever the server says: each poll is written to disk
_LONGEST_WAIT = timedelta(days=366)
_sending: ContextVar[bool] = ContextVar("durablecli_sending", default=False)
_PORTS = {"http": 80, "https": 443}
_is_for_anyone = re.compile(
    r"accept(-.*)?|user-agent|content-.*|cache-control|prefer|traceparent|tracestate", re.IGNORECASE
).fullmatch
"""The headers that another origin may be told: any other may be a credential, whatever it is called."""


def built_ins(poll: timedelta = POLL, timeout: timedelta = TIMEOUT) -> tuple[Callable[..., Any], ...]:
    """The two functions, marked. `poll` is the wait where a 202 names none; `timeout` bounds one whole exchange."""

    def http_orchestrator(context: DurableOrchestrationContext) -> Generator[Any, Any, DurableHttpResponse | None]:
        return _poll(context, poll)

    async def http_activity(request: DurableHttpRequest) -> DurableHttpResponse:
        return await send(request, timeout)

    setattr(http_orchestrator, MARK_ATTRIBUTE, FunctionMark("orchestrator", HTTP_ORCHESTRATOR))
    setattr(http_activity, MARK_ATTRIBUTE, FunctionMark("activity", HTTP_ACTIVITY))
    return http_orchestrator, http_activity


# ── the orchestrator ───────────────────────────────────────────────────────────────────────────────────────────────


def _poll(context: DurableOrchestrationContext, default: timedelta) -> Generator[Any, Any, DurableHttpResponse | None]:
    if context.parent_instance_id is None:
        raise PermissionError(f"{HTTP_ORCHESTRATOR} can't be started: it belongs to context.call_http")
    request: DurableHttpRequest = context.get_input(DurableHttpRequest)
    for _ in range(_POLLS):
        answer = yield context.call_activity(HTTP_ACTIVITY, request, DurableHttpResponse)
        location = answer.headers.get("Location")
        if answer.status_code != 202 or not location:
            return answer  # type: ignore[no-any-return]
        yield context.create_timer(_wait(answer.headers, context.current_utc_datetime, default))
        request = following(request, location)
    context.continue_as_new(request)
    return None


def following(request: DurableHttpRequest, location: str) -> DurableHttpRequest:
    """The request that asks how far the one before has got."""
    headers, source = HttpHeaders(request.headers), request.token_source
    # The key of a function isn't the key of the management API, and the content stays behind.
    _drop(headers, lambda name: name in ("x-functions-key", "content-type", "content-length"))
    if not is_same_origin(request.uri, location):
        _drop(headers, lambda name: not _is_for_anyone(name) or isinstance(headers[name], Secret))
        source = None
    return DurableHttpRequest("GET", location, None, headers, source)


def _drop(headers: HttpHeaders, unwanted: Callable[[str], object]) -> None:
    for name in [name for name in headers if unwanted(name.casefold())]:
        del headers[name]


def is_same_origin(one: str, other: str) -> bool:
    """Whether scheme, host and port are the same."""
    return _origin(urlsplit(one)) == _origin(urlsplit(other))


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    scheme = parts.scheme.lower()
    return scheme, parts.hostname, parts.port or _PORTS.get(scheme)


def _wait(headers: HttpHeaders, now: datetime, default: timedelta) -> timedelta:
    """How long the server asks to be left alone: seconds, or the date of the next attempt."""
    said = str(headers.get("Retry-After", "")).strip()
    if re.fullmatch(r"[0-9]{1,9}", said):
        return _bounded(timedelta(seconds=int(said)))
    try:
        at = parsedate_to_datetime(said)
    except (ValueError, TypeError, OverflowError):
        return default
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return _bounded(at - now)


def _bounded(wait: timedelta) -> timedelta:
    return min(max(wait, _SHORTEST_WAIT), _LONGEST_WAIT)


# ── the activity ───────────────────────────────────────────────────────────────────────────────────────────────────


async def send(request: DurableHttpRequest, limit: timedelta = TIMEOUT) -> DurableHttpResponse:
    """Send one request and read its answer, whatever its status; redirects are followed.

    Raises TimeoutError after `limit`, ConnectionRefusedError or another ConnectionError when there is no answer, and
    ValueError for one of more than 16 MiB.
    """
    import httpx

    try:
        async with asyncio.timeout(limit.total_seconds()):
            return await _exchange(request)
    except TimeoutError:
        raise TimeoutError(f"{request.label}: no answer within {limit.total_seconds():g} s") from None
    except httpx.InvalidURL as error:
        raise ValueError(f"{request.label}: {error}") from None
    except httpx.RequestError as error:
        raise _unreachable(request, error) from None


async def _exchange(request: DurableHttpRequest) -> DurableHttpResponse:
    import httpx

    headers = {"User-Agent": "durablecli", **_resolved(request.headers)}
    if request.token_source is not None:
        headers["Authorization"] = f"Bearer {await asyncio.to_thread(_token, request.token_source.resource)}"
    content = None if request.content is None else request.content.encode()
    _quiet_httpx()
    _sending.set(True)
    async with httpx.AsyncClient(timeout=None, verify=_certificates()) as client:  # noqa: S113 - the whole has a limit
        asked = client.build_request(request.method, request.uri, headers=headers, content=content)
        for _ in range(_MOST_REDIRECTS):
            answer = await client.send(asked, stream=True)
            try:
                if answer.next_request is None:
                    return await _read(answer)
            finally:
                await answer.aclose()
            asked = _redirected(request, asked, answer.next_request)
    raise ConnectionError(f"{request.label}: more than {_MOST_REDIRECTS} redirects")


def _resolved(headers: HttpHeaders) -> dict[str, str]:
    """The headers as they are sent. Only here a credential is read, and it goes nowhere else."""
    return {name: value.resolve(os.environ) if isinstance(value, Secret) else value for name, value in headers.items()}


def _redirected(request: DurableHttpRequest, asked: httpx.Request, following: httpx.Request) -> httpx.Request:
    check_uri(str(following.url))
    if is_same_origin(str(asked.url), str(following.url)):
        return following
    if following.read():
        origin = f"{following.url.scheme}://{following.url.netloc.decode('ascii')}"
        raise ConnectionError(f"{request.label}: redirected to {origin}: the content isn't told to another origin")
    secrets = {name.casefold() for name, value in request.headers.items() if isinstance(value, Secret)}
    for name in [name for name in following.headers if name in secrets or not (name == "host" or _is_for_anyone(name))]:
        del following.headers[name]
    return following


async def _read(answer: httpx.Response) -> DurableHttpResponse:
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > _LARGEST:
            raise ValueError(f"{answer.request.method} {answer.url.host}: the answer has more than {_LARGEST:,} bytes")
    headers = HttpHeaders()
    for name, value in answer.headers.raw:
        key, text = name.decode("latin-1"), value.decode(answer.headers.encoding, "replace")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    location = headers.get("Location")
    if location and answer.status_code == 202:
        _drop(headers, lambda name: name == "location")
        headers["Location"] = str(answer.url.join(location))  # only here is it known what it is relative to
    return DurableHttpResponse(answer.status_code, headers, _text(bytes(body), answer.charset_encoding))


def _text(body: bytes, charset: str | None) -> str:
    try:
        return body.decode(codecs.lookup(charset or "utf-8").name, "replace")
    except (LookupError, ValueError):
        return body.decode("utf-8", "replace")


def _unreachable(request: DurableHttpRequest, error: BaseException) -> ConnectionError:
    """What the network did, as an exception that an orchestrator can name."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, ConnectionRefusedError):
            return ConnectionRefusedError(f"{request.label}: connection refused")
        link = link.__cause__ or link.__context__
    return ConnectionError(f"{request.label}: {str(error) or type(error).__name__}")


@cache
def _quiet_httpx() -> None:
    """It logs each address whole, with the keys that stand in it; what authors send by it themselves is theirs."""
    logging.getLogger("httpx").addFilter(lambda record: not _sending.get())


@cache
def _certificates() -> ssl.SSLContext:
    """Made once: reading all certificates takes longer than most calls."""
    import httpx

    return httpx.create_ssl_context()


def _token(resource: str) -> str:
    try:
        identity = import_module("azure.identity")
    except ImportError:
        raise RuntimeError("a token_source needs Azure's library for identities: pip install azure-identity") from None
    with identity.DefaultAzureCredential() as credential:
        token: str = credential.get_token(f"{resource.rstrip('/')}/.default").token
        return token
