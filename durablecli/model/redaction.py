"""Redacts the credentials of HTTP calls for display. On disk they are as the code gives them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from durablecli.model import events as ev
from durablecli.model.http_messages import HTTP_ACTIVITY, HTTP_ORCHESTRATOR

REDACTED = "(redacted)"

_is_credential = re.compile(
    r"(proxy-)?authorization|(set-)?cookie2?|.*(api-?key|functions-key|subscription-key|access-key|auth-key|account-key"
    r"|token|secret|password|credential|signature).*",
    re.IGNORECASE,
).fullmatch
"""The names of headers that may hold a credential."""

_HTTP_NAMES = frozenset({HTTP_ACTIVITY.casefold(), HTTP_ORCHESTRATOR.casefold()})


def redact_headers(payload: Raw) -> Raw:
    """Redact the credentials in a request or response of an HTTP call."""
    try:
        value: Any = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return payload
    headers = value.get("headers") if isinstance(value, dict) else None
    if not isinstance(headers, dict) or not any(map(_is_credential, headers)):
        return payload
    shown = {name: REDACTED if _must_redact(name, text) else text for name, text in headers.items()}
    return Raw(msgspec.json.encode({**value, "headers": shown}))


def _must_redact(name: str, text: object) -> bool:
    return _is_credential(name) is not None and isinstance(text, str)


def redact_payload(function: str | None, payload: Raw) -> Raw:
    """Redact the input or output of an orchestration, if it is an HTTP call."""
    is_http = function is not None and function.casefold() == HTTP_ORCHESTRATOR.casefold()
    return redact_headers(payload) if is_http and payload else payload


class Redactor:
    """Redacts the records of one history, one after another. Records of anything else are returned unchanged."""

    def __init__(self) -> None:
        self._is_http = False
        self._calls: set[int] = set()

    def redact(self, record: ev.Record) -> ev.Record:
        """Return the record for display."""
        event = record.event
        shown = self._redact_event(record.n, event)
        return record if shown is event else replace(record, event=shown)

    def _redact_event(self, n: int, event: ev.AnyEvent) -> ev.AnyEvent:
        match event:
            case ev.ExecutionStarted():
                self._is_http, self._calls = event.name.casefold() == HTTP_ORCHESTRATOR.casefold(), set()
                return replace(event, input=redact_headers(event.input)) if self._is_http else event
            case ev.TaskScheduled(name=name) | ev.SubOrchestrationInstanceCreated(name=name):
                if name.casefold() not in _HTTP_NAMES:
                    return event
                self._calls.add(n)
                return replace(event, input=redact_headers(event.input))
            case ev.TaskCompleted() | ev.SubOrchestrationInstanceCompleted():
                return replace(event, result=redact_headers(event.result)) if event.task in self._calls else event
            case ev.ContinueAsNew():
                return replace(event, input=redact_headers(event.input)) if self._is_http else event
            case ev.ExecutionCompleted():
                shows = self._is_http and event.result
                return replace(event, result=redact_headers(event.result)) if shows else event
            case _:
                return event


def redact_records(records: Iterable[ev.Record]) -> Iterator[ev.Record]:
    """Redact the records of one history for display."""
    return map(Redactor().redact, records)
