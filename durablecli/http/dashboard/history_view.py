"""The history on the page of an instance: records as rows of text, with equal ones in a row folded into one.

A row has only the beginning of each payload. A payload of 16 MiB is neither parsed nor sent for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import msgspec
from msgspec import Raw

from durablecli.client.wait_summary import format_entities
from durablecli.durations import format_length
from durablecli.http.dashboard.payload_view import PayloadView, preview_payload, show_payload
from durablecli.model import events as ev
from durablecli.model.failure_report import FailureReport, make_report
from durablecli.model.failures import Failure

MIN_FOLDED = 5
PAGE_SIZE = 100
_MAX_STEPS = 60
_FULL_PREVIEW_BYTES = 60


class HistoryRow(msgspec.Struct, frozen=True):
    """One record, or the records `n` to `last_n` if `count` is more than one. `style` is a class of the page's style.

    `offset` is the time since the execution began. `refs` are the records that it answers.
    """

    n: int
    last_n: int
    count: int
    kind: str
    style: str
    offset: str
    time: str
    text: str
    payloads: tuple[PayloadView, ...] = ()
    refs: tuple[int, ...] = ()
    target: str | None = None
    has_failure: bool = False

    @property
    def has_more(self) -> bool:
        """Whether the row doesn't show all of the record."""
        return self.has_failure or any(each.size > _FULL_PREVIEW_BYTES for each in self.payloads)


class HistoryPage(msgspec.Struct, frozen=True):
    """A page of rows, and the number of the record at which the next page begins; 0 if there is none."""

    rows: tuple[HistoryRow, ...]
    next: int = 0
    total: int = 0


class CallStep(msgspec.Struct, frozen=True):
    """One record of a call, with all that it holds."""

    row: HistoryRow
    payloads: tuple[PayloadView, ...] = ()
    failure: FailureReport | None = None


class CallView(msgspec.Struct, frozen=True):
    """One call: the number of the record that began it, its records, and how many of them aren't shown."""

    n: int
    title: str
    steps: tuple[CallStep, ...]
    more: int = 0


def make_call_view(records: Sequence[ev.Record], n: int) -> CallView | None:
    """Show the call that record `n` belongs to: all attempts, their results and the back-off between them.

    None if there is no such record. The records are redacted.
    """
    found = next((record for record in records if record.n == n), None)
    if found is not None and (answered := _answered(found.event)):
        found = next((record for record in records if record.n == answered), found)
    if found is None:
        return None
    first = getattr(found.event, "retry_of", None) or found.n
    attempts = {first} | {record.n for record in records if getattr(record.event, "retry_of", None) == first}
    wanted = [record for record in records if record.n in attempts or _answered(record.event) in attempts]
    names = {record.n: _name(record.event) for record in wanted}
    steps = tuple(
        CallStep(_row(record, names, records[0]), show_payloads(record.event), report_failure(record.event))
        for record in wanted[:_MAX_STEPS]
    )
    return CallView(first, _describe(wanted[0], names), steps, len(wanted) - len(steps))


def make_history_page(
    records: Sequence[ev.Record], first: int = 1, last: int | None = None, *, fold: bool = True
) -> HistoryPage:
    """Make the page that begins with record `first`, of the records up to `last`. The records are redacted."""
    if not records:
        return HistoryPage(())
    names = {record.n: _name(record.event) for record in records}
    wanted = [record for record in records if first <= record.n <= (last or records[-1].n)]
    rows: list[HistoryRow] = []
    for run in _runs(wanted, names) if fold else ([record] for record in wanted):
        if len(rows) >= PAGE_SIZE:
            return HistoryPage(tuple(rows), run[0].n, len(records))
        if len(run) >= MIN_FOLDED:
            rows.append(_folded_row(run, names, records[0]))
        else:
            rows += [_row(record, names, records[0]) for record in run]
    return HistoryPage(tuple(rows), 0, len(records))


def _runs(records: Sequence[ev.Record], names: dict[int, str]) -> Iterator[list[ev.Record]]:
    for _, run in groupby(records, lambda record: (type(record.event), _subject(record.event, names))):
        yield list(run)


def _subject(event: ev.AnyEvent, names: dict[int, str]) -> str:
    """The function, event or operation that a record is about."""
    answered = _answered(event)
    return names.get(answered, "") if answered else _name(event)


def _answered(event: ev.AnyEvent) -> int:
    n: int = getattr(event, "task", 0) or getattr(event, "timer", 0) or getattr(event, "lock", 0)
    return n


def _name(event: ev.AnyEvent) -> str:
    return str(getattr(event, "name", ""))


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _folded_row(run: Sequence[ev.Record], names: dict[int, str], first: ev.Record) -> HistoryRow:
    one, last = run[0], run[-1]
    subject = _subject(one.event, names)
    length = format_length(last.at - one.at)
    return HistoryRow(
        one.n, last.n, len(run), type(one.event).__name__, _style(one.event), _offset(one, first), _time(one),
        f"{subject or type(one.event).__name__} × {len(run):,}, within {length}",
    )  # fmt: skip


