from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from msgspec import Raw

from durablecli.model.codec import crc_seed, decode_record
from durablecli.model.events import ExecutionStarted, Record
from durablecli.store.disk import LocalDisk
from durablecli.store.history.file import read_history
from durablecli.store.inbox.messages import MessageItem
from durablecli.store.index import Index
from durablecli.store.journal.commits import decode_commit
from tests.benchmarks import __main__ as command
from tests.benchmarks.bare_loop import BareLoop
from tests.benchmarks.environment import check_disk
from tests.benchmarks.harness import Run, measure_run, open_engine
from tests.benchmarks.peers import __main__ as peers_command
from tests.benchmarks.peers.packages import PeerMissing
from tests.benchmarks.peers.systems import Peer, Round
from tests.benchmarks.subjects import SUBJECTS
from tests.benchmarks.table import Budget, Cost, Row, format_markdown, format_text, make_rate

INSTANCES = 5
SUBJECTS_OF_MANY_PROCESSES = {"grpc"}


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(subject, marks=pytest.mark.soak if subject in SUBJECTS_OF_MANY_PROCESSES else ())
        for subject in SUBJECTS
    ],
)
def test_each_subject_can_be_measured(subject: str, tmp_path: Path) -> None:
    rows = list(SUBJECTS[subject](Run(str(tmp_path), limit=20)))
    assert rows
    assert all(row.figure >= 0 for row in rows)
    assert len({row.what for row in rows}) == len(rows)


def test_the_command_prints_one_table_and_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- table: begin -->\nold\n<!-- table: end -->\nbelow\n")
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setenv("DURABLE_BENCH_DIR", str(tmp_path))
    monkeypatch.setenv("DURABLE_BENCH_RAM", "1")
    command.main(["chain", "--limit", "20", "--write"])
    printed = capsys.readouterr().out
    assert printed.count("Of the bare loop") == 1
    assert "the bare loop in process, 20" in printed
    assert "chain of 20, a step" in printed
    written = page.read_text()
    assert written.startswith("above\n<!-- table: begin -->\n")
    assert written.endswith("<!-- table: end -->\nbelow\n")
    assert "old" not in written
    assert "| chain of 20, a step |" in written


def test_a_subject_that_fails_leaves_the_others(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows, failed = command.measure_subjects(Run(str(tmp_path), limit=20), ["nonsense", "events"])
    assert failed == ["nonsense"]
    assert [row.what for row in rows[2:]] == ["20 events to 1 instance", "20 events to 20 instances"]
    assert "KeyError: 'nonsense'" in capfd.readouterr().err


def test_an_unknown_subject_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["nonsense"])
    assert "unknown: nonsense" in capsys.readouterr().err


def test_a_folder_in_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DURABLE_BENCH_RAM", raising=False)
    monkeypatch.setattr("tests.benchmarks.environment.measure_sync", lambda folder: 1e-6)
    with pytest.raises(SystemExit, match="is in memory"):
        check_disk(str(tmp_path))


def test_a_rate_is_the_median_of_its_rounds() -> None:
    row = make_rate("work", 100, [Cost(4.0, 1.0), Cost(1.0, 3.0), Cost(2.0, 2.0)])
    assert (row.figure, row.low, row.high) == (50, 25, 100)
    assert (row.seconds, row.cpu) == (0.02, 0.02)


@pytest.mark.parametrize(
    ("figure", "budget", "reached"),
    [
        (50, Budget(100, 200, higher=True), "no"),
        (100, Budget(100, 200, higher=True), "at least"),
        (200, Budget(100, 200, higher=True), "meant"),
        (50, Budget(200, 100), "meant"),
        (200, Budget(200, 100), "at least"),
        (250, Budget(200, 100), "no"),
        (1, Budget(200), "at least"),
    ],
)
def test_a_budget_is_a_floor_or_a_ceiling(figure: float, budget: Budget, reached: str) -> None:
    assert Row("work", figure, "ms", budget=budget).reached == reached


def test_a_row_stands_beside_the_bare_loop() -> None:
    row = Row(
        "work", 250, "/s", seconds=0.004, cpu=0.002, bare_loop=Cost(0.001, 0.001), budget=Budget(200, higher=True)
    )
    cells = ("work", "250/s", "", "2.00 ms", "", "0.250", "0.500", "200/s", "at least")
    assert format_markdown([row]).splitlines()[-1] == f"| {' | '.join(cells)} |"
    assert format_text([row]).splitlines()[-1].split() == " ".join(cells).split()


