"""The watchdog reports a line of the author's code."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from durablecli.engine.watchdog import find_author_line
from durablecli.model import events as ev
from durablecli.replay.function_marks import UNKNOWN_TRAITS
from durablecli.replay.replay import create_executor
from tests.support.executor_harness import ExecutorHarness

FLOW = """
def helper(capture, through):
    return through(capture)

def flow(context):
    capture, through = context
    helper(capture, through)
    yield
"""


def compile_in(file: str, source: str = FLOW) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(source, file, "exec"), names)  # noqa: S102 - code in a file of any name
    return names


def find_line(flow: Callable[..., Any], through: Callable[..., Any]) -> tuple[str, int]:
    """What is named while a flow runs whose helper calls `capture` through something else."""
    found: list[tuple[str, int]] = []

    def capture(*_: object) -> int:
        frame: FrameType | None = sys._getframe(1)
        found.append(find_author_line(frame, flow))
        return 0

    def function(context: Any) -> Any:
        return flow((capture, through))

    run_in_harness(function)
    return found[0]


def run_in_harness(function: Callable[..., Any]) -> None:
    ExecutorHarness(function, check=False)


def call_directly(capture: Callable[..., Any]) -> Any:
    return capture()


LIBRARY = os.path.join(sysconfig.get_paths()["purelib"], "library.py")
through_a_library = compile_in(LIBRARY, "def call(capture):\n    return capture()\n")["call"]


@pytest.mark.parametrize(
    "file",
    [
        "/opt/app/workflows/orders.py",
        os.path.join(sys.prefix, "app", "orders.py"),
        os.path.join(sys.base_prefix, "src", "orders.py"),
        "/opt/function_app.py",
    ],
)
@pytest.mark.parametrize("through", [through_a_library, lambda capture: sorted([1], key=capture)])
def test_it_is_the_innermost_frame_outside_libraries(file: str, through: Callable[..., Any]) -> None:
    names = compile_in(file)
    found, line = find_line(names["flow"], through)
    assert (found, line) in [(file, 3), (__file__, through.__code__.co_firstlineno)]


def test_in_a_library_orchestrator_it_is_the_orchestrators_own_line() -> None:
    names = compile_in(LIBRARY)
    assert locate_without_ours(names["flow"]) == (LIBRARY, 7)


def locate_without_ours(flow: Callable[..., Any]) -> tuple[str, int]:
    found: list[tuple[str, int]] = []
    names = compile_in(LIBRARY, "import sys\n\ndef frame():\n    return sys._getframe(1)\n")

    def through(capture: Callable[..., Any]) -> None:
        capture()

    def note() -> None:
        frame: FrameType | None = names["frame"]()
        assert frame is not None
        assert frame.f_back is not None
        assert frame.f_back.f_back is not None
        found.append(find_author_line(frame.f_back.f_back, flow))

    ExecutorHarness(lambda context: flow((note, through)), check=False)
    return found[0]


def test_while_no_code_of_the_author_runs_it_is_where_the_orchestrator_begins() -> None:
    names = compile_in("/opt/app/orders.py")
    assert find_author_line(sys._getframe(), names["flow"]) == ("/opt/app/orders.py", 5)
    assert find_author_line(None, names["flow"]) == ("/opt/app/orders.py", 5)


def test_nothing_is_named_that_is_not_there() -> None:
    assert find_author_line(sys._getframe(), None) == ("?", 0)
    assert find_author_line(None, len) == ("?", 0)


def test_the_executor_exposes_the_function_it_runs() -> None:
    def flow(context: Any) -> None: ...

    executor = create_executor(flow, ev.ExecutionStarted("x", "1", "flow"), lambda name: UNKNOWN_TRAITS)
    assert executor.function is flow
