"""Payloads that are texts, as workers send them: every command shows what is in the box."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from msgspec import Raw

from durablecli.client import Client
from durablecli.model import events as ev
from durablecli.model.boxed_text import from_text
from tests.cli.conftest import RunDurable
from tests.support.history_writer import open_hub_writer

INPUT, STATUS, OUTPUT = from_text("plain words"), from_text('{"at":\n1}'), from_text("<xml/>")
OPERATION = ev.EntityOperationReceived("add", from_text("one more"), ev.Origin("i", "1", 2), expects_reply=True)


@pytest.fixture
def filled(work_folder: Path) -> Path:
    """A hub with an instance and an entity whose payloads are boxed."""
    with open_hub_writer(".state") as writer:
        writer.write(
            "i",
            ev.ExecutionStarted("i", "1", "Order", INPUT, custom_status=from_text("null")),
            ev.TaskScheduled("ship", from_text("to Rome"), id=1),
            ev.TaskCompleted(2, from_text("shipped")),
            ev.EventRaised("Paid", from_text("by card")),
            ev.CustomStatusSet(STATUS),
            ev.ExecutionCompleted("Completed", OUTPUT),
        )
        writer.write(
            "t",
            ev.ExecutionStarted("t", "1", "Order"),
            ev.ExecutionTerminated("enough", output=from_text("the end")),
            ev.ExecutionCompleted("Terminated", from_text("the end")),
        )
        batch = ev.EntityBatch(2, from_text("the state"), results=(ev.EntityOperationResult(2, from_text("sum")),))
        writer.write("@cart@a", ev.EntityStarted("@cart@a", "1"), OPERATION, batch)
    return work_folder


def test_they_are_boxed() -> None:
    assert all(bytes(each).startswith(b'{"$text":') for each in (INPUT, STATUS, OUTPUT))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("status i --show-input", ['input      "plain words"\n', 'custom     {"at":1}\n']),
        ("status i", ['output     "<xml/>"\n']),
        ("status t", ['output     "the end"\n']),
        ("history i", ['Order("plain words")', 'ship("to Rome"), action 1', 'of 2: "shipped"', 'Paid: "by card"']),
        ("history i", ['Completed: "<xml/>"']),
        ("history t", ['enough; output "the end"', 'Terminated: "the end"']),
        ("entity get @cart@a", ['state      "the state"\n']),
        ("entity history @cart@a", ['add("one more"), from i', 'up to 2; state "the state"']),
        ("wait i", ['"<xml/>"\n']),
        ("wait t", ["t Terminated: the end\n"]),
    ],
)  # fmt: skip
def test_commands_show_the_text(durable: RunDurable, filled: Path, command: str, expected: list[str]) -> None:
    shown = durable(*command.split())
    assert [text for text in expected if text not in shown.out + shown.err] == []
    assert "$text" not in shown.out + shown.err


@pytest.mark.parametrize("command", ["status i --show-input", "list", "entity get @cart@a", "entity list"])
def test_json_holds_the_value(durable: RunDurable, filled: Path, command: str) -> None:
    shown = durable(*command.split(), "-o", "json")
    assert shown.exit_code == 0
    assert "$text" not in shown.out


def test_json_of_a_status_and_of_a_history(durable: RunDurable, filled: Path) -> None:
    found = json.loads(durable("status", "i", "--show-input", "-o", "json").out)
    assert (found["input"], found["customStatus"], found["output"]) == ("plain words", {"at": 1}, "<xml/>")
    rows = json.loads(durable("history", "i", "-o", "json").out)
    assert "$text" not in json.dumps(rows)
    assert [row.get("Result") for row in rows] == [None, "shipped", None, "<xml/>"]


def test_a_client_returns_the_value_and_restarts_with_the_same_text(filled: Path) -> None:
    client = Client(filled / ".state", check_names=False)
    found = client.get_status("i")
    assert (found.input_, found.custom_status, found.output) == ("plain words", {"at": 1}, "<xml/>")
    assert found.to_json()["output"] == "<xml/>"
    assert client.read_entity_state("@cart@a").entity_state == "the state"
    again = client.get_status(client.restart("i"))
    assert (again.raw_input, again.input_) == (INPUT, "plain words")


def test_a_new_execution_sees_the_text_null_as_no_custom_status(durable: RunDurable, work_folder: Path) -> None:
    with open_hub_writer(".state") as writer:
        writer.write("n", ev.ExecutionStarted("n", "1", "Order", custom_status=from_text("null")))
        writer.write("m", ev.ExecutionStarted("m", "1", "Order", custom_status=Raw(b"null")))
    for id in ("n", "m"):
        shown = durable("status", id)
        assert not re.search(r"^custom +\{", shown.out, re.MULTILINE)
