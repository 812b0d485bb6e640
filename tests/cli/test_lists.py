"""Lists for people: roots and trees, durations, ages, the local zone, cut payloads, and the pager."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import Raw

from durablecli.cli.output import Output
from durablecli.model import events as ev
from tests.cli.conftest import RunDurable
from tests.support.history_writer import open_hub_writer


@pytest.fixture
def family(work_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An instance with two sub-orchestrations, one of which has one of its own; and one alone."""
    monkeypatch.setenv("NO_COLOR", "1")
    with open_hub_writer(".state") as writer:
        writer.write(
            "root",
            ev.ExecutionStarted("root", "1", "tour"),
            ev.SubOrchestrationInstanceCreated("child", "root:1:2"),
            ev.SubOrchestrationInstanceCreated("child", "root:1:3"),
        )
        done = ev.ExecutionCompleted("Completed", Raw(b'"' + b"x" * 5_000 + b'"'))
        writer.write("root:1:2", make_child("root", "root:1:2", "child"), done)
        writer.write("root:1:3", make_child("root", "root:1:3", "child"), ev.EventAwaited("Go"))
        writer.write("root:1:3:1:2", make_child("root:1:3", "root:1:3:1:2", "grandchild"), done)
        writer.write("single", ev.ExecutionStarted("single", "1", "other"), done)
    return work_folder


def make_child(parent: str, instance: str, name: str) -> ev.ExecutionStarted:
    return ev.ExecutionStarted(instance, "1", name, parent=ev.Origin(parent, "1", 2))


def ids(durable: RunDurable, *arguments: str) -> list[str]:
    found = durable("list", "-o", "json", "--sort", "id", *arguments)
    assert found.exit_code == 0, found.err
    return [row["instanceId"] for row in json.loads(found.out)]


def test_a_list_shows_roots_unless_more_is_wanted(durable: RunDurable, family: Path) -> None:
    assert ids(durable) == ["root", "single"]
    assert ids(durable, "--all") == ["root", "root:1:2", "root:1:3", "root:1:3:1:2", "single"]
    assert ids(durable, "--parent", "root") == ["root:1:2", "root:1:3"]
    assert durable("list", "--count").out == "2\n"
    assert durable("list", "--count", "--all").out == "5\n"


def test_the_number_of_children_is_shown_if_there_are_any(durable: RunDurable, family: Path) -> None:
    lines = durable("list", "--sort", "id").out.splitlines()
    assert lines[0].split()[:4] == ["ID", "NAME", "STATUS", "CHILDREN"]
    assert lines[1].split()[:4] == ["root", "tour", "Running", "2"]
    assert "CHILDREN" not in durable("list", "--name", "other").out


def test_a_filter_that_only_sub_orchestrations_match_says_so(durable: RunDurable, family: Path) -> None:
    result = durable("list", "--name", "child")
    assert (result.exit_code, result.err) == (0, "only 2 sub-orchestrations match; --all lists them\n")
    assert durable("list", "--name", "nobody").err == ""


def test_a_tree_has_the_children_below_their_parents(durable: RunDurable, family: Path) -> None:
    lines = durable("list", "--tree", "--sort", "id").out.splitlines()
    assert [re.split(r"  +\w", line)[0] for line in lines[1:]] == [
        "root",
        "├─ root:1:2",
        "└─ root:1:3",
        "   └─ root:1:3:1:2",
        "single",
    ]
    assert "event Go" in lines[3]
    assert max(map(len, durable("list", "--tree", terminal=True).out.splitlines())) <= 80


def test_of_many_children_a_tree_shows_the_first(durable: RunDurable, work_folder: Path) -> None:
    with open_hub_writer(".state") as writer:
        writer.write("root", ev.ExecutionStarted("root", "1", "tour"))
        for number in range(53):
            writer.write(f"root:{number}", make_child("root", f"root:{number}", "child"))
    result = durable("list", "--tree")
    assert result.out.count("├─ root:") == 50
    assert result.out.splitlines()[-1].strip() == "└─ …"
    assert result.err == "more sub-orchestrations: durable list --parent root\n"


@pytest.mark.parametrize("options", [["--all"], ["--count"], ["-o", "json"]], ids=" ".join)
def test_a_tree_is_a_table(durable: RunDurable, family: Path, options: list[str]) -> None:
    result = durable("list", "--tree", *options)
    assert result.exit_code == 2
    assert "--tree needs the table, and neither --all nor --count" in result.err


