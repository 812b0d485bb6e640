"""Aggregator: entities keep totals of what many senders tell them, over any time.

durable entity signal @counter@visits add --input 3
durable entity get @counter@visits
durable run aggregate_log --input '{"path": "access.log"}'
durable entity list --name page
"""

import re
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import durablecli as df

# As Apache, nginx and `python -m http.server` write it: 127.0.0.1 - - [23/Nov/2026 …] "GET /a HTTP/1.1" 200 512
_REQUEST = re.compile(r'^(\S+) .* "(?:[A-Z]+) (\S+)[^"]*" (\d{3}) (\d+|-)').match
_LINES_AT_ONCE = 1000


@df.entity
def counter(context: df.DurableEntityContext) -> None:
    """An entity as a function: it is called once for each operation."""
    value = context.get_state(lambda: 0)
    match context.operation_name:
        case "add":
            context.set_state(value + context.get_input(int))
        case "reset":
            context.set_state(0)
        case "get":
            context.set_result(value)
        case unknown:
            raise ValueError(f"a counter can add, reset and get, not {unknown}")


@dataclass(frozen=True)
class Request:
    """One line of an access log."""

    host: str
    page: str
    status: int
    size: int


@df.entity
@dataclass
class Page:
    """An entity as a class: its public methods are the operations, and what it holds is the state."""

    requests: int = 0
    errors: int = 0
    size: int = 0
    hosts: list[str] = field(default_factory=list)

    def record(self, request: Request) -> None:
        self.requests += 1
        self.errors += request.status >= 400
        self.size += request.size
        if request.host not in self.hosts:
            self.hosts.append(request.host)

    def summary(self) -> dict[str, int]:
        return {"requests": self.requests, "errors": self.errors, "size": self.size, "hosts": len(self.hosts)}


@dataclass(frozen=True)
class Log:
    """Lines of a log file, from byte `start` on."""

    path: str
    start: int = 0


@dataclass(frozen=True)
class Portion:
    """The requests of some lines, and where the next ones begin; None at the end of the file."""

    requests: list[Request]
    following: int | None


@df.activity
def read_requests(log: Log) -> Portion:
    """Read on in the log; lines that are no requests are passed over."""
    found: list[Request] = []
    with Path(log.path).open("rb") as file:
        file.seek(log.start)
        for _ in range(_LINES_AT_ONCE):
            line = file.readline()
            if not line:
                return Portion(found, None)
            if request := _REQUEST(line.decode(errors="replace")):
                host, page, status, size = request.groups()
                found.append(Request(host, page, int(status), 0 if size == "-" else int(size)))
        return Portion(found, file.tell())


@df.orchestrator
def aggregate_log(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, Any]]:
    """Tell each page about its requests, then ask it for its totals: what was sent before is in them."""
    log: Log = context.get_input(Log)
    pages: set[str] = set()
    following: int | None = log.start
    while following is not None:
        portion: Portion = yield context.call_activity(read_requests, Log(log.path, following))
        for request in portion.requests:
            context.signal_entity(df.EntityId("page", request.page), "record", request)
            pages.add(request.page)
        context.signal_entity(df.EntityId("counter", "requests"), "add", len(portion.requests))
        following = portion.following
    names = sorted(pages)
    totals = yield context.task_all([context.call_entity(df.EntityId("page", name), "summary") for name in names])
    return dict(zip(names, totals, strict=True))
