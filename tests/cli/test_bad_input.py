"""Each class of bad input: one clear line on stderr, its exit code, no traceback, and nothing changed on disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import Raw

from durablecli.model import events as ev
from tests.cli.conftest import RunDurable
from tests.support.files import snapshot_files
from tests.support.history_writer import open_hub_writer


def snapshot_contents(hub: Path) -> dict[str, tuple[object, ...]]:
    """The files but for the lock of the inbox, which names its last owner, and a file that takes long to read."""
    return snapshot_files(hub, folders=False, ignore=("lock", "huge.json"))


@pytest.fixture
def hub(work_folder: Path) -> Path:
    """One instance that runs (`live`), one that has ended (`done`), two entities, and some files to read from."""
    with open_hub_writer(".state") as writer:
        writer.write("live", ev.ExecutionStarted("live", "1", "tour"))
        writer.write("done", ev.ExecutionStarted("done", "1", "tour"), ev.ExecutionCompleted("Completed", Raw(b"1")))
        writer.write("@counter@empty", ev.EntityStarted("@counter@empty", "1"))
        operation, batch = ev.EntityOperationReceived("add"), ev.EntityBatch(2, state=Raw(b"1"))
        writer.write("@counter@full", ev.EntityStarted("@counter@full", "1"), operation, batch)
    (work_folder / "bad.json").write_text('{"a": }')
    (work_folder / "bad.yaml").write_text("a: [1\nb: {")
    (work_folder / "odd.yaml").write_text("a: .nan")
    (work_folder / "keys.yaml").write_text("a: {2026-11-22: x}")
    (work_folder / "code.yaml").write_text("!!python/object/apply:os.system ['true']")
    (work_folder / "bomb.yaml").write_text("a: &a [x,x,x,x,x,x,x,x,x,x]\n" + _make_yaml_bomb())
    (work_folder / "latin.json").write_bytes(b'"\xe9"')
    with (work_folder / "huge.json").open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1)  # a hole costs nothing
    (work_folder / "deep.json").write_bytes(b"[" * 100_000 + b"]" * 100_000)
    (work_folder / "deeper.json").write_bytes(b"[" * 201 + b"]" * 201)
    (work_folder / "deep.yaml").write_bytes(b"[" * 100_000 + b"]" * 100_000)
    (work_folder / "deeper.yaml").write_bytes(b"{a: " * 201 + b"}" * 201)
    (work_folder / "deep.jsonl").write_bytes(b"1\n" + b"[" * 201 + b"]" * 201)
    (work_folder / "utf16.json").write_bytes("{}".encode("utf-16"))
    (work_folder / "batch.jsonl").write_text('1\n{"a":\n')
    (work_folder / "empty.jsonl").write_text("\n")
    return work_folder


def _make_yaml_bomb() -> str:
    lines = [f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    return "\n".join(lines)


BAD: dict[str, tuple[list[str], int, str]] = {
    "no such verb": (["strat", "x"], 2, "No such command 'strat'"),
    "an option without its value": (["start", "f", "-p"], 2, "requires an argument. Try 'durable start --help'"),
    "no such option": (["status", "live", "--inptu"], 2, "No such option.*--inptu"),
    "a missing argument": (["status"], 2, "Missing argument 'ID...'"),
    "an unknown format": (["list", "-o", "xml"], 2, "'xml' is not one of"),
    "bad JSON": (["start", "tour", "--input", "{a: 1}"], 2, "--input: not JSON: .*byte 1"),
    "text without quotes": (["start", "tour", "--input", "Tokyo"], 2, "a string needs JSON quotes"),
    "half JSON": (["start", "tour", "--input", "[1,"], 2, "it ends too early"),
    "an empty input": (["start", "tour", "--input", ""], 2, "not JSON"),
    "NaN": (["start", "tour", "--input", "NaN"], 2, "not JSON"),
    "a number that no float holds": (["start", "tour", "--input", "1e999"], 2, "out of range"),
    "a lone surrogate": (["start", "tour", "--input", '"\\ud800"'], 2, "not JSON"),
    "bad JSON in a file": (["start", "tour", "--input", "@bad.json"], 2, "bad.json: not JSON"),
    "a file that is not UTF-8": (["start", "tour", "--input", "@latin.json"], 2, "latin.json: not UTF-8"),
    "a file that is not there": (["start", "tour", "--input", "@none.json"], 3, "no such file: none.json"),
    "a folder as a file": (["start", "tour", "--input", "@."], 2, "can't read .: Is a directory"),
    "bad YAML": (["start", "tour", "--input", "@bad.yaml"], 2, "bad.yaml, line 2: not YAML"),
    "YAML with NaN": (["start", "tour", "--input", "@odd.yaml"], 2, r"odd.yaml: \$\.a: "),
    "YAML with a date as key": (["start", "tour", "--input", "@keys.yaml"], 2, r"keys.yaml: \$\.a"),
    "YAML that wants to run code": (["start", "tour", "--input", "@code.yaml"], 2, "code.yaml, line 1: not YAML"),
    "YAML that explodes": (["start", "tour", "--input", "@bomb.yaml"], 2, "aliases expand"),
    "a huge input": (["start", "tour", "--input", "@huge.json"], 2, "larger than the limit of 16 MiB"),
    "a deep input": (["start", "tour", "--input", "@deep.json"], 2, "nested deeper than 200 levels"),
    "an input one level too deep": (["start", "tour", "--input", "@deeper.json"], 2, "nested deeper than 200 levels"),
    "a deep YAML": (["start", "tour", "--input", "@deep.yaml"], 2, "nested deeper than 200 levels"),
    "a YAML one level too deep": (["start", "tour", "--input", "@deeper.yaml"], 2, "nested deeper than 200 levels"),
    "a deep line in a batch": (["start", "tour", "--batch", "deep.jsonl"], 2, "line 2: nested deeper than 200 levels"),
    "deep data of an event": (["raise-event", "live", "Go", "--data", "@deeper.json"], 2, "nested deeper than 200"),
    "deep input of a signal": (["entity", "signal", "@a@b", "x", "--input", "@deeper.json"], 2, "nested deeper than"),
    "a file in UTF-16": (["start", "tour", "--input", "@utf16.json"], 2, "utf16.json: encoded as UTF-16 or UTF-32"),
    "a bad line in a batch": (["start", "tour", "--batch", "batch.jsonl"], 2, "batch.jsonl, line 2: not JSON"),
    "an empty batch": (["start", "tour", "--batch", "empty.jsonl"], 2, "one JSON value per line"),
    "a batch with an id": (["start", "tour", "--batch", "batch.jsonl", "--id", "x"], 2, "--batch can't be combined"),
    "a bad duration": (["start", "tour", "--delay", "soon"], 2, "invalid duration 'soon'; use 90"),
    "a duration beyond all time": (["start", "tour", "--delay", "9999999d"], 2, "year 9999"),
    "a bad time": (["start", "tour", "--at", "noon"], 2, "invalid time 'noon'; use 2026-12-01T09:00Z"),
    "two times": (["start", "tour", "--at", "2030-01-01", "--delay", "5"], 2, "--at and --delay"),
    "a time-out without waiting": (["start", "tour", "--timeout", "5"], 2, "--timeout needs --wait"),
    "an id with a slash": (["start", "tour", "--id", "a/b"], 2, "must not contain /"),
    "an id that climbs": (["status", "../../etc/passwd"], 2, "must not contain /"),
    "an empty id": (["status", ""], 2, "must not be empty"),
    "an id of 300 characters": (["status", "x" * 300], 2, "256 characters"),
    "an id that is an entity's": (["start", "tour", "--id", "@counter@k"], 2, "must not start with @"),
    "half an entity": (["status", "@counter"], 2, "must not start with @"),
    "an entity without a name": (["status", "@@k"], 2, "Entity name cannot be empty"),
    "an entity without signs": (
        ["entity", "get", "counter"],
        2,
        "name the entity as @name@key, for example @counter@a",
    ),
    "an entity with a control character": (["entity", "get", "@a@\x1b[2J"], 2, "control characters"),
    "an entity of 300 characters": (["entity", "get", f"@a@{'k' * 300}"], 2, "256 characters"),
    "an unknown entity": (["entity", "get", "@counter@none"], 3, "no entity '@counter@none' in /.*/.state"),
    "an unknown entity's status": (["status", "@counter@none"], 3, "no entity '@counter@none' in /.*/.state"),
    "the log of an unknown entity": (["entity", "history", "@counter@none"], 3, "no entity '@counter@none'"),
    "a history of an entity": (["history", "@counter@k"], 2, "is an entity: use 'durable entity history'"),
    "a purge of an entity": (["purge", "@counter@k"], 2, "is an entity: use 'durable entity purge'"),
    "a terminate of an entity": (["terminate", "@counter@k"], 2, "use 'durable entity delete'"),
    "an event for an entity": (["raise-event", "@counter@k", "Go"], 2, "use 'durable entity signal'"),
    "a wait for an entity": (["wait", "@counter@k"], 2, "is an entity: use 'durable entity get'"),
    "a rewind of an entity": (["rewind", "@counter@k"], 2, "is an entity: use 'durable entity get'"),
    "a signal without an operation": (
        ["entity", "signal", "@a@b", ""],
        2,
        "the name of an operation must be a non-empty string",
    ),
    "bad input of a signal": (["entity", "signal", "@a@b", "add", "--input", "{"], 2, "--input: not JSON"),
    "two times of a signal": (["entity", "signal", "@a@b", "x", "--at", "2030-01-01", "--delay", "5"], 2, "--at and"),
    "a delete of an unknown one": (["entity", "delete", "@a@b"], 3, "no entity '@a@b'"),
    "a delete of an empty one": (["entity", "delete", "@counter@empty"], 5, "@counter@empty is Empty"),
    "a purge of no entity": (["entity", "purge"], 2, "give either ids or --all-empty"),
    "a purge of one and of all": (["entity", "purge", "@a@b", "--all-empty"], 2, "give either ids or --all-empty"),
    "a purge of one that is in use": (["entity", "purge", "@counter@full"], 5, "has a state: delete it first"),
    "a prefix that no entity has": (["entity", "list", "--prefix", "counter"], 2, "start with @"),
    "no such verb of entities": (["entity", "gte"], 2, "No such command 'gte'"),
    "an id with a control character": (["status", "a\x1b[2Jb"], 2, "control characters"),
    "an unknown id": (["status", "nobody"], 3, "no instance 'nobody' in /.*/.state"),
    "a history of an unknown id": (["history", "nobody"], 3, "no instance 'nobody'"),
    "a wait for an unknown id": (["wait", "nobody"], 3, "no instance 'nobody'"),
    "an event for an unknown id": (["raise-event", "nobody", "Go"], 3, "no instance 'nobody'"),
    "an event for an ended one": (["raise-event", "done", "Go"], 5, "accepts no more events"),
    "an event without a name": (["raise-event", "live", ""], 2, "name is empty"),
    "bad data of an event": (["raise-event", "live", "Go", "--data", "{"], 2, "--data: not JSON"),
    "a start without a name": (["start", ""], 2, "name is empty"),
    "an id that is taken": (["start", "tour", "--id", "live"], 4, "instance id 'live' already exists and is Running"),
    "a terminate of an unknown id": (["terminate", "nobody"], 3, "no instance 'nobody'"),
    "a terminate of an ended one": (["terminate", "done"], 5, "done is Completed"),
    "a suspend of an ended one": (["suspend", "done"], 5, "done is Completed"),
    "a resume of an ended one": (["resume", "done"], 5, "done is Completed"),
    "a rewind of one that goes well": (["rewind", "live"], 5, "only a failed instance"),
    "a purge of a live one": (["purge", "live"], 5, "or use --force"),
    "a purge of an unknown id": (["purge", "nobody"], 3, "no instance 'nobody'"),
    "a purge of live ones by status": (["purge", "--status", "running"], 2, "use --force to purge others"),
    "a restart of an unknown id": (["restart", "nobody"], 3, "no instance 'nobody'"),
    "a restart of a live one in place": (["restart", "live", "--same-id"], 5, "terminate it first"),
    "neither ids nor a filter": (["terminate"], 2, "give either ids or a filter"),
    "ids and a filter": (["terminate", "live", "--prefix", "l"], 2, "give either ids or a filter"),
    "a filter without confirmation": (["terminate", "--prefix", "l"], 2, "add --yes to confirm, or --dry-run"),
    "an unknown status": (["list", "--status", "runing"], 2, "invalid status 'runing'"),
    "a bad cursor": (["list", "--cursor", "abc"], 2, "invalid cursor"),
    "a limit of nothing": (["list", "--limit", "0"], 2, "0 is not in the range"),
    "a state dir without a name": (["list", "--state-dir", ""], 78, "--state-dir: expected str of length >= 1"),
    "an unknown shell": (["completion", "tcsh"], 2, "'tcsh' is not one of"),
    "follow as one JSON value": (["history", "live", "--follow", "-o", "json"], 2, "--follow needs"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_its_exit_code(durable: RunDurable, hub: Path, case: str) -> None:
    arguments, code, message = BAD[case]
    before = snapshot_contents(hub)
    result = durable(*arguments)
    assert (result.exit_code, result.out) == (code, ""), result.err
    assert re.search(message, result.err)
    assert result.err.startswith("durable: ")
    assert result.err.count("\n") == 1
    assert "Traceback" not in result.err
    assert result.err.rstrip("\n").isprintable()
    assert snapshot_contents(hub) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "live"],
        ["status", "nobody"],
        ["history", "done"],
        ["history", "done", "--follow"],
        ["list"],
        ["list", "--count"],
        ["wait", "done"],
        ["terminate", "--prefix", "l", "--dry-run"],
        ["purge", "--older-than", "1d", "--dry-run"],
        ["completion", "bash"],
        ["entity"],
        ["entity", "get", "@counter@full"],
        ["entity", "list"],
        ["entity", "history", "@counter@full"],
        ["entity", "purge", "--all-empty", "--dry-run"],
    ],
    ids=" ".join,
)
def test_reading_verbs_write_nothing(durable: RunDurable, hub: Path, arguments: list[str]) -> None:
    before = snapshot_files(hub, ignore=("huge.json",))
    durable(*arguments)
    assert snapshot_files(hub, ignore=("huge.json",)) == before


@pytest.mark.parametrize("verb", ["status", "history", "list", "raise-event"])
def test_only_start_creates_a_hub(durable: RunDurable, work_folder: Path, verb: str) -> None:
    durable(verb, *{"list": [], "raise-event": ["x", "Go"]}.get(verb, ["x"]))
    assert list(work_folder.iterdir()) == []


def test_input_from_standard_input_is_bounded_too(durable: RunDurable, work_folder: Path) -> None:
    result = durable("start", "tour", "--input", "-", stdin=b'"' + b"x" * (16 * 1024 * 1024) + b'"')
    assert (result.exit_code, result.err.count("\n")) == (2, 1)
    assert "standard input: larger than the limit of 16 MiB" in result.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stat_dir: x", r"\$\.stat_dir: unknown key; did you mean 'state_dir'\?"),
        ("concurrency: {activities: many}", r"\$\.concurrency\.activities: expected int, got str"),
        ("app: [", "durable.yaml: "),
    ],
)
def test_a_wrong_durable_yaml_names_its_place(durable: RunDurable, work_folder: Path, text: str, message: str) -> None:
    (work_folder / "durable.yaml").write_text(text)
    result = durable("list")
    assert (result.exit_code, result.err.count("\n")) == (78, 1)
    assert re.search(message, result.err)


def test_a_state_dir_whose_parent_is_missing_is_refused(durable: RunDurable, work_folder: Path) -> None:
    result = durable("start", "tour", "--state-dir", "no/such/place")
    assert (result.exit_code, result.err.count("\n")) == (3, 1)
    assert "/no/such doesn't exist" in result.err


def test_a_file_in_place_of_the_state_dir_is_refused(durable: RunDurable, work_folder: Path) -> None:
    (work_folder / "plain").write_text("")
    for verb in (["start", "tour"], ["list"], ["status", "x"]):
        result = durable(*verb, "--state-dir", "plain")
        assert result.exit_code in (74, 77), result
        assert result.err.count("\n") == 1


def test_a_state_dir_that_others_may_write_to_is_refused(durable: RunDurable, hub: Path) -> None:
    (hub / ".state").chmod(0o777)
    result = durable("start", "tour")
    assert (result.exit_code, result.err.count("\n")) == (77, 1)
    assert "chmod go-w" in result.err


def test_a_state_dir_of_a_later_version_is_refused(durable: RunDurable, hub: Path) -> None:
    path = hub / ".state" / "hub.json"
    path.write_text(re.sub(r'"format":\d+', '"format":99', path.read_text()))
    for verb in (["start", "tour"], ["list"], ["status", "live"], ["raise-event", "live", "Go"]):
        result = durable(*verb)
        assert (result.exit_code, result.err.count("\n")) == (65, 1), verb
        assert "later version" in result.err


def test_a_damaged_history_is_named_with_its_place(durable: RunDurable, hub: Path) -> None:
    (path,) = (hub / ".state").glob("instances/*/done.jsonl")
    path.write_bytes(b"\0" * 40 + b"\n")
    result = durable("status", "done")
    assert (result.exit_code, result.err.count("\n")) == (65, 1)
    assert "done.jsonl: byte 0" in result.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_state_dir_is_refused_by_writers_and_read_by_readers(durable: RunDurable, hub: Path) -> None:
    for folder, _, _ in os.walk(hub / ".state"):
        Path(folder).chmod(0o555)
    assert durable("status", "live").exit_code == 0
    result = durable("start", "tour")
    assert (result.exit_code, result.err.count("\n")) == (77, 1)


def test_a_closed_pipe_ends_quietly_with_0(work_folder: Path) -> None:
    with open_hub_writer(".state") as writer:
        lines = [ev.CustomStatusSet(Raw(b'"%s"' % (b"x" * 1000))) for _ in range(500)]
        writer.write("t", ev.ExecutionStarted("t", "1", "tour"), *lines)
    command = [sys.executable, "-m", "durablecli", "history", "t", "-o", "jsonl"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reading:
        assert reading.stdout is not None
        assert reading.stderr is not None
        reading.stdout.readline()
        reading.stdout.close()
        assert reading.stderr.read() == b""
        assert reading.wait() == 0


def test_an_internal_error_is_one_line_too(durable: RunDurable, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from durablecli.client import Client

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("lost\nmyself")

    monkeypatch.setattr(Client, "get_status", broken)
    result = durable("status", "live")
    assert (result.exit_code, result.err.count("\n")) == (1, 1)
    assert "internal error: RuntimeError: lost\\nmyself" in result.err
