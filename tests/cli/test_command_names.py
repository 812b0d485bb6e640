"""Names of commands as people type them: misspelled, borrowed from other tools, and with options before the verb."""

from __future__ import annotations

from pathlib import Path

import pytest

import durablecli
from durablecli.model import events as ev
from tests.cli.conftest import RunDurable
from tests.support.history_writer import open_hub_writer


@pytest.mark.parametrize(
    ("line", "suggestion"),
    [
        ("strat x", "No such command 'strat'. Did you mean 'durable start'? Try 'durable --help'"),
        ("entity gt @a@b", "No such command 'gt'. Did you mean 'durable entity get'? Try 'durable entity --help'"),
        ("frobnicate", "No such command 'frobnicate'. Try 'durable --help'"),
    ],
)
def test_a_misspelled_command_gets_a_suggestion(durable: RunDurable, line: str, suggestion: str) -> None:
    result = durable(*line.split())
    assert (result.exit_code, result.out, result.err) == (2, "", f"durable: {suggestion}\n")


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("ls", "list"),
        ("ls --status Failed", "list --status Failed"),
        ("entity ls", "entity list"),
        ("help", "--help"),
        ("help run", "run --help"),
        ("help entity get", "entity get --help"),
        ("version", "--version"),
        ("show t", "status t"),
    ],
)
def test_names_that_other_tools_have(durable: RunDurable, line: str, same: str) -> None:
    with open_hub_writer(".state") as writer:
        writer.write("t", ev.ExecutionStarted("t", "1", "tour"))
    one, other = durable(*line.split()), durable(*same.split())
    assert (one.exit_code, one.out, one.err) == (other.exit_code, other.out, other.err)
    assert one.exit_code == 0


@pytest.mark.parametrize(
    "line",
    [
        "--state-dir hub list -o json",
        "--state-dir=hub list -o json",
        "-o json --state-dir hub list",
        "--output=json --state-dir hub ls",
    ],
)
def test_options_of_the_hub_may_stand_before_the_verb(durable: RunDurable, work_folder: Path, line: str) -> None:
    with open_hub_writer("hub") as writer:
        writer.write("t", ev.ExecutionStarted("t", "1", "tour"))
    result = durable(*line.split())
    assert (result.exit_code, result.err) == (0, "")
    assert '"instanceId":"t"' in result.out.replace(" ", "")


def test_an_option_before_the_verb_reaches_a_nested_verb(durable: RunDurable) -> None:
    with open_hub_writer("hub") as writer:
        writer.write("@counter@a", ev.EntityStarted("@counter@a", "1"))
    assert "@counter@a" in durable("--state-dir", "hub", "entity", "list").out


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("status -foo", "durable status -- ID"),
        ("raise-event -foo Go", "durable raise-event -- ID EVENT"),
        ("entity get -foo", "durable entity get -- ID"),
    ],
)
def test_an_id_that_looks_like_an_option(durable: RunDurable, line: str, advice: str) -> None:
    result = durable(*line.split())
    assert result.exit_code == 2
    assert f"an argument that begins with - comes after --: {advice}. Try" in result.err


def test_an_id_after_two_dashes(durable: RunDurable) -> None:
    with open_hub_writer(".state") as writer:
        writer.write("-foo", ev.ExecutionStarted("-foo", "1", "tour"))
    assert durable("status", "--", "-foo").exit_code == 0


@pytest.mark.parametrize(
    ("id", "advice"),
    [
        ("counter@left", "'counter@left' is no entity id; did you mean '@counter@left'?"),
        ("counter", "'counter' is no entity id; name the entity as @name@key, for example @counter@a"),
    ],
)
def test_an_id_that_is_almost_an_entity_s(durable: RunDurable, id: str, advice: str) -> None:
    result = durable("entity", "get", id)
    assert result.exit_code == 2
    assert advice in result.err


def test_a_missing_choice_is_named_in_one_line(durable: RunDurable) -> None:
    result = durable("completion")
    assert result.err == (
        "durable: Missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish. Try 'durable completion --help'\n"
    )


def test_the_package_shows_what_authors_import() -> None:
    assert dir(durablecli) == sorted(durablecli.__all__)
