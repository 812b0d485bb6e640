"""The page on the architecture is true: its names exist, its walks are walked, and its picture shows packages."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.client import Client
from durablecli.engine.remote_queues import WorkerLimits
from durablecli.protocol.generated import pb
from durablecli.protocol.turn_answers import read_turn_answer
from durablecli.protocol.work_items import make_work_item
from durablecli.replay.remote_work import RemoteTurn
from durablecli.store.inbox.inbox import Inbox
from tests.docs.pages import ROOT
from tests.support.remote_workers import ServingEnvironment

PACKAGE = ROOT / "durablecli"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PICTURE = ROOT / "docs" / "assets" / "data-flow.svg"
STEP = re.compile(r"^\d+\. `([\w/]+\.py:[\w.]+)` \w", re.MULTILINE)


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    (found,) = re.findall(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def names_in(file: Path) -> set[str]:
    """The functions, classes, methods and constants that a file defines."""
    return set(_iter_names(ast.parse(file.read_text(encoding="utf-8")).body, ""))


def _iter_names(body: Iterable[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield prefix + name
            case ast.ClassDef(name=name):
                yield prefix + name
                yield from _iter_names(node.body, f"{prefix}{name}.")
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name


# ── the walks ──────────────────────────────────────────────────────────────────────────────────────────────────────


@df.activity
def add_one(value: int) -> int:
    return value + 1


@df.orchestrator
def calls(context: df.DurableOrchestrationContext) -> Any:
    return (yield context.call_activity(add_one, context.get_input()))


@df.orchestrator
def waits(context: df.DurableOrchestrationContext) -> Any:
    return (yield context.wait_for_external_event("Go"))


@df.entity
class Counter:
    value: int = 0

    def add(self, amount: int) -> None:
        self.value += amount


class Scenario:
    """A hub in memory with a client that posts to its inbox, as another process does."""

    def __init__(self) -> None:
        self.hub = testing.hub(add_one, calls, waits, Counter)
        self.client = self.make_client()

    def make_client(self) -> Client:
        return Client("hub", Inbox(self.hub.disk, "hub", notify=self.hub.engine.wake), self.hub.disk)

    def record_input(self) -> list[str]:
        with recorded_calls() as found:
            self.client.start_new(waits, "x", 1)
            self.hub.run()
        assert len(self.client.get_history("x")) == 2
        return found

    def record_event(self) -> list[str]:
        self.client.start_new(waits, "x")
        self.hub.run()
        self.hub.restart()
        client = self.make_client()
        with recorded_calls() as found:
            client.raise_event("x", "Go", "now")
            self.hub.engine.step()
        assert client.get_status("x").output == "now"
        return found

    def record_result(self) -> list[str]:
        self.client.start_new(calls, "x", 1)
        with recorded_calls() as found:
            self.hub.run()
        assert self.client.get_status("x").output == 2
        return found[found.index("engine/committer.py:Committer._publish") :]

    def record_remote_turn(self) -> list[str]:
        with ServingEnvironment() as hub:
            connection = hub.remote_pool.connect(None, WorkerLimits(), lambda: None)
            with recorded_calls() as found:
                hub.client.start_new("elsewhere", "x")
                hub.run()
                assert connection.take() is None
                hub.engine.step()
                turn = connection.take()
                assert isinstance(turn, RemoteTurn)
                request = make_work_item(turn).orchestratorRequest
                response = pb.OrchestratorResponse(instanceId=request.instanceId)
                end = response.actions.add(id=1).completeOrchestration
                end.orchestrationStatus = pb.ORCHESTRATION_STATUS_COMPLETED
                hub.remote_pool.answer(read_turn_answer(response, turn.key), lambda reason: None)
                hub.engine.step()
            assert hub.client.get_status("x").status_name == "Completed"
        return found

    def record_signal(self) -> list[str]:
        with recorded_calls() as found:
            self.client.signal_entity(df.EntityId("Counter", "c"), "add", 5)
            self.hub.run()
        assert self.client.read_entity_state(df.EntityId("Counter", "c")).entity_state == {"value": 5}
        return found


@contextmanager
def recorded_calls() -> Iterator[list[str]]:
    """Record the functions of durablecli that this thread calls, as `file:name`. The engine of a test has no other."""
    found: list[str] = []
    prefix = f"{PACKAGE}/"

    def record(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(prefix):
            found.append(f"{code.co_filename.removeprefix(prefix)}:{code.co_qualname}")

    before = sys.getprofile()
    sys.setprofile(record)
    try:
        yield found
    finally:
        sys.setprofile(before)


def first_step_not_called(steps: Iterable[str], called: Iterable[str]) -> str | None:
    """The first step that doesn't follow the steps before it; None if all of them do."""
    remaining = iter(called)
    return next((step for step in steps if step not in remaining), None)