def _row(record: ev.Record, names: dict[int, str], first: ev.Record) -> HistoryRow:
    event = record.event
    answered = _answered(event)
    held = ", held" if getattr(event, "held", False) else ""
    target = getattr(event, "instance", None) or getattr(event, "entity", None)
    if isinstance(event, ev.ExecutionStarted):
        target = event.parent.instance if event.parent else None
    elif isinstance(event, ev.EventRaised) and event.sender is not None:
        target = event.sender.instance
    return HistoryRow(
        record.n, record.n, 1, type(event).__name__, _style(event), _offset(record, first), _time(record),
        f"{_describe(record, names)}{held}", tuple(_payloads(event, preview_payload)), (answered,) if answered else (),
        target, show_failure(event) is not None,
    )  # fmt: skip


def _offset(record: ev.Record, first: ev.Record) -> str:
    return f"+{format_length(record.at - first.at)}"


def _time(record: ev.Record) -> str:
    return record.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _style(event: ev.AnyEvent) -> str:
    if isinstance(event, ev.ExecutionCompleted):
        return "failed" if event.status != "Completed" else "completed"
    name = type(event).__name__
    for ending, style in (("Failed", "failed"), ("Blocked", "failed"), ("Terminated", "failed")):
        if name.endswith(ending):
            return style
    return "completed" if name.endswith("Completed") else "other"


def _describe(record: ev.Record, names: dict[int, str]) -> str:
    event = record.event
    match event:
        case ev.ExecutionStarted():
            return f"{event.name}, version {event.version}" if event.version else event.name
        case ev.TaskScheduled() | ev.SubOrchestrationInstanceCreated():
            label = getattr(event, "label", None)
            name = f"{event.name} [{label}]" if label else event.name
            version = f", version {event.version}" if event.version else ""
            return f"{name}{version}, attempt {event.attempt}" if event.attempt > 1 else f"{name}{version}"
        case ev.TaskFailed() | ev.SubOrchestrationInstanceFailed() | ev.EntityOperationFailed():
            return f"{names.get(event.task, '')}: {_failure_line(event.failure)}"
        case (
            ev.TaskCompleted()
            | ev.SubOrchestrationInstanceCompleted()
            | ev.EntityOperationCompleted()
            | ev.TaskCanceled()
        ):
            return names.get(event.task, "")
        case ev.TimerCreated():
            what = "back-off" if event.retry_of else "timer"
            return f"{what} of {format_length(event.fire_at - record.at)}"
        case ev.ExecutionCompleted():
            return f"{event.status}: {_failure_line(event.failure)}" if event.failure else event.status
        case ev.ExecutionRewound():
            undone = len(event.forgotten) + len(event.void)
            return f"{event.reason or 'rewound'} ({undone} records undone)"
        case ev.EventSent():
            return f"{event.name}, undelivered" if event.undelivered else event.name
        case ev.EventWaitsChanged():
            return ", ".join(name for _, name in event.waits[:5]) or "no open wait"
        case ev.OrchestratorStarted():
            worker = " on a worker" if event.time is not None else ""
            return f"applies the held records up to {event.upto}{worker}"
        case ev.ContinueAsNew():
            return f"version {event.version}" if event.version else ""
        case ev.EntityUnlockSent():
            return event.entity or ""
        case _:
            return _first_line(_name(event) or str(getattr(event, "reason", "")) or _entities(event))


def _entities(event: ev.AnyEvent) -> str:
    return format_entities(event.entities) if isinstance(event, ev.EntityLockRequested) else ""


def _failure_line(failure: Failure) -> str:
    return _first_line(f"{failure.type.rpartition('.')[2]}: {failure.message}")


def _first_line(text: str) -> str:
    line = next(iter(text.splitlines()), "")
    return line if len(line) <= 300 else f"{line[:299]}…"


# ── payloads ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def payload_of(event: ev.AnyEvent, name: str) -> Raw | None:
    """The payload of a record by its name; None if it has none of this name."""
    value = getattr(event, name, None)
    return value if isinstance(value, Raw) and value else None


def show_payloads(event: ev.AnyEvent) -> tuple[PayloadView, ...]:
    """The payloads of a record, each formatted, up to a limit."""
    return tuple(_payloads(event, show_payload))


def show_failure(event: ev.AnyEvent) -> Failure | None:
    """The failure that a record has, if any."""
    found = getattr(event, "failure", None)
    return found if isinstance(found, Failure) else None


def report_failure(event: ev.AnyEvent) -> FailureReport | None:
    """The failure that a record has, if any: what was raised where, and the traceback without durablecli's frames."""
    failure = show_failure(event)
    return make_report(failure) if failure is not None else None


def _payloads(event: ev.AnyEvent, show: Callable[[str, Raw], PayloadView]) -> Iterator[PayloadView]:
    for name in ("input", "result", "status", "output"):
        value = payload_of(event, name)
        if value is not None and bytes(memoryview(value)[:5]) != b"null":
            yield show(name, value)
