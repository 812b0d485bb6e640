"""Failures as people read them: what was raised, at which line of the author's code, and a traceback without ours.

A report is made when it is read, from what the history has recorded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from durablecli.model.exception_types import TASK_FAILED_TYPE
from durablecli.model.failures import Failure, error_text, failure_text, iter_chain
from durablecli.model.traceback_text import SourceLine, find_author_line, find_group_parts, without_own_frames

_LABELS = (
    (re.compile(r"Activity function '(.*?)' failed: "), "activity {}"),
    (re.compile(r"Orchestrator function '(.*?)' failed: "), "sub-orchestration {}"),
    (re.compile(r"Operation '(.*?)' of entity (\S+) failed: "), "operation {} of {}"),
    (re.compile(r"Operation '(.*?)' on entity '(\S+)' failed with error: "), "operation {} of {}"),
)
"""How the text of a failed task begins, and the words for the task."""
_SDK_TASK_FAILED_TYPE = "durabletask.task.TaskFailedError"
_MAX_BRIEF_LENGTH = 300
_LED_TO = "\nThis led to the next exception:\n\n"


class FailureCause(msgspec.Struct, frozen=True, omit_defaults=True):
    """An exception that led to a failure. `task` is what raised it, such as `activity visit`, if that is known."""

    type: str
    message: str
    at: SourceLine | None = None
    task: str = ""

    @property
    def text(self) -> str:
        """`ValueError: empty city`."""
        return error_text(self.type, self.message)


class FailureReport(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What failed, and where: the exception that the author's code has raised, not the TaskFailedError made from it.

    `type` is the qualified name of its class, without `builtins`. `at` is the line of the author's code at which it was
    raised, None if no frame was recorded. `task` is the activity, sub-orchestration or operation that raised it, empty
    for the orchestrator itself. `causes` led to it, the nearest first. `awaited_at` are the lines at which
    orchestrators waited for the task, the outermost first. `traceback` shows all of this as Python does, without the
    frames of durablecli. `parts` are the exceptions of an exception group.
    """

    type: str
    message: str
    at: SourceLine | None = None
    task: str = ""
    causes: tuple[FailureCause, ...] = ()
    awaited_at: tuple[SourceLine, ...] = ()
    traceback: str = ""
    parts: tuple[FailureCause, ...] = ()

    @property
    def text(self) -> str:
        """`ValueError: empty city`."""
        return error_text(self.type, self.message)


def make_report(failure: Failure) -> FailureReport:
    """Make the report of a recorded failure."""
    links = list(iter_chain(failure))
    raised = _find_raised(links)
    head = _describe(links, raised)
    awaited = [find_author_line(link.traceback) for link in links[:raised]]
    causes = [at for at in range(raised + 1, len(links)) if not _is_task_failed(links[at])]
    return FailureReport(
        head.type,
        head.message,
        head.at,
        head.task,
        tuple(_describe(links, at) for at in causes),
        tuple(filter(None, awaited)),
        format_traceback(failure),
        tuple(_make_part(text, at) for text, at in find_group_parts(links[raised].traceback).items()),
    )


def _make_part(text: str, at: SourceLine | None) -> FailureCause:
    type, _, message = text.partition(": ")
    return FailureCause(type, message, at)


def make_cause(failure: Failure) -> FailureCause:
    """Describe only the exception that was raised."""
    links = list(iter_chain(failure))
    return _describe(links, _find_raised(links))


def make_brief_cause(failure: Failure) -> FailureCause:
    """Describe the exception that was raised, with at most the beginning of its message."""
    cause = make_cause(failure)
    if len(cause.message) <= _MAX_BRIEF_LENGTH:
        return cause
    return msgspec.structs.replace(cause, message=f"{cause.message[:_MAX_BRIEF_LENGTH]}…")


def first_line(text: str) -> str:
    """Return the first line of a text that isn't empty, cut after 300 characters and then ended with `…`."""
    first, *rest = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    if len(first) > _MAX_BRIEF_LENGTH:
        return f"{first[:_MAX_BRIEF_LENGTH]}…"
    return f"{first} …" if rest else first


def _find_raised(links: Sequence[Failure]) -> int:
    """Find the exception of the author's: the first one that isn't just that of a failed task."""
    return next((at for at, link in enumerate(links) if not _is_task_failed(link)), len(links) - 1)


def _is_task_failed(link: Failure) -> bool:
    """Whether an exception only says that a task has failed, here or in the durabletask SDK."""
    return link.type == TASK_FAILED_TYPE or (link.type == _SDK_TASK_FAILED_TYPE and link.cause is not None)


def _describe(links: Sequence[Failure], at: int) -> FailureCause:
    link = links[at]
    is_of_task = at > 0 and _is_task_failed(links[at - 1])
    task = find_task(links[at - 1].message) if is_of_task else ""
    return FailureCause(short_type(link), link.message, find_author_line(link.traceback), task)


def short_type(failure: Failure) -> str:
    """Return the qualified name of the type, without `builtins`."""
    return failure.type.removeprefix("builtins.")


def find_task(message: str) -> str:
    """Return which task failed, such as `activity visit`, from the message of a TaskFailedError; empty if unknown."""
    for pattern, words in _LABELS:
        if found := pattern.match(message):
            return words.format(*found.groups())
    return ""


def format_traceback(failure: Failure) -> str:
    """Return the traceback of a failure and its causes, the innermost first, without durablecli's frames."""
    parts: list[str] = []
    for link in iter_chain(failure):
        omitted = f"\n({link.omitted} exceptions are left out here.)\n" if link.omitted else ""
        text = without_own_frames(link.traceback) or f"{failure_text(link)}\n"
        parts += [f"{omitted}{_LED_TO}{text}" if link.cause is not None else text]
    return "".join(reversed(parts))
