"""The logs of instances: who printed and logged what, once, whatever happens."""

from __future__ import annotations

import logging
import sys
import warnings
from datetime import datetime, timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.client import LogEntry
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.workers import work_output
from durablecli.engine.workers.work_output import OutputLog, WorkIdentity
from durablecli.errors import NotFound
from durablecli.model import events as ev

own_logger = logging.getLogger("own.module")


@df.activity
def greet(name: str, context: df.ActivityContext) -> str:
    print("greeting", name)
    context.logger.warning("polite to %s", name)
    own_logger.error("deep inside")
    print("no line end", end="", file=sys.stderr)
    return f"Hello {name}!"


@df.activity
async def greet_async(name: str) -> str:
    print("async", name)
    return name


@df.orchestrator
def tour(context: df.DurableOrchestrationContext) -> Any:
    print("begins", context.get_input())
    context.logger.warning("careful")
    greeting = yield context.call_activity(greet, "Tokyo")
    print("greeted", end=" ")
    print("well")
    yield context.wait_for_external_event("Go")
    print("two\nlines", file=sys.stderr)
    return greeting


def show(entries: list[LogEntry]) -> list[tuple[Any, ...]]:
    return [
        (each.source, each.name, each.id, each.attempt, each.logger or each.stream, each.level, each.text)
        for each in entries
    ]


@pytest.mark.parametrize("kind", ["live", "replayed", "restarted"])
def test_each_line_is_kept_once_with_its_source(kind: str) -> None:
    with testing.hub(tour, greet, replay_always=kind == "replayed") as hub:
        hub.client.start_new(tour, "t", 7)
        hub.run()
        if kind == "restarted":
            hub.restart()
        hub.client.raise_event("t", "Go")
        hub.finish("t")
        entries = hub.client.get_logs("t")
        history = hub.client.get_history("t")
    (scheduled,) = (record.n for record in history if isinstance(record.event, ev.TaskScheduled))
    activity = ("activity", "greet", scheduled, 1)
    orchestrator = ("orchestrator", "tour", None, None)
    assert show(entries) == [
        (*orchestrator, "stdout", "INFO", "begins 7"),
        (*orchestrator, "durablecli.orchestrator.tour", "WARNING", "careful"),
        (*activity, "stdout", "INFO", "greeting Tokyo"),
        (*activity, "durablecli.activity.greet", "WARNING", "polite to Tokyo"),
        (*activity, "own.module", "ERROR", "deep inside"),
        (*activity, "stderr", "INFO", "no line end"),
        (*orchestrator, "stdout", "INFO", "greeted well"),
        (*orchestrator, "stderr", "INFO", "two"),
        (*orchestrator, "stderr", "INFO", "lines"),
    ]
    assert {each.execution for each in entries} == {"1"}


def test_activities_and_the_last_entries_can_be_selected() -> None:
    with testing.hub(tour, greet) as hub:
        hub.client.start_new(tour, "t")
        hub.run()
        number = next(each.id for each in hub.client.get_logs("t") if each.id is not None)
        assert {each.source for each in hub.client.get_logs("t", activity=number)} == {"activity"}
        assert hub.client.get_logs("t", activity="greet") == hub.client.get_logs("t", activity=number)
        assert hub.client.get_logs("t", activity="tour") == []
        assert [each.text for each in hub.client.get_logs("t", tail=1)] == ["greeted well"]
        assert hub.client.get_logs("t", tail=0) == []


def test_an_unknown_instance_is_not_found() -> None:
    with testing.hub(tour, greet) as hub:
        for id in ("nobody", "@nothing@a"):
            with pytest.raises(NotFound):
                hub.client.get_logs(id)
            with pytest.raises(NotFound):
                hub.client.follow_logs(id)


def test_the_log_of_an_ended_instance_is_followed_to_its_end() -> None:
    with testing.hub(tour, greet) as hub:
        hub.client.start_new(tour, "t")
        hub.run()
        hub.client.raise_event("t", "Go")
        hub.finish("t")
        assert list(hub.client.follow_logs("t")) == hub.client.get_logs("t")
        assert [each.text for each in hub.client.follow_logs("t", tail=1)] == ["lines"]


