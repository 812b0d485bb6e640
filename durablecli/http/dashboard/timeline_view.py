"""The rows of the timeline on the page of an instance: where each bar begins, how long it is, and what it says.

Up to a few dozen calls have a row each. Of more, those of one function share a row that shows how many were open at
each moment; so the page of a fan-out of ten thousand is as small as that of a chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import accumulate

import msgspec

from durablecli.client.timeline import FAILED, OPEN, CallSpan, Timeline, TimelineCall, TimelineMark
from durablecli.durations import format_length
from durablecli.model.entity_id import parse_entity_name

MAX_ROWS = 40
PAGE_ROWS = 50
_BINS = 120
_TICKS = 4
_MIN_WIDTH = 0.35
_MAX_MARKS = 100
_ZERO = timedelta(0)


class TimelineBar(msgspec.Struct, frozen=True, gc=False):
    """One bar: position and width in percent of the chart, top and height in percent of its row."""

    x: str
    width: str
    style: str
    title: str = ""
    y: str = "0"
    height: str = "100"


class TimelineRow(msgspec.Struct, frozen=True):
    """One row: a call, or the calls of one function if `count` is more than one; then `group` names them in a URL.

    `text` says in words what the bars show.
    """

    kind: str
    name: str
    outcome: str
    length: str
    text: str
    bars: tuple[TimelineBar, ...]
    n: int = 0
    target: str | None = None
    count: int = 1
    group: str = ""


class TimelineTick(msgspec.Struct, frozen=True):
    x: str
    text: str
    is_last: bool = False


class TimelineView(msgspec.Struct, frozen=True):
    """The rows, the ticks of the axis, and how many calls have no row."""

    rows: tuple[TimelineRow, ...]
    ticks: tuple[TimelineTick, ...]
    length: str
    calls: int = 0
    more: int = 0


def lay_out_timeline(timeline: Timeline, now: datetime) -> TimelineView:
    """Lay out the timeline; of an execution that runs, until now."""
    scale = _Scale(timeline, now)
    rows = [*_pause_rows(timeline, scale), *_mark_rows(timeline.marks, scale)]
    found, more = _call_rows(timeline.calls, scale)
    return TimelineView(
        (*rows, *found),
        scale.ticks(),
        format_length(scale.length),
        len(timeline.calls),
        more,
    )


def lay_out_group(timeline: Timeline, now: datetime, group: str, offset: int = 0) -> tuple[list[TimelineRow], int]:
    """Return a page of the rows of one group, failed calls first and then the longest, and how many follow."""
    scale = _Scale(timeline, now)
    calls = [call for call in timeline.calls if _group_of(call) == group]
    calls.sort(key=lambda call: (call.outcome != FAILED, call.attempts < 2, -call.length(scale.end)))
    shown = calls[offset : offset + PAGE_ROWS]
    return [_call_row(call, scale) for call in shown], max(0, len(calls) - offset - len(shown))


# ── the scale ────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Scale:
    def __init__(self, timeline: Timeline, now: datetime) -> None:
        self.start = timeline.started
        self.end = timeline.ended or max(now, timeline.updated)
        self.length = max(self.end - self.start, timedelta(milliseconds=1))

    def fraction(self, at: datetime) -> float:
        return min(1.0, max(0.0, (at - self.start) / self.length))

    def bar(self, since: datetime, until: datetime | None, style: str, title: str = "") -> TimelineBar:
        left, right = 100 * self.fraction(since), 100 * self.fraction(until or self.end)
        width = max(right - left, _MIN_WIDTH)
        return TimelineBar(_percent(min(left, 100 - width)), _percent(width), style, title)

    def ticks(self) -> tuple[TimelineTick, ...]:
        return tuple(
            TimelineTick(_percent(100 * at / _TICKS), f"+{format_length(self.length * at / _TICKS)}" if at else "0")
            if at < _TICKS
            else TimelineTick("100", f"+{format_length(self.length)}", is_last=True)
            for at in range(_TICKS + 1)
        )

    def offset(self, at: datetime) -> str:
        return f"+{format_length(at - self.start)}"


def _percent(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


# ── pauses and marks ─────────────────────────────────────────────────────────────────────────────────────────────────


def _pause_rows(timeline: Timeline, scale: _Scale) -> Iterable[TimelineRow]:
    for kind in ("blocked", "suspended"):
        pauses = [pause for pause in timeline.pauses if pause.kind == kind]
        if not pauses:
            continue
        bars = tuple(
            scale.bar(
                pause.since,
                pause.until,
                kind,
                f"{kind} {scale.offset(pause.since)}, for {format_length((pause.until or scale.end) - pause.since)}"
                + (f": {_first_line(pause.reason)}" if pause.reason else ""),
            )
            for pause in pauses[:_MAX_MARKS]
        )
        total = sum(((pause.until or scale.end) - pause.since for pause in pauses), _ZERO)
        outcome = kind if pauses[-1].until is None else ""
        yield TimelineRow(kind, kind, outcome, format_length(total), bars[-1].title, bars)


_MARK_NAMES = {
    "event": "events received",
    "signal": "signals sent",
    "sent": "events sent",
    "rewound": "rewinds",
    "terminated": "terminated",
    "continued": "continue_as_new",
}


def _mark_rows(marks: Sequence[TimelineMark], scale: _Scale) -> Iterable[TimelineRow]:
    for kind, name in _MARK_NAMES.items():
        found = [mark for mark in marks if mark.kind == kind]
        if not found:
            continue
        by_place: dict[int, list[TimelineMark]] = {}
        for mark in found:
            by_place.setdefault(round(_MAX_MARKS * scale.fraction(mark.at)), []).append(mark)
        bars = tuple(
            scale.bar(each[0].at, each[0].at, f"mark {kind}", _describe_marks(each, scale))
            for each in by_place.values()
        )
        names = ", ".join(dict.fromkeys(mark.name for mark in found[:20]))
        text = f"{len(found):,} × {names}" if len(found) > 1 else f"{names} at {scale.offset(found[0].at)}"
        yield TimelineRow("mark", name, "", "", _first_line(text), bars, found[0].n)


def _describe_marks(marks: Sequence[TimelineMark], scale: _Scale) -> str:
    first = marks[0]
    more = f" and {len(marks) - 1:,} more" if len(marks) > 1 else ""
    return f"{_first_line(first.name)}{more}, {scale.offset(first.at)}"


def _first_line(text: str) -> str:
    line = next(iter(text.splitlines()), "")
    return line if len(line) <= 200 else f"{line[:199]}…"


# ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _group_of(call: TimelineCall) -> str:
    if call.kind == "entity" and call.target is not None:
        return f"entity:@{parse_entity_name(call.target)}.{call.name}"
    return f"{call.kind}:{call.name}"


def _call_rows(calls: Sequence[TimelineCall], scale: _Scale) -> tuple[list[TimelineRow], int]:
    """Return a row for each call, or for the calls of each function if there are many; and how many have none."""
    if len(calls) <= MAX_ROWS:
        return [_call_row(call, scale) for call in calls], 0
    groups: dict[str, list[TimelineCall]] = {}
    for call in calls:
        groups.setdefault(_group_of(call), []).append(call)
    rows: list[TimelineRow] = []
    more = 0
    for group, members in groups.items():
        if len(rows) >= MAX_ROWS:
            more += len(members)
        elif len(members) > 3:
            rows.append(_group_row(group, members, scale))
        else:
            rows += [_call_row(call, scale) for call in members]
    return rows, more


def _call_row(call: TimelineCall, scale: _Scale) -> TimelineRow:
    outcome = call.outcome
    length = format_length(call.length(scale.end))
    bars = tuple(_span_bar(span, scale) for span in call.spans[:_MAX_MARKS])
    words = [f"{_OUTCOME_TEXTS.get(outcome, outcome)} {scale.offset(call.since)}", f"{length}"]
    if call.attempts > 1:
        words.append(f"{call.attempts} attempts")
    if outcome == FAILED and call.failure is not None:
        words.append(_first_line(f"{call.failure.type.rpartition('.')[2]}: {call.failure.message}"))
    name = call.name if call.kind != "entity" else f"{call.target} {call.name}"
    label = call.label or name
    return TimelineRow(call.kind, label, outcome, length, ", ".join(words), bars, call.n, call.target)


_OUTCOME_TEXTS = {OPEN: "open since", "unfinished": "not finished, began", "void": "undone by a rewind, began"}


def _span_bar(span: CallSpan, scale: _Scale) -> TimelineBar:
    length = format_length((span.until or scale.end) - span.since)
    what = f"attempt {span.attempt}" if span.kind == "attempt" else span.kind
    title = f"{what} {span.outcome}, {scale.offset(span.since)}, {length}"
    if span.failure is not None:
        title += f": {_first_line(span.failure.message)}"
    return scale.bar(span.since, span.until, f"{span.kind} {span.outcome}", title)


def _group_row(group: str, calls: Sequence[TimelineCall], scale: _Scale) -> TimelineRow:
    failed = sum(call.outcome == FAILED for call in calls)
    open_calls = sum(call.until is None for call in calls)
    retried = sum(call.attempts > 1 for call in calls)
    lengths = sorted(call.length(scale.end) for call in calls)
    words = [f"{len(calls):,} calls"]
    words += [
        f"{count:,} {what}" for count, what in ((failed, "failed"), (open_calls, "open"), (retried, "retried")) if count
    ]
    words.append(f"median {format_length(lengths[len(lengths) // 2])}, longest {format_length(lengths[-1])}")
    since, until = min(call.since for call in calls), max(call.until or scale.end for call in calls)
    first = calls[0]
    name = group.partition(":")[2]
    outcome = FAILED if failed else OPEN if open_calls else first.outcome
    text = ", ".join(words)
    return TimelineRow(
        first.kind, name, outcome, format_length(until - since), text, _density_bars(calls, scale), first.n,
        count=len(calls), group=group,
    )  # fmt: skip


def _density_bars(calls: Sequence[TimelineCall], scale: _Scale) -> tuple[TimelineBar, ...]:
    """One bar for each moment: how many calls were open, and below it in another colour how many failed."""
    changes, failures = [0] * (_BINS + 1), [0] * _BINS
    for call in calls:
        first = min(_BINS - 1, int(_BINS * scale.fraction(call.since)))
        last = min(_BINS - 1, int(_BINS * scale.fraction(call.until or scale.end)))
        changes[first] += 1
        changes[last + 1] -= 1
        for span in call.spans:
            if span.outcome == FAILED and span.until is not None:
                failures[min(_BINS - 1, int(_BINS * scale.fraction(span.until)))] += 1
    open_counts = list(accumulate(changes[:_BINS]))
    most = max(open_counts)
    bars = []
    for at, (count, failed) in enumerate(zip(open_counts, failures, strict=True)):
        if not count:
            continue
        moment = f"+{format_length(scale.length * at / _BINS)}"
        title = f"{moment}: {count:,} open" + (f", {failed:,} failed attempts" if failed else "")
        x, width = _percent(100 * at / _BINS), _percent(100 / _BINS)
        height = max(8.0, 100 * count / most)
        bars.append(TimelineBar(x, width, "density", title, _percent(100 - height), _percent(height)))
        if failed:
            height = max(30.0, 100 * failed / most)
            bars.append(TimelineBar(x, width, "density failed", title, _percent(100 - height), _percent(height)))
    return tuple(bars)