def test_on_a_terminal_an_empty_last_column_leaves_its_room_to_others(durable: RunDurable, family: Path) -> None:
    assert "WAITS FOR" in durable("list", terminal=True).out
    shown = durable("list", "--name", "other", terminal=True).out.splitlines()[0].split()
    assert shown == ["ID", "NAME", "STATUS", "CREATED", "UPDATED", "DURATION"]
    assert "WAITS FOR" in durable("list", "--name", "other").out


def test_a_terminal_shows_ages_and_a_pipe_shows_times(durable: RunDurable, family: Path) -> None:
    assert " ago" in durable("list", terminal=True).out
    assert " ago" not in durable("list").out
    assert re.search(r"root +tour +Running +2 +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", durable("list").out)
    (single,) = [line for line in durable("list").out.splitlines() if line.startswith("single")]
    assert single.endswith("1 s")


def test_ages_select_by_the_time_of_creation(durable: RunDurable, work_folder: Path) -> None:
    now = datetime.now(UTC)
    with open_hub_writer(".state") as writer:
        for hours in (1, 5, 48):
            id = f"{hours}h"
            writer.write(id, ev.ExecutionStarted(id, "1", "tour"), at=now - timedelta(hours=hours, minutes=1))
    assert ids(durable, "--created-after", "6h") == ["1h", "5h"]
    assert ids(durable, "--created-before", "2h") == ["48h", "5h"]
    assert ids(durable, "--created-before", "1d", "--created-after", "3d") == ["48h"]
    assert "would terminate 48h" in durable("terminate", "--created-before", "1d", "--dry-run").out
    wrong = durable("list", "--created-after", "1x")
    assert wrong.exit_code == 2
    assert "invalid time '1x'; use 2026-12-01T09:00Z (UTC if it has no zone), or an age such as 1h" in wrong.err
    assert durable("list", "--created-after", "99999999d").exit_code == 2


def test_long_payloads_in_lists_are_cut_with_a_hint(durable: RunDurable, family: Path) -> None:
    cut = durable("list", "--name", "other", "-o", "jsonl")
    (row,) = map(json.loads, cut.out.splitlines())
    assert row["output"] == f'"{"x" * 1999}… (5,002 bytes)'
    assert cut.err == "long payloads are cut; --full shows them whole\n"
    whole = durable("list", "--name", "other", "-o", "jsonl", "--full")
    assert (json.loads(whole.out)["output"], whole.err) == ("x" * 5_000, "")


def test_a_long_output_in_a_status_is_cut_with_a_hint(durable: RunDurable, family: Path) -> None:
    assert "… (5,002 bytes); --full shows all of it\n" in durable("status", "single").out
    assert f'"{"x" * 5_000}"' in durable("status", "single", "--full").out
    assert json.loads(durable("status", "single", "-o", "json").out)["output"] == "x" * 5_000


def test_a_history_fits_into_80_columns_and_says_that_payloads_are_cut(durable: RunDurable, family: Path) -> None:
    shown = durable("history", "single", terminal=True)
    assert max(map(len, shown.out.splitlines())) <= 80
    assert "…" in shown.out
    assert shown.err == "long payloads are cut; --full shows them whole\n"
    whole = durable("history", "single", "--full", terminal=True)
    assert whole.out.count("x") == 5_000 + whole.out.count("Execution")
    assert whole.err == ""
    names = durable("history", "root", terminal=True).out
    assert "SubOrchestrationCreated  child(null) as root:1:2" in names
    assert "SubOrchestrationInstanceCreated  child(null) as root:1:2" in durable("history", "root").out


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EST5")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("new_york")
def test_people_read_times_in_the_local_zone_and_programs_in_utc(durable: RunDurable, family: Path) -> None:
    for verb in (["list"], ["status", "root"]):
        assert re.search(r"\d\d:\d\d:\d\d-05", durable(*verb).out)
        assert re.search(r"\d\d:\d\d:\d\dZ", durable(*verb, "--utc").out)
    assert "TIME (-05)" in durable("history", "root").out
    assert "TIME (UTC)" in durable("history", "root", "--utc").out
    assert json.loads(durable("status", "root", "-o", "json").out)["createdTime"].endswith("Z")


def test_only_the_table_of_a_terminal_is_paged(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("click.echo_via_pager", lambda text, color: shown.append(text))
    monkeypatch.setenv("PAGER", "less")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setenv("COLUMNS", "80")
    for terminal, pager, lines, paged in (
        (True, "less", 30, True),
        (True, "less", 5, False),
        (True, "cat", 30, False),
        (True, "", 30, False),
        (False, "less", 30, False),
    ):
        monkeypatch.setenv("PAGER", pager)
        output = Output()
        output.is_terminal = terminal
        shown.clear()
        with output.paged():
            for number in range(lines):
                output.print_line(f"line {number}")
        assert bool(shown) == paged, (terminal, pager, lines)
