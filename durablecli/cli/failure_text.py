"""Failures as text: what was raised, at which line, by which task; of equal failures their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from durablecli.client import FailureCause, FailureReport, SourceLine, TaskFailures
from durablecli.plurals import format_count
from durablecli.project import display_source_path

_MAX_GROUPS = 10
_MAX_LINES = 12
_MAX_LINE_LENGTH = 1_000
_KINDS = {"activity": "activity", "child": "sub-orchestration", "entity": "operation"}


def format_source_line(at: SourceLine) -> str:
    """Format a place as `workflows/tour.py:41`."""
    return f"{display_source_path(at.file)}:{at.line}"


def format_cause(cause: FailureCause) -> str:
    """Format what was raised and where, in one line: `ValueError: empty city at workflows/tour.py:41`."""
    where = f" at {format_source_line(cause.at)}" if cause.at is not None else ""
    return f"{message_lines(cause.text)[0]}{where}"


def message_lines(text: str) -> list[str]:
    """Return the lines of a message, without those beyond a limit."""
    lines = [line.rstrip() for line in text.expandtabs().splitlines() if line.strip()] or [""]
    more = len(lines) - _MAX_LINES
    shown = lines if more <= 1 else [*lines[:_MAX_LINES], f"… and {more:,} more lines"]
    return [line if len(line) <= _MAX_LINE_LENGTH else f"{line[:_MAX_LINE_LENGTH]}…" for line in shown]


def describe_failure(report: FailureReport) -> Iterator[str]:
    """Yield what was raised, and on lines of their own where, what led to it, and who awaited it."""
    yield from message_lines(report.text)
    if where := _describe_place(report.at, report.task):
        yield where
    for part in report.parts[:_MAX_GROUPS]:
        yield f"with {message_lines(part.text)[0]}"
        if part.at is not None:
            yield f"  at {_describe_line(part.at)}"
    if len(report.parts) > _MAX_GROUPS:
        yield f"… and {format_count(len(report.parts) - _MAX_GROUPS, 'other exception')}"
    for cause in report.causes:
        first, *rest = message_lines(cause.text)
        yield f"caused by {first}"
        yield from rest
        if where := _describe_place(cause.at, cause.task):
            yield where
    yield from (f"awaited at {_describe_line(line)}" for line in report.awaited_at)


def _describe_place(at: SourceLine | None, task: str) -> str:
    where = [f"at {_describe_line(at)}"] if at is not None else []
    return ", ".join(filter(None, [*where, task]))


def _describe_line(at: SourceLine) -> str:
    return f"{format_source_line(at)} in {at.function}" if at.function else format_source_line(at)


def describe_task_failures(groups: Sequence[TaskFailures]) -> Iterator[str]:
    """Yield two lines for each group: how many tasks have failed with what, and where."""
    for group in groups[:_MAX_GROUPS]:
        message = message_lines(group.text)[0]
        if group.differ:
            message = f"{group.type.rpartition('.')[2]}, such as: {message_lines(group.message)[0]}"
        yield f"{group.count:,} × {message}"
        label = f" [{group.label}]" if group.label else ""
        example = f"id {group.id}{label}" if group.target is None else f"id {group.id}{label}, {group.target}"
        task = f"{_KINDS[group.kind]} {group.name}, {'e.g. ' * (group.count > 1)}{example}"
        yield f"  {_describe_place(group.at, task)}"
    if len(groups) > _MAX_GROUPS:
        yield f"… and {format_count(len(groups) - _MAX_GROUPS, 'other failure')}"


def has_more_to_say(groups: Sequence[TaskFailures], failure: FailureReport | None) -> bool:
    """Whether the failures of tasks are more than the one that the instance failed with."""
    if failure is None or sum(group.count for group in groups) > 1:
        return bool(groups)
    return any(group.at != failure.at or not _is_same_text(failure.text, group.text) for group in groups)


def is_same_failure(groups: Sequence[TaskFailures], failure: FailureReport) -> bool:
    """Whether several tasks have failed, all with the failure that the instance failed with."""
    if len(groups) != 1 or groups[0].count == 1 or groups[0].differ:
        return False
    return groups[0].at == failure.at and _is_same_text(failure.text, groups[0].text)


def _is_same_text(text: str, whole: str) -> bool:
    """Whether a text is the whole one, or its beginning: causes of a failure are recorded with limited texts."""
    return text == whole or (text.endswith("…") and whole.startswith(text[:-1]))


def traceback_lines(failure: FailureReport | None, groups: Sequence[TaskFailures]) -> Iterator[str]:
    """Yield the tracebacks of an instance's failure, and of the failures of its tasks that it doesn't show."""
    if failure is not None:
        yield from failure.traceback.expandtabs().splitlines()
    shown = failure.traceback if failure is not None else ""
    for group in groups[:_MAX_GROUPS]:
        if group.traceback not in shown:
            yield ""
            yield f"{group.count:,} × {_KINDS[group.kind]} {group.name}, {'e.g. ' * (group.count > 1)}id {group.id}:"
            yield from group.traceback.expandtabs().splitlines()
