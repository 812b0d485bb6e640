"""Captured output: what an orchestrator prints and logs is emitted once, as it was at that time."""

from __future__ import annotations

import io
import logging
import sys
import threading
import traceback
import warnings
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.engine.commit_builder import LogLine
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.instance_notes import InstanceNote
from durablecli.engine.log_capture import LogCapture
from durablecli.model import events as ev
from durablecli.replay.turn_log import PrintedText
from durablecli.testing import TestEnvironment

Context = df.DurableOrchestrationContext
own_logger = logging.getLogger("own.module")


@df.activity
def logs(text: str) -> None:
    own_logger.warning("activity %s", text)


def log_everywhere(text: str, context: Context) -> None:
    """Says a text by every way there is."""
    context.logger.warning("context: %s", text)
    logging.warning("root: %s", text)
    own_logger.warning("own: %s", text)
    logging.Logger("of nobody").warning("nobody: %s", text)
    print("out:", text)
    print("err:", text, file=sys.stderr)
    sys.stdout.writelines([f"lines: {text}\n"])


@df.orchestrator
def talks(context: Context) -> Any:
    try:
        log_everywhere("first", context)
        yield context.call_activity(logs, "one")
        log_everywhere("second", context)
        yield context.wait_for_external_event("Go")
        log_everywhere("third", context)
    finally:
        log_everywhere("finally", context)


def make_small_hub(*functions: Any) -> TestEnvironment:
    """A hub that keeps hardly any executor."""
    options = EngineOptions(use_threads=False, live_instances=1, turn_budget=timedelta.max)
    return TestEnvironment(testing.build_registry(*functions), testing.START, options)


@pytest.mark.parametrize("kind", ["live", "replayed", "restarted", "evicted"])
def test_output_is_emitted_once_however_often_it_is_replayed(
    kind: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.WARNING)
    with (
        make_small_hub(talks, logs)
        if kind == "evicted"
        else testing.hub(talks, logs, replay_always=kind == "replayed") as hub
    ):
        hub.client.start_new(talks, "x")
        hub.run()
        if kind == "restarted":
            hub.restart()
        for number in range(100 if kind == "evicted" else 0):
            hub.client.start_new(talks, f"other{number}")
            hub.run()
            caplog.clear()
            capsys.readouterr()
        before = ["first", "second"] if kind != "evicted" else []
        hub.client.raise_event("x", "Go")
        hub.finish("x")
    out, err = capsys.readouterr()
    expected = [*before, "third", "finally"]
    lines = [record.getMessage() for record in caplog.records]
    for way in ("context", "root", "own"):
        assert [line.partition(": ")[2] for line in lines if line.startswith(way)] == expected
    assert out.splitlines() == [f"{way}: {text}" for text in expected for way in ("out", "lines")]
    assert [line for line in err.splitlines() if line.startswith("err")] == [f"err: {text}" for text in expected]


def test_output_is_emitted_after_the_turn_is_on_disk_and_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    @df.orchestrator
    def flow(context: Context) -> Any:
        print("from the turn")
        yield context.call_activity(logs, "one")

    with testing.hub(flow, logs) as hub:
        appended = hub.disk.extend

        def extend(node: Any, data: bytes, path: str) -> None:
            if "journal" in path and b"TaskScheduled" in data:
                assert capsys.readouterr().out == ""
            appended(node, data, path)

        hub.disk.extend = extend  # type: ignore[method-assign]
        hub.finish(hub.client.start_new(flow))
        assert capsys.readouterr().out == "from the turn\n"


