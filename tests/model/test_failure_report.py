"""Reports of failures: the author's line, the exception that counts, and a traceback without durablecli's frames."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from durablecli.engine.workers import activity
from durablecli.errors import TaskFailedError
from durablecli.model.failure_report import FailureReport, make_report
from durablecli.model.failures import Failure, from_exception, to_exception
from durablecli.model.traceback_text import SourceLine, find_author_line, without_own_frames

OURS = f'  File "{activity.__file__}", line 56, in run\n    value = self.function.call(*positional, **keywords)\n'
ELSEWHERE = '  File "/venv/lib/python3.12/site-packages/durablecli/replay/executor.py", line 1, in _run\n    run()\n'
VISIT = '  File "/app/workflows/tour.py", line 12, in visit\n    return check(city)\n           ^^^^^^^^^^^\n'
JSON = f'  File "{json.__file__}", line 346, in loads\n    return _default_decoder.decode(s)\n'
PACKAGE = '  File "/venv/lib/python3.12/site-packages/requests/api.py", line 59, in get\n    return request()\n'
FROZEN = '  File "<frozen importlib._bootstrap>", line 1, in _find\n'
HEADER = "Traceback (most recent call last):\n"
END = "ValueError: empty city\n"
VISIT_LINE = SourceLine("/app/workflows/tour.py", 12, "visit")


@pytest.mark.parametrize(
    ("frames", "line"),
    [
        (OURS + VISIT, VISIT_LINE),
        (OURS + VISIT + JSON + FROZEN, VISIT_LINE),
        (OURS + VISIT + PACKAGE + ELSEWHERE, VISIT_LINE),
        (OURS + PACKAGE + JSON, SourceLine("/venv/lib/python3.12/site-packages/requests/api.py", 59, "get")),
        (OURS + JSON, SourceLine(json.__file__, 346, "loads")),
        (OURS + ELSEWHERE, None),
        ("", None),
    ],
)
def test_the_authors_line_is_the_innermost_that_is_of_no_package(frames: str, line: SourceLine | None) -> None:
    assert find_author_line(HEADER + frames + END) == line


def test_the_line_of_a_syntax_error_counts() -> None:
    broken = '  File "/app/workflows/broken.py", line 3\n    def (\n        ^\n'
    assert find_author_line(HEADER + VISIT + broken + "SyntaxError: invalid syntax\n") == SourceLine(
        "/app/workflows/broken.py", 3
    )


def test_a_line_number_of_any_length_is_read() -> None:
    found = find_author_line(f'  File "/app/orders.py", line {"9" * 5000}\nSyntaxError: made up\n')
    assert found is not None
    assert found.line < 2**63


def test_own_frames_are_left_out_of_a_traceback() -> None:
    repeated = "  [Previous line repeated 900 more times]\n"
    assert without_own_frames(HEADER + OURS + VISIT + repeated + ELSEWHERE + JSON + END) == (
        HEADER + VISIT + repeated + JSON + END
    )
    assert without_own_frames(HEADER + OURS + repeated + END) == END
    assert without_own_frames(END) == END
    assert without_own_frames("") == ""


def test_a_truncated_traceback_keeps_its_end() -> None:
    assert without_own_frames("…rest of a line\n" + OURS + VISIT + END) == "…rest of a line\n" + VISIT + END


def test_frames_in_the_text_of_an_exception_are_text() -> None:
    text = f"RemoteError: the worker said\n{HEADER}{OURS}{JSON}{END}"
    assert without_own_frames(HEADER + OURS + VISIT + text) == HEADER + VISIT + text
    assert find_author_line(HEADER + VISIT + text.replace(json.__file__, "/app/other.py")) == VISIT_LINE


def test_own_frames_are_left_out_of_exception_groups() -> None:
    def fail() -> None:
        raise ExceptionGroup("two", [KeyError("a"), ValueError("b")])

    text = from_exception(_catch(fail)).traceback
    ours = [f"  | {line}" for line in OURS.splitlines()]
    lines = text.splitlines()
    given = "\n".join([*lines[:1], *ours, *lines[1:]]) + "\n"
    assert without_own_frames(given) == text
    assert find_author_line(text) == find_author_line(given)


def _catch(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except Exception as error:  # noqa: BLE001 - any is recorded
        return error
    raise AssertionError("nothing was raised")


def _failure(type: str, message: str, frames: str, cause: Failure | None = None) -> Failure:
    return Failure(type, message, (), f"{HEADER}{OURS}{frames}{type}: {message}\n", cause)


TOUR = '  File "/app/workflows/tour.py", line 36, in tour\n    yield context.call_activity(visit)\n'
CHILD = '  File "/app/workflows/tour.py", line 23, in child\n    yield context.call_activity(visit)\n'
ERROR = _failure("builtins.ValueError", "empty city", VISIT)


def _task_failed(label: str, frames: str, cause: Failure | None) -> Failure:
    kind = f"{TaskFailedError.__module__}.{TaskFailedError.__qualname__}"
    return _failure(kind, f"{label} failed: ValueError: empty city", frames, cause)


def test_the_report_is_of_what_the_activity_raised_and_names_the_lines_that_awaited_it() -> None:
    child = _task_failed("Activity function 'visit'", CHILD, ERROR)
    report = make_report(_task_failed("Orchestrator function 'child'", TOUR, child))
    assert (report.type, report.message, report.text) == ("ValueError", "empty city", "ValueError: empty city")
    assert (report.at, report.task) == (VISIT_LINE, "activity visit")
    assert [line.line for line in report.awaited_at] == [36, 23]
    assert report.causes == ()
    assert report.traceback.count("This led to the next exception:") == 2
    assert activity.__file__ not in report.traceback
    assert report.traceback.startswith(HEADER + VISIT)


@pytest.mark.parametrize(
    ("label", "task"),
    [
        ("Activity function 'visit'", "activity visit"),
        ("Orchestrator function 'child'", "sub-orchestration child"),
        ("Operation 'add' of entity @counter@a", "operation add of @counter@a"),
        ("It", ""),
    ],
)
def test_the_task_is_named_after_its_kind(label: str, task: str) -> None:
    assert make_report(_task_failed(label, TOUR, ERROR)).task == task


def test_an_exception_of_the_orchestrators_own_shows_what_led_to_it() -> None:
    own = _failure("tours.NoTour", "no tour today", TOUR, _task_failed("Activity function 'visit'", CHILD, ERROR))
    report = make_report(own)
    assert (report.text, report.task, report.awaited_at) == ("NoTour: no tour today", "", ())
    (cause,) = report.causes
    assert (cause.text, cause.at, cause.task) == ("ValueError: empty city", VISIT_LINE, "activity visit")


def test_a_failure_without_frames_or_text_has_a_report_too() -> None:
    assert make_report(Failure("builtins.ValueError", "")) == FailureReport("ValueError", "", traceback="ValueError\n")
    blocked = make_report(Failure("durablecli.NonDeterminism", "the code has changed"))
    assert (blocked.text, blocked.at) == ("the code has changed", None)
    alone = make_report(_task_failed("Activity function 'visit'", TOUR, None))
    assert (alone.text, alone.at and alone.at.line) == (
        "Activity function 'visit' failed: ValueError: empty city",
        36,
    )


def test_the_class_of_the_exception_that_an_orchestrator_caught_is_no_type_of_its_own() -> None:
    """A TaskFailedError is also a ValueError here, and still not what failed."""
    raised = to_exception(ERROR, "Activity function 'visit' failed: ValueError: empty city", {})
    report = make_report(from_exception(_catch(lambda: _raise(raised))))
    assert isinstance(raised, ValueError)
    assert (report.type, report.message, report.task) == ("ValueError", "empty city", "activity visit")


def _raise(error: BaseException) -> None:
    raise error


def test_the_report_of_an_exception_group_names_its_exceptions_and_their_lines() -> None:
    def fail(text: str) -> None:
        raise ConnectionError(text)

    errors: list[Exception] = []
    for text in ("no route to a", "no route to b\nfor now", "no route to a"):
        try:
            fail(text)
        except ConnectionError as error:
            errors.append(error)
    try:
        raise ExceptionGroup("outer", [errors[0], ExceptionGroup("inner", errors[1:]), ValueError("never raised")])
    except ExceptionGroup as group:
        report = make_report(from_exception(group))
    assert [part.text for part in report.parts] == [
        "ConnectionError: no route to a",
        "ConnectionError: no route to b",
        "ValueError: never raised",
    ]
    lines = [part.at and part.at.function for part in report.parts]
    assert lines == ["fail", "fail", None]
    assert make_report(from_exception(ValueError("no group"))).parts == ()
