"""The command as a whole: its imports, help and completion, and what another user may do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from durablecli.cli import VERBS
from durablecli.cli import durable as group
from durablecli.cli.entity import VERBS as ENTITY_VERBS
from durablecli.escape import escape
from durablecli.model import events as ev
from tests.cli.conftest import RunDurable
from tests.support.history_writer import open_hub_writer

ROOT = Path(__file__).parents[2]
DURABLE_TASK_MODULES = {"grpc", "google.protobuf", "durabletask", "durablecli.dts", "durablecli.protocol"}
IMPORT_SPY = """
import json, sys
from durablecli.__main__ import main
try:
    main()
finally:
    with open("imported.json", "w") as file:
        json.dump(list(sys.modules), file)
"""


def modules_imported_by(here: Path, *arguments: str) -> set[str]:
    """The modules that a process has imported when the command has ended."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_SPY, *arguments], cwd=here, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads((here / "imported.json").read_text()))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["status", "t"],
        ["start", "tour", "--input", "1", "--id", "other"],
        ["raise-event", "t", "Go"],
        ["history", "t"],
        ["list"],
        ["entity", "signal", "@counter@a", "add"],
        ["entity", "get", "@counter@b"],
        ["entity", "list"],
    ],
    ids=" ".join,
)
def test_verbs_that_start_fast_import_neither_asyncio_nor_rich_nor_user_code(
    work_folder: Path, arguments: list[str]
) -> None:
    (work_folder / "workflows").mkdir()
    (work_folder / "workflows" / "mine.py").write_text('raise SystemExit("user code was loaded")')
    with open_hub_writer(".state") as writer:
        writer.write("t", ev.ExecutionStarted("t", "1", "tour"))
        writer.write("@counter@b", ev.EntityStarted("@counter@b", "1"))
    functions = [{"name": "tour", "kind": "orchestrator"}, {"name": "counter", "kind": "entity"}]
    (work_folder / ".state" / "engine.json").write_text(json.dumps({"functions": functions}))
    modules = modules_imported_by(work_folder, *arguments)
    heavy = {"asyncio", "rich", "filelock", "yaml", "uvicorn", "durablecli.engine", "durablecli.daemon", "mine"}
    assert modules & (heavy | DURABLE_TASK_MODULES) == set()
    assert "durablecli" in modules


def test_a_daemon_imports_only_what_its_app_needs(work_folder: Path) -> None:
    (work_folder / "app.py").write_text(
        "import durablecli as df\n\n@df.orchestrator\ndef tour(context):\n    return 1\n"
    )
    modules = modules_imported_by(work_folder, "run-daemon", "--app", "app.py", "--until-idle")
    heavy = {
        "email", "httpx", "importlib.resources", "rich", "starlette", "uvicorn", "yaml",
        "durablecli.azure.functions", "durablecli.client", "durablecli.http",
    }  # fmt: skip
    assert modules & (heavy | DURABLE_TASK_MODULES) == set()
    assert "durablecli.engine.engine" in modules


def test_version_and_help_do_not_import_the_store(work_folder: Path) -> None:
    for arguments in (["--version"], ["--help"]):
        unneeded = {"durablecli.client", "durablecli.store", "sqlite3", "msgspec"}
        assert not unneeded & modules_imported_by(work_folder, *arguments)


def test_the_version_is_that_of_the_project(durable: RunDurable) -> None:
    import tomllib

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert durable("--version") == (0, f"durable {version}\n", "")


def test_the_command_alone_shows_its_verbs(durable: RunDurable) -> None:
    result = durable()
    assert (result.exit_code, result.err) == (0, "")
    for verb in VERBS:
        assert f"\n  {verb} " in result.out


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_each_verb_names_its_exit_codes(durable: RunDurable, verb: str) -> None:
    result = durable(verb, "--help")
    assert (result.exit_code, result.err) == (0, "")
    assert "Exit codes: 0 " in result.out
    assert "2 usage" in result.out
    assert max(map(len, result.out.splitlines())) <= 100


@pytest.mark.parametrize(
    "verb", [*((verb,) for verb in VERBS), *(("entity", verb) for verb in ENTITY_VERBS)], ids=" ".join
)
def test_the_help_of_a_verb_for_another_engine_names_the_exit_code_if_it_is_unreachable(
    durable: RunDurable, verb: tuple[str, ...]
) -> None:
    text = " ".join(durable(*verb, "--help").out.split())
    is_client = "--engine URL" in text and verb != ("run-daemon",)
    assert ("69 engine unreachable" in text) == is_client


@pytest.mark.parametrize("verb", ENTITY_VERBS)
def test_the_help_of_each_entity_verb_names_its_exit_codes(durable: RunDurable, verb: str) -> None:
    assert f"\n  {verb} " in durable("entity").out
    result = durable("entity", verb, "--help")
    assert (result.exit_code, result.err) == (0, "")
    assert "Exit codes: 0 " in result.out
    assert f"Usage: durable entity {verb} " in result.out
    assert max(map(len, result.out.splitlines())) <= 100


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_is_listed_with_a_line_of_its_own(verb: str) -> None:
    import click

    command = group.get_command(click.Context(group), verb)
    assert command is not None
    assert command.name == verb
    assert command.help