def run_and_collect_log(flow: Any, caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    caplog.set_level(logging.INFO)
    with testing.hub(flow, logs) as hub:
        status = hub.finish(hub.client.start_new(flow))
        assert status.runtime_status is df.OrchestrationRuntimeStatus.Completed, status.output
    return caplog.records


@pytest.mark.parametrize("by_context", [True, False])
def test_arguments_are_shown_as_they_were(by_context: bool, caplog: pytest.LogCaptureFixture) -> None:
    @df.orchestrator
    def flow(context: Context) -> Any:
        logger: Any = context.logger if by_context else own_logger
        items = [1]
        fields: Any = {"items": items}
        logger.info("%s of %s", items, len(items))
        logger.info(fields)
        logger.info("%(a)s", {"a": items})
        logger.info(items)
        items.append(2)
        yield context.call_activity(logs, "one")

    texts = [record.getMessage() for record in run_and_collect_log(flow, caplog)]
    assert texts[:4] == ["[1] of 1", "{'items': [1]}", "[1]", "[1]"]
    assert isinstance(caplog.records[1].msg, dict)


@pytest.mark.parametrize("by_context", [True, False])
def test_an_exception_comes_with_its_traceback(by_context: bool, caplog: pytest.LogCaptureFixture) -> None:
    @df.orchestrator
    def flow(context: Context) -> Any:
        logger: Any = context.logger if by_context else own_logger
        try:
            raise ValueError("the reason")
        except ValueError:
            logger.exception("it failed in %s", "flow")
        logger.error("again", exc_info=ValueError("given"), extra={"order": 7}, stack_info=True)
        yield context.call_activity(logs, "one")

    first, second = run_and_collect_log(flow, caplog)[:2]
    formatted = logging.Formatter().format(first)
    assert formatted.startswith("it failed in flow\nTraceback (most recent call last):")
    assert formatted.endswith("ValueError: the reason")
    assert (first.levelname, first.filename, first.funcName) == ("ERROR", "test_log_capture.py", "flow")
    assert "ValueError: given" in logging.Formatter().format(second)
    assert vars(second)["order"] == 7
    assert second.stack_info is not None
    assert "test_log_capture.py" in second.stack_info


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_line_that_cannot_be_formatted_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    @df.orchestrator
    def flow(context: Context) -> Any:
        loggers: list[Any] = [context.logger, own_logger]
        for logger in loggers:
            logger.info("%s and %s", *[1])
            logger.info(Unprintable())
            logger.info("%s", Unprintable())
        yield context.call_activity(logs, "one")

    texts = [record.getMessage() for record in run_and_collect_log(flow, caplog)]
    expected = ["%s and %s (not formatted: TypeError)", "Unprintable (not formatted: RuntimeError)"]
    assert texts[:6] == [*expected, "%s (not formatted: RuntimeError)"] * 2


class Broken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("no room")


def test_a_handler_that_raises_does_not_stop_the_engine(capsys: pytest.CaptureFixture[str]) -> None:
    @df.orchestrator
    def flow(context: Context) -> Any:
        logging.getLogger("broken").warning("lost")
        yield context.call_activity(logs, "one")
        return "done"

    handler = Broken()
    logging.getLogger("broken").addHandler(handler)
    try:
        with testing.hub(flow, logs) as hub:
            assert hub.finish(hub.client.start_new(flow)).output == "done"
    finally:
        logging.getLogger("broken").removeHandler(handler)
    assert "no room" in capsys.readouterr().err


@pytest.mark.parametrize("logger", ["durablecli.instance", "durablecli"])
def test_a_handler_that_raises_for_a_line_of_the_engine_does_not_stop_it(
    logger: str, capsys: pytest.CaptureFixture[str]
) -> None:
    handler, found = Broken(), logging.getLogger(logger)
    found.addHandler(handler)
    level = found.level
    found.setLevel(logging.INFO)
    try:
        capture = LogCapture(report_instances=True)
        note = InstanceNote("a", "flow", False, testing.START, testing.START, 1, ev.ExecutionStarted("a", "1", "flow"))
        line = LogLine("instance", logging.INFO, "%s is blocked", ("a",), {})
        capture.emit([note, line, PrintedText("stdout", "on")])
    finally:
        found.removeHandler(handler)
        found.setLevel(level)
    captured = capsys.readouterr()
    assert captured.err.count("no room") >= 2
    assert captured.out == "on"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("closed")])