@df.activity
def flaky(text: str, context: df.ActivityContext) -> str:
    print("attempt", context.attempt)
    if context.attempt < 3:
        raise ValueError(text)
    return text


@df.orchestrator
def retries(context: df.DurableOrchestrationContext) -> Any:
    return (
        yield context.call_activity_with_retry(
            flaky, df.RetryOptions(first_retry_interval_in_milliseconds=1000, max_number_of_attempts=3), "x"
        )
    )


def test_the_first_number_of_an_activity_selects_all_its_attempts() -> None:
    with testing.hub(retries, flaky) as hub:
        hub.client.start_new(retries, "r")
        hub.finish("r")
        entries = hub.client.get_logs("r")
        assert [(each.attempt, each.text) for each in entries] == [(n, f"attempt {n}") for n in (1, 2, 3)]
        first, second, _ = entries
        assert first.id is not None
        assert first.retry_of is None
        assert second.retry_of == first.id
        assert hub.client.get_logs("r", activity=first.id) == entries
        assert second.id is not None
        assert hub.client.get_logs("r", activity=second.id) == [second]


@df.entity
class Counter(df.DurableEntity):
    value: int = 0

    def add(self, amount: int) -> int:
        print("adding", amount, end="")
        self.value += amount
        return self.value

    async def fail(self) -> None:
        own_logger.warning("about to fail")
        raise ValueError("no")


def test_operations_of_entities_have_a_log() -> None:
    with testing.hub(Counter) as hub:
        hub.client.signal_entity("@counter@a", "add", 2)
        hub.client.signal_entity("@counter@a", "add", 3)
        hub.client.signal_entity("@counter@a", "fail")
        hub.run()
        entries = hub.client.get_logs("@counter@a")
        assert [(each.source, each.name, each.text) for each in entries] == [
            ("entity", "add", "adding 2"),
            ("entity", "add", "adding 3"),
            ("entity", "fail", "about to fail"),
        ]
        numbers = [each.id for each in entries if each.id is not None]
        assert numbers == sorted(set(numbers))
        assert len(numbers) == 3
        assert len(hub.client.get_logs("@counter@a", activity="add")) == 2
        assert hub.client.get_logs(df.EntityId("counter", "a"), tail=1) == entries[-1:]


def test_the_log_of_an_entity_is_followed_until_it_is_purged() -> None:
    with testing.hub(Counter) as hub:
        hub.client.signal_entity("@counter@a", "add", 2)
        hub.run()
        followed = hub.client.follow_logs("@counter@a")
        assert next(followed).text == "adding 2"
        hub.client.delete_entity("@counter@a")
        hub.run()
        hub.client.purge_entities(["@counter@a"])
        hub.run()
        assert list(followed) == []


@df.orchestrator
def eternal(context: df.DurableOrchestrationContext) -> Any:
    rounds = context.get_input()
    print("round", rounds)
    yield context.create_timer(context.current_utc_datetime + timedelta(seconds=1))
    if rounds > 1:
        context.continue_as_new(rounds - 1)


def test_a_log_goes_on_in_the_next_execution() -> None:
    with testing.hub(eternal) as hub:
        hub.client.start_new(eternal, "e", 3)
        hub.finish("e")
        entries = hub.client.get_logs("e")
        assert [each.text for each in entries] == ["round 3", "round 2", "round 1"]
        assert len({each.execution for each in entries}) == 3


def test_a_purge_removes_the_log() -> None:
    with testing.hub(eternal) as hub:
        hub.client.start_new(eternal, "e", 1)
        hub.finish("e")
        assert [name for name in hub.disk.files if "/logs/" in name] == ["hub/logs/5a/e.jsonl"]
        hub.client.purge_instance_history("e")
        assert [name for name in hub.disk.files if "/logs/" in name] == []
        hub.client.start_new(eternal, "e", 1)
        hub.finish("e")
        assert len(hub.client.get_logs("e")) == 1


def test_a_start_under_the_same_id_goes_on_in_the_same_log() -> None:
    with testing.hub(eternal) as hub:
        for _ in range(2):
            hub.client.start_new(eternal, "e", 1)
            hub.finish("e")
        first, second = hub.client.get_logs("e")
        assert first.execution != second.execution == hub.client.get_status("e").execution