def test_a_peer_that_is_missing_is_named_with_the_reason(tmp_path: Path) -> None:
    def refuse(run: Run, count: int) -> Round:
        raise PeerMissing("there is no package")

    systems = [
        Peer("ours", 1_000, lambda run, count: Round(400.0, 0.002, "1.0", "synced")),
        Peer("theirs", 100, lambda run, count: Round(40.0, 0.01, "2.0", "synced")),
        Peer("absent", 100, refuse),
    ]
    run = Run(str(tmp_path))
    found, missing = peers_command.measure_rounds(run, systems)
    assert {name: len(rounds) for name, rounds in found.items()} == {"ours": 3, "theirs": 3}
    assert missing == {"absent": "there is no package"}
    assert list(peers_command.format_systems(run, systems, found)) == [
        ("ours", "1,000", "400/s", "400 to 400", "1.0 ×", "2.00 ms", "1.0 ×"),
        ("theirs", "100", "40.0/s", "40.0 to 40.0", "10.0 ×", "10.0 ms", "5.0 ×"),
    ]


@pytest.mark.parametrize(("seconds", "share"), [(0.001, "1.000"), (0.003, "0.333"), (2.0, "0.0005")])
def test_small_shares_keep_a_digit(seconds: float, share: str) -> None:
    row = Row("work", seconds, "s", seconds=seconds, bare_loop=Cost(0.001, 0.001))
    assert share in format_text([row]).split()


# ── the bare loop does the work that it stands for ───────────────────────────────────────────────────────────────────


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """What the bare loop and an engine leave after the same starts."""
    BareLoop(str(tmp_path / "loop")).run((f"hello-{number}", b"null") for number in range(INSTANCES))
    with open_engine(str(tmp_path / "state")) as engine:
        measure_run(engine, [MessageItem(f"hello-{number}", "hello5", Raw(b"null")) for number in range(INSTANCES)])
    return tmp_path / "loop", tmp_path / "state"


def read_records(root: Path, instance: str) -> list[Record]:
    found = read_history(LocalDisk(), str(root), instance)
    assert found is not None
    assert found.is_whole
    return [decode_record(line, crc_seed(instance, found.execution)) for line in found.lines]


def test_the_histories_of_the_bare_loop_hold_the_same_records(files: tuple[Path, Path]) -> None:
    for number in range(INSTANCES):
        theirs, ours = (read_records(root, f"hello-{number}") for root in files)
        assert isinstance(theirs[0].event, ExecutionStarted)
        assert isinstance(ours[0].event, ExecutionStarted)
        assert (theirs[0].event.name, theirs[0].event.input) == (ours[0].event.name, ours[0].event.input)
        assert [(each.n, each.event) for each in theirs[1:]] == [(each.n, each.event) for each in ours[1:]]


def test_the_journal_of_the_bare_loop_holds_the_histories(files: tuple[Path, Path]) -> None:
    loop, _ = files
    commits = [decode_commit(line) for line in (loop / "journal.jsonl").read_bytes().splitlines()]
    assert [each.c for each in commits] == list(range(1, len(commits) + 1))
    for number in range(INSTANCES):
        lines = [
            line
            for commit in commits
            for write in commit.writes
            if write.instance == f"hello-{number}"
            for line in write.lines
        ]
        found = read_history(LocalDisk(), str(loop), f"hello-{number}")
        assert found is not None
        assert lines == found.lines


def test_the_index_of_the_bare_loop_holds_the_same_rows(files: tuple[Path, Path]) -> None:
    Index(str(files[1] / "empty.sqlite")).close()
    schemas, rows = [], []
    for path in (files[0] / "index.sqlite", files[1] / "empty.sqlite", files[1] / "index.sqlite"):
        db = sqlite3.connect(path)
        schemas.append(db.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall())
        columns = "id, name, status, records, next_due, owes, waiting, blocked, queued"
        rows.append(db.execute(f"SELECT {columns} FROM instances ORDER BY id").fetchall())  # noqa: S608
        db.close()
    assert schemas[0] == schemas[1]
    assert rows[0] == rows[2]