WALKS: dict[str, Callable[[Scenario], list[str]]] = {
    "An input to its history": Scenario.record_input,
    "An event to the resumed generator": Scenario.record_event,
    "A result to its orchestrator": Scenario.record_result,
    "A signal to its entity": Scenario.record_signal,
    "A turn to a worker, and back": Scenario.record_remote_turn,
}


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_is_walked_in_the_order_of_its_steps(title: str) -> None:
    steps = STEP.findall(section(title))
    assert len(steps) == len(re.findall(r"^\d+\.", section(title), re.MULTILINE)) >= 10
    scenario = Scenario()
    with scenario.hub:
        called = WALKS[title](scenario)
    assert first_step_not_called(steps, called) is None
    for at in range(len(steps) - 1):
        swapped = [*steps[:at], steps[at + 1], steps[at], *steps[at + 2 :]]
        assert first_step_not_called(swapped, called), f"{steps[at]} also runs after {steps[at + 1]}"


def test_a_walk_in_another_order_is_found() -> None:
    assert first_step_not_called(["a", "c"], "abc") is None
    assert first_step_not_called(["a", "c", "b"], "abc") == "b"
    assert first_step_not_called(["a", "d", "b"], "abc") == "d"


# ── names ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_file_on_the_page_exists() -> None:
    files = set(re.findall(r"`([\w/]+\.py)[:`]", PAGE))
    assert len(files) > 50
    assert sorted(file for file in files if not (PACKAGE / file).is_file()) == []


def test_every_name_on_the_page_is_defined_in_its_file() -> None:
    references = set(re.findall(r"`([\w/]+\.py):([\w.]+)`", PAGE))
    assert len(references) > 50
    missing = [f"{file}:{name}" for file, name in references if name not in names_in(PACKAGE / file)]
    assert sorted(missing) == []


def test_the_picture_shows_only_packages_and_modules_that_exist() -> None:
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", PICTURE.read_text(encoding="utf-8"))
    shown = {word for text in texts for word in text.split() if re.fullmatch(r"[\w/]+(/|\.py)", word)}
    assert shown >= {"client/", "store/inbox/", "engine/", "replay/", "store/journal/", "store/history/"}
    assert sorted(path for path in shown if not (PACKAGE / path).exists()) == []
    assert sorted(path for path in shown if path.endswith("/") and not (PACKAGE / path).is_dir()) == []


def test_the_table_of_packages_has_the_layers_of_the_import_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    rows = re.findall(r"^\| (`.*?) \|", section("The packages"), re.MULTILINE)
    assert [re.findall(r"`(\w+)`", row) for row in rows] == [re.findall(r"\w+", layer) for layer in layers]


def test_the_words_are_explained_in_two_lines() -> None:
    words = re.findall(r"^- \*\*(\w+)\*\*: (.*\n(?:  .*\n)*)", section("The words"), re.MULTILINE)
    assert [word for word, _ in words] == [
        "execution", "record", "arrival", "decision", "turn", "commit", "message", "held", "remote",
    ]  # fmt: skip
    assert [word for word, text in words if text.count("\n") > 2] == []