@df.activity
def prints(text: str) -> None:
    print(text.replace("SURROGATE", "\ud800"))


@df.activity
def draws_a_progress_bar(count: int) -> None:
    for number in range(count):
        print(f"\r{number} of {count}", end="")
    print("\rdone\r")


@df.activity
def warns(text: str) -> None:
    warnings.warn(text, stacklevel=1)


@df.orchestrator
def calls(context: df.DurableOrchestrationContext) -> Any:
    name, argument = context.get_input()
    return (yield context.call_activity(name, argument))


@pytest.mark.parametrize(
    ("name", "argument", "texts"),
    [
        ("prints", "a\nb\n", ["a", "b", ""]),
        ("prints", "", [""]),
        ("prints", "lone SURROGATE", ["lone \\ud800"]),
        ("prints", "windows\r\nlines\r", ["windows", "lines"]),
        ("prints", "x" * 20_000, ["x" * 16_384 + "… (cut)"]),
        ("draws_a_progress_bar", 100, ["done"]),
    ],
)
def test_printed_text_is_kept_line_by_line(name: str, argument: Any, texts: list[str]) -> None:
    with testing.hub(calls, prints, draws_a_progress_bar) as hub:
        hub.client.start_new(calls, "c", [name, argument])
        hub.finish("c")
        assert [each.text for each in hub.client.get_logs("c")] == texts


class OwnText(str):
    __slots__ = ()


def test_a_logger_may_have_a_name_of_any_kind_of_text() -> None:
    @df.activity
    def works(number: int) -> int:
        logging.getLogger(OwnText("own.text")).warning("in an activity")
        return number

    @df.orchestrator
    def flow(context: df.DurableOrchestrationContext) -> Any:
        logging.getLogger(OwnText("own.text")).warning("in an orchestrator")
        return (yield context.call_activity(works, 7))

    with testing.hub(flow, works) as hub:
        assert hub.finish(hub.client.start_new(flow, "t")).output == 7
        entries = hub.client.get_logs("t")
    assert [(entry.logger, entry.text) for entry in entries] == [
        ("own.text", "in an orchestrator"),
        ("own.text", "in an activity"),
    ]


class FinishedCall:
    """A call that has ended, while a thread that it has started prints on."""

    def __init__(self, number: int, log: OutputLog) -> None:
        self.number = number
        self.output_log = log

    def identify(self) -> WorkIdentity:
        return WorkIdentity("a", "1", "activity", "f", self.number)


class CollectingLog:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def now(self) -> datetime:
        return testing.START

    def add(self, instance: str, entries: list[LogEntry]) -> None:
        self.texts += [entry.text for entry in entries]


def test_the_memory_for_unfinished_lines_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_output, "_MAX_UNFINISHED", 2)
    found: dict[Any, str] = {}
    monkeypatch.setattr(work_output, "unfinished_lines", found)
    log = CollectingLog()
    for number in range(5):
        work_output.keep_printed_text(FinishedCall(number, log), "stdout", f"line {number}")
    assert log.texts == ["line 0", "line 1", "line 2"]
    assert list(found.values()) == ["line 3", "line 4"]


def test_nothing_is_kept_if_that_is_switched_off() -> None:
    options = EngineOptions(use_threads=False, turn_budget=timedelta.max, log_bytes=0)
    with testing.TestEnvironment(testing.build_registry(tour, greet), testing.START, options) as hub:
        hub.client.start_new(tour, "t")
        hub.run()
        assert hub.client.get_logs("t") == []
        assert not any("/logs" in name for name in hub.disk.files)


def test_output_of_nothing_creates_no_files() -> None:
    with testing.hub(calls, prints, Counter) as hub:
        hub.client.start_new(calls, "c", ["nothing", None])
        hub.run()
        assert not any("/logs" in name for name in hub.disk.files)


def test_two_captures_keep_each_line_once() -> None:
    with testing.hub(calls, prints) as hub, testing.hub() as other, other.engine.log_capture:
        hub.client.start_new(calls, "c", ["prints", "once"])
        hub.finish("c")
        assert [each.text for each in hub.client.get_logs("c")] == ["once"]