# ── completion ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_calls_the_command_back(durable: RunDurable, shell: str) -> None:
    result = durable("completion", shell)
    assert (result.exit_code, result.err) == (0, "")
    assert f"_DURABLE_COMPLETE={shell}_complete" in result.out
    assert ("COMP_WORDBREAKS" in result.out) is (shell == "bash")


def complete(durable: RunDurable, monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    words = line.split(" ")
    monkeypatch.setenv("_DURABLE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    return [entry.partition(",")[2] for entry in durable().out.split()]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("durable sta", ["start", "status"]),
        ("durable status t", ["tour-1", "tour-2"]),
        ("durable raise-event tour-1", ["tour-1"]),
        ("durable terminate tour-1 t", ["tour-1", "tour-2"]),
        ("durable list --status completed,fa", ["completed,Failed"]),
        ("durable status --state-dir none t", []),
        ("durable completion b", ["bash"]),
        ("durable entity de", ["delete"]),
        ("durable entity get @", ["@counter@a", "@counter@b"]),
        ("durable entity get tour", []),
        ("durable status @counter@a", ["@counter@a"]),
        ("durable entity list --name c", ["Counter"]),
        ("durable list --name ", ["tour"]),
        ("durable purge --name t", ["tour"]),
        ("durable run t", ["tour"]),
        ("durable start c", []),
        ("durable entity signal @counter@a a", ["add"]),
        ("durable raise-event tour-1 ", ["Approval", "Go"]),
        ("durable raise-event tour-1 ap", ["Approval"]),
        ("durable raise-event none ", []),
        ("durable entity signal @free@a a", []),
        ("durable entity signal @none@a a", []),
    ],
)
def test_verbs_ids_and_statuses_complete(
    durable: RunDurable, work_folder: Path, monkeypatch: pytest.MonkeyPatch, line: str, expected: list[str]
) -> None:
    with open_hub_writer(".state") as writer:
        for instance in ("tour-1", "tour-2", "other"):
            writer.write(instance, ev.ExecutionStarted(instance, "1", "tour"))
        writer.write("tour-1", ev.EventAwaited("Go"), ev.EventAwaited("Approval"))
        for entity in ("@counter@a", "@counter@b"):
            writer.write(entity, ev.EntityStarted(entity, "1"))
    functions = [
        {"name": "tour", "kind": "orchestrator"},
        {"name": "free", "kind": "entity"},
        {"name": "Counter", "kind": "entity", "operations": ["add", "get"]},
    ]
    (work_folder / ".state" / "engine.json").write_text(json.dumps({"functions": functions}))
    assert sorted(complete(durable, monkeypatch, line)) == expected


def test_completion_ignores_a_broken_hub(
    durable: RunDurable, work_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work_folder / "durable.yaml").write_text("nonsense: 1")
    assert complete(durable, monkeypatch, "durable status t") == []


# ── a hub that belongs to another user ─────────────────────────────────────────────────────────────────────────────


OTHER_USER = """
import os, sys
from durablecli.__main__ import main
from durablecli import client  # while this user may still read the interpreter's own files
import durablecli.apps.settings, durablecli.daemon.offline_engine
for verb in ("history", "list", "status", "start", "raise_event", "terminate", "purge", "status_text", "bulk"):
    __import__(f"durablecli.cli.{verb}")
__import__("encodings.ascii"), __import__("difflib"), __import__("locale"), __import__("durablecli.cli.history_rows")
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
main()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_may_read_a_readable_hub_but_not_write_to_it() -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        hub = f"{place}/hub"
        with open_hub_writer(hub) as writer:
            writer.write("t", ev.ExecutionStarted("t", "1", "tour"))
        for folder, _, files in os.walk(hub):
            Path(folder).chmod(0o555)
            for name in files:
                Path(folder, name).chmod(0o444)

        def call(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-c", OTHER_USER, *arguments, "--state-dir", hub],
                cwd=place,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )

        for verb in (["status", "t"], ["list"], ["list", "--count"], ["history", "t"]):
            done = call(*verb)
            assert (done.returncode, done.stderr) == (0, "")
        for verb in (["start", "tour"], ["raise-event", "t", "Go"], ["terminate", "t"], ["purge", "t", "--force"]):
            done = call(*verb)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (77, "", 1), done.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 漢 😀", "plain ü 漢 😀"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b2J\x7f\x00", "\\x9b2J\\x7f\\x00"),
        ("\u202egnp.exe\u2069", "\\u202egnp.exe\\u2069"),
        ("\ud800", "\\ud800"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown


@pytest.mark.parametrize(
    ("redirection", "code", "err"),
    [
        ("> /dev/full", 74, "durable: storage error: No space left on device\n"),
        (">&-", 0, ""),
        (">&- 2>&-", 0, ""),
    ],
)
def test_a_standard_output_that_takes_nothing_is_no_traceback(
    work_folder: Path, redirection: str, code: int, err: str
) -> None:
    if redirection == "> /dev/full" and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open_hub_writer(".state") as writer:
        writer.write("t", ev.ExecutionStarted("t", "1", "tour"))
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m durablecli status t {redirection}', sys.executable],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, err)
