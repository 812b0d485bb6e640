"""The trace that an execution or operation belongs to, as in the W3C headers `traceparent` and `tracestate`.

Durable Functions calls it the ParentTraceContext of a start. The span of an execution has an id that follows from its
trace and its execution: what it has sent names its span long before the span is emitted, and also after a restart.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

_NO_PARENT = "0" * 16
_VERSION = "00"


class TraceContext(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The parent of a span: `traceparent` is version, trace id, span id and flags. A span id of zeros is no parent: the
    span is the root of its trace."""

    traceparent: str
    tracestate: str = ""


class TraceParent(NamedTuple):
    """A parsed `traceparent`; `span_id` is 0 for the root of a trace."""

    trace_id: int
    span_id: int
    flags: int


def make_traceparent(trace_id: int, span_id: int, flags: int) -> str:
    return f"{_VERSION}-{trace_id:032x}-{span_id:016x}-{flags:02x}"


def parse_traceparent(text: str) -> TraceParent | None:
    """Parse a traceparent; None if it is none, or has no trace."""
    parts = text.split("-")
    if [len(part) for part in parts[:4]] != [2, 32, 16, 2]:
        return None
    try:
        trace_id, span_id, flags = (int(part, 16) for part in parts[1:4])
    except ValueError:
        return None
    return TraceParent(trace_id, span_id, flags) if trace_id else None


def is_root(trace: TraceContext) -> bool:
    """Whether the span has no parent."""
    return trace.traceparent[36:52] == _NO_PARENT


def make_span_id(trace: TraceContext, instance: str, execution: str) -> int:
    """Make the id of an execution's span: always the same one, and never 0."""
    text = f"{trace.traceparent[3:35]}/{instance}/{execution}"
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") or 1


def make_execution_context(trace: TraceContext | None, instance: str, execution: str) -> TraceContext | None:
    """Make the context of what an execution sends: its own span is the parent. None if the execution has no trace."""
    if trace is None:
        return None
    span_id = make_span_id(trace, instance, execution)
    return TraceContext(f"{trace.traceparent[:36]}{span_id:016x}{trace.traceparent[52:]}", trace.tracestate)