def test_a_stream_that_takes_nothing_does_not_stop_the_engine(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    @df.orchestrator
    def flow(context: Context) -> Any:
        print("lost")
        yield context.call_activity(logs, "one")
        print("lost too")
        return "done"

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise error

        def flush(self) -> None:
            raise error

    monkeypatch.setattr(sys, "stdout", Full())
    with testing.hub(flow, logs) as hub:
        assert hub.finish(hub.client.start_new(flow, "t")).output == "done"
        assert [entry.text for entry in hub.client.get_logs("t") if entry.stream] == ["lost", "lost too"]


def test_only_text_can_be_written_to_a_stream(capsys: pytest.CaptureFixture[str]) -> None:
    @df.orchestrator
    def flow(context: Context) -> Any:
        sys.stdout.write(b"bytes")  # type: ignore[arg-type]  # the stream itself would refuse it, but too late
        yield context.call_activity(logs, "one")

    with testing.hub(flow, logs) as hub:
        failure = hub.finish(hub.client.start_new(flow)).failure
    assert failure is not None
    assert failure.text == "TypeError: write() argument must be str, not bytes"


def test_level_filters_and_handlers_are_those_of_the_logger(caplog: pytest.LogCaptureFixture) -> None:
    @df.orchestrator
    def flow(context: Context) -> Any:
        context.logger.setLevel("ERROR")
        context.logger.warning("too low")
        context.logger.error("secret")
        context.logger.error("shown")
        assert context.logger.isEnabledFor(logging.ERROR)
        yield context.call_activity(logs, "one")

    logger = logging.getLogger("durablecli.orchestrator.flow")
    drop = [lambda record: "secret" not in record.getMessage()]
    logger.addFilter(drop[0])
    try:
        assert [record.getMessage() for record in run_and_collect_log(flow, caplog)] == ["shown", "activity one"]
    finally:
        logger.removeFilter(drop[0])
        logger.setLevel(logging.NOTSET)


def test_output_of_other_threads_is_emitted_at_once(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[list[str]] = []

    @df.orchestrator
    def flow(context: Context) -> Any:
        own_logger.warning("from the turn")
        thread = threading.Thread(target=own_logger.warning, args=("from a thread",))
        thread.start()
        thread.join()
        heard.append([record.getMessage() for record in caplog.records])
        yield context.call_activity(logs, "one")

    texts = [record.getMessage() for record in run_and_collect_log(flow, caplog)]
    assert heard == [["from a thread"]]
    assert texts == ["from a thread", "from the turn", "activity one"]


def test_everything_is_restored() -> None:
    before = (sys.stdout, sys.stderr, logging.Logger.callHandlers)
    with testing.hub(talks, logs) as hub:
        hub.client.start_new(talks)
        hub.run()
        with hub.engine.log_capture, hub.engine.log_capture:
            assert sys.stdout is not before[0]
    assert (sys.stdout, sys.stderr, logging.Logger.callHandlers) == before


def test_warnings_and_tracebacks_of_a_turn_are_emitted_once_too(capsys: pytest.CaptureFixture[str]) -> None:
    @df.orchestrator
    def flow(context: Context) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda *given: print("warned", file=sys.stderr)
            warnings.warn("careful", stacklevel=1)
        try:
            raise ValueError("printed")
        except ValueError:
            traceback.print_exc()
        yield context.call_activity(logs, "one")
        yield context.call_activity(logs, "two")

    with testing.hub(flow, logs, replay_always=True) as hub:
        hub.finish(hub.client.start_new(flow))
    err = capsys.readouterr().err
    assert (err.count("warned"), err.count("ValueError: printed")) == (1, 1)


def test_what_one_print_writes_in_pieces_is_written_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    monkeypatch.setattr(sys, "stdout", Stream())
    with LogCapture() as capture:
        capture.emit([PrintedText("stdout", piece) for piece in ("fan of", " ", "20", "\n")])
    assert written == ["fan of 20\n"]
