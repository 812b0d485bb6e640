"""The index: it answers what the rows say, in any order, page by page, and knows when it can't be believed."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from durablecli.errors import StorageError, UsageError
from durablecli.model.failure_report import FailureCause
from durablecli.model.status import InstanceSummary, PendingWait
from durablecli.model.traceback_text import SourceLine
from durablecli.store import index as index_module
from durablecli.store.index import Index, IndexReader, IndexUnusable, open_index_readonly
from durablecli.store.query import SORT_FIELDS, Query, compile_page, sort_rows, to_micros

START = datetime(2026, 11, 22, 9, tzinfo=UTC)
STATUSES = ("Running", "Completed", "Failed", "Suspended")


def make_row(number: int, instance: str | None = None, status: str | None = None) -> InstanceSummary:
    dice = random.Random(number)
    return InstanceSummary(
        id=instance or f"{dice.choice(['a', 'ab', 'B', 'é', '￿', '😀'])}-{number}",
        name=dice.choice(["f", "g", "h"]),
        status=status or dice.choice(STATUSES),
        execution=f"{number:x}",
        parent=dice.choice([None, "p1", "p2"]),
        version=dice.choice([None, "1.2"]),
        created=START + timedelta(seconds=dice.randint(0, 20)),
        updated=START + timedelta(microseconds=dice.randint(0, 50)),
        records=number,
        bytes=number * 100,
        next_due=dice.choice([None, START + timedelta(days=number)]),
        has_pending_work=dice.random() < 0.3,
        waiting=dice.choice([(), (PendingWait("event", id=3, name="E", since=START),)]),
        blocked=dice.choice([None, "no code"]),
        blocked_at=dice.choice([None, START]),
        tags=dice.choice([{}, {}, {"a": "1"}, {"a": "11", "b": ""}, {"a": "1", "b": "x=y"}]),
    )


ROWS = [make_row(number) for number in range(200)]


def make_entity_row(number: int) -> InstanceSummary:
    dice = random.Random(number)
    return msgspec.structs.replace(
        make_row(number, f"@{dice.choice('ab')}@{number}", dice.choice(["Exists", "Empty"])),
        locked_by=dice.choice([None, "holder"]),
        queued=dice.randint(0, 9),
        failure=dice.choice((None, FailureCause("ValueError", "empty city", SourceLine("/app/tour.py", 41, "visit")))),
        parent=None,
        waiting=(),
    )


ENTITIES = [make_entity_row(number) for number in range(1000, 1100)]


def make_index(path: Path | None = None, rows: list[InstanceSummary] | None = None, last: int = 7) -> Index:
    index = Index(":memory:" if path is None else str(path))
    index.update([*ENTITIES, *ROWS] if rows is None else rows, [], last)
    return index


def all_rows(index: IndexReader) -> list[InstanceSummary]:
    return index.rows(Query(sort="id"), 100_000)


def read_pages(index: IndexReader, query: Query) -> list[InstanceSummary]:
    found: list[InstanceSummary] = []
    while True:
        page = index.page(query)
        assert len(page.rows) <= query.limit
        found += page.rows
        if page.cursor is None:
            return found
        query = msgspec.structs.replace(query, cursor=page.cursor)


def test_rows_come_out_as_they_went_in() -> None:
    index = make_index()
    assert all_rows(index) == sort_rows(Query(sort="id"), ROWS)
    assert [index.get(each.id) for each in [*ROWS, *ENTITIES]] == [*ROWS, *ENTITIES]
    assert index.get("nobody") is None
    assert index.last_commit == 7


def test_a_later_row_replaces_an_earlier_one_and_removed_rows_are_gone() -> None:
    index = make_index(rows=[make_row(1, "a"), make_row(2, "b"), make_row(3, "c")])
    index.update([make_row(9, "a"), *ENTITIES[:3]], ["b", "nobody"], 8)
    assert all_rows(index) == [make_row(9, "a"), make_row(3, "c")]
    assert index.last_commit == 8
    index.update([], [ENTITIES[0].id, ENTITIES[1].id, "@no@body"], 9)
    assert index.page(Query(entities=True)).rows == [ENTITIES[2]]


def test_rows_are_written_by_a_version_of_sqlite_that_accepts_few_values() -> None:
    index = Index()
    index._db.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    index.update(ROWS, [], 7)
    index.update(ROWS[150:], [row.id for row in ROWS[:150]], 8)
    assert {row.id for row in all_rows(index)} == {row.id for row in ROWS[150:]}


def test_many_rows_are_written_by_few_statements() -> None:
    index, rows = Index(), [make_row(number) for number in range(1_234)]
    statements: list[str] = []
    index._db.set_trace_callback(statements.append)
    index.update(rows, [], 7)
    assert sorted(each.id for each in all_rows(index)) == sorted(each.id for each in rows)
    index.update([], [each.id for each in rows[:-1]], 8)
    assert all_rows(index) == rows[-1:]
    index._db.set_trace_callback(None)
    assert sum(each.startswith("INSERT INTO instances") for each in statements) == 30 + 3 + 4
    assert sum(each.startswith("DELETE FROM instances") for each in statements) == 30 + 3 + 3


def test_a_name_is_found_in_whatever_case() -> None:
    name = ROWS[0].name
    found = read_pages(make_index(), Query(name=name))
    assert found
    assert read_pages(make_index(), Query(name=name.swapcase())) == found


@pytest.mark.parametrize("sort", SORT_FIELDS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages_hold_every_row_once_in_order(sort: str, reverse: bool, limit: int) -> None:
    query = Query(sort=sort, reverse=reverse, limit=limit)
    assert read_pages(make_index(), query) == sort_rows(query, ROWS)
    query = msgspec.structs.replace(query, entities=True)
    assert read_pages(make_index(), query) == sort_rows(query, ENTITIES)


FILTERS: dict[str, list[object]] = {
    "name": ["f", "nothing"],
    "status": [("Running",), ("Completed", "Failed"), ("Canceled",)],
    "prefix": ["a", "ab", "B", "é", "￿", "😀", "zz"],
    "created_after": [START + timedelta(seconds=10)],
    "created_before": [START + timedelta(seconds=12)],
    "parent": ["p1"],
}


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(FILTERS, 2)))
def test_filters_combine_and_mean_the_same_to_sql_and_to_python(first: str, second: str) -> None:
    index = make_index()
    matches = 0
    for one, other in itertools.product(FILTERS[first], FILTERS[second]):
        for sort in ("created", "id"):
            query = msgspec.convert({first: one, second: other, "sort": sort, "limit": 3}, Query)
            wanted = sort_rows(query, [each for each in ROWS if query.matches(each)])
            assert read_pages(index, query) == wanted
            assert index.count(query) == len(wanted)
            matches += len(wanted)
    assert matches


@pytest.mark.parametrize("prefix", ["a\U0010ffff", "\U0010ffff", "\ud7ff"])
def test_a_prefix_may_end_in_the_last_character_of_a_range(prefix: str) -> None:
    rows = [make_row(n, f"{prefix}{n}") for n in range(3)] + [make_row(9, "a"), make_row(8, "b"), make_row(7, "\ue000")]
    found = read_pages(make_index(rows=rows), Query(prefix=prefix, sort="id"))
    assert found == rows[:3]


def test_the_cursor_orders_rows_of_other_sources() -> None:
    index = make_index()
    for sort in SORT_FIELDS:
        query = Query(sort=sort, limit=50)
        page = index.page(query)
        behind = msgspec.structs.replace(query, cursor=page.cursor)
        assert [each for each in sort_rows(query, ROWS) if behind.is_after_cursor(each)] == sort_rows(query, ROWS)[50:]


@pytest.mark.parametrize("cursor", ["x", "!!", "é", "W10=", "WyJuYW1lIiwiZiIsImEiXQ=="])
def test_a_cursor_of_another_list_is_a_usage_error(cursor: str) -> None:
    with pytest.raises(UsageError, match="list again"):
        make_index().page(Query(cursor=cursor))


@pytest.mark.parametrize("query", [Query(sort="id; DROP TABLE instances"), Query(limit=0)])
def test_a_query_that_makes_no_sense_is_a_usage_error(query: Query) -> None:
    with pytest.raises(UsageError):
        make_index().page(query)


def test_the_next_due_time_and_pending_work_are_listed() -> None:
    index = make_index()
    rows = [*ROWS, *ENTITIES]
    due = [(to_micros(each.next_due), each.id) for each in rows if each.next_due is not None]
    assert index.due_times() == sorted(due, reverse=True)
    assert index.with_pending_work() == sorted(each.id for each in rows if each.has_pending_work)
    assert index.locked_entities() == sorted(each.id for each in ENTITIES if each.locked_by)
    assert 0 < len(index.locked_entities()) < len(ENTITIES)


def test_a_list_shows_instances_or_entities_and_never_both() -> None:
    index = make_index()
    for query in (Query(), Query(name="f"), Query(status=("Running", "Exists")), Query(prefix="@"), Query(prefix="")):
        for entities in (False, True):
            asked = msgspec.structs.replace(query, entities=entities, limit=1000)
            wanted = sort_rows(asked, [each for each in [*ROWS, *ENTITIES] if asked.matches(each)])
            assert read_pages(index, asked) == wanted
            assert index.count(asked) == len(wanted)
            assert {each.id.startswith("@") for each in wanted} <= {entities}


@pytest.mark.parametrize(
    "query",
    [
        Query(tags={"a": "1"}),
        Query(tags={"a": "1", "b": "x=y"}, sort="updated"),
        Query(tags={"b": ""}, reverse=True),
        Query(tags={"b": "x"}),
        Query(tags={"a": "%"}),
        Query(tags={"a": "1"}, roots_only=True, status=("Running", "Failed")),
        Query(tags={"a": "1"}, roots_only=True, status=("Failed",), name="F"),
        Query(roots_only=True),
        Query(roots_only=True, sort="id", prefix="a"),
        Query(roots_only=True, sort="name", reverse=True),
        Query(parent="p1"),
        Query(parent="p1", sort="status", status=("Failed",)),
        Query(parent="p1", roots_only=True),
        Query(parent="nobody"),
    ],
)
def test_tags_and_families_are_filters_in_every_order_and_page(query: Query) -> None:
    index = make_index()
    wanted = sort_rows(query, [each for each in ROWS if query.matches(each)])
    assert read_pages(index, msgspec.structs.replace(query, limit=7)) == wanted
    assert index.count(query) == len(wanted)


@pytest.mark.parametrize(
    ("query", "way"),
    [
        (Query(roots_only=True), "COVERING INDEX by_created (entity=?)"),
        (Query(tags={"a": "1"}), "COVERING INDEX by_created (entity=?)"),
        (Query(tags={"a": "1"}, status=("Failed",)), "COVERING INDEX by_status (entity=? AND status=?)"),
        (Query(parent="p1"), "INDEX children (parent=?)"),
        (Query(parent="p1", created_after=START), "INDEX children (parent=? AND created>?)"),
    ],
)
def test_rows_that_a_tag_or_a_family_passes_over_are_not_read(query: Query, way: str, tmp_path: Path) -> None:
    make_index(tmp_path / "index.sqlite").close()
    statements: list[str] = []
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as db:
        db.set_trace_callback(statements.append)
        IndexReader(db).page(query)
        db.set_trace_callback(None)
        plan = [step[3] for step in db.execute(f"EXPLAIN QUERY PLAN {statements[-1]}").fetchall()]
    assert any(way in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


@pytest.mark.parametrize("entities", [False, True])
@pytest.mark.parametrize(
    ("query", "way"),
    [
        (Query(), "by_created (entity=?)"),
        (Query(created_after=START), "by_created (entity=? AND created>?)"),
        (Query(sort="id"), "PRIMARY KEY (entity=?)"),
        (Query(sort="id", prefix="a"), "PRIMARY KEY (entity=? AND id>? AND id<?)"),
        (Query(status=("Running",)), "by_status (entity=? AND status=?)"),
        (Query(name="f"), "by_name (entity=? AND name=?)"),
        (Query(sort="updated"), "(entity=?)"),
    ],
)
def test_what_is_listed_never_passes_rows_of_the_other_kind(
    query: Query, way: str, entities: bool, tmp_path: Path
) -> None:
    make_index(tmp_path / "index.sqlite").close()
    clauses, values = compile_page(msgspec.structs.replace(query, entities=entities), ["f"])
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as db:
        statement = f"EXPLAIN QUERY PLAN SELECT * FROM instances {clauses}"  # noqa: S608  constants only
        plan = db.execute(statement, values).fetchall()
    assert way in plan[0][3]
    assert any("TEMP B-TREE" in step[3] for step in plan) == (query.sort == "updated")


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("straße", {"STRASSE", "Straße"}),
        ("STRASSE", {"STRASSE", "Straße"}),
        ("größe", {"GRÖẞE", "größe"}),
        ("F", {"f"}),
        ("nobody", set()),
    ],
)
def test_a_name_is_found_whatever_its_case(wanted: str, names: set[str]) -> None:
    index = Index()
    rows = [
        msgspec.structs.replace(make_row(n), name=name)
        for n, name in enumerate(["f", "STRASSE", "Straße", "GRÖẞE", "größe"])
    ]
    index.update(rows, [], 1)
    for query in (Query(name=wanted), Query(name=wanted, sort="id"), Query(name=wanted, status=STATUSES)):
        assert {each.name for each in index.page(query).rows} == names
        assert index.count(query) == len(names)
        assert {each.name for each in rows if query.matches(each)} == names


# ── the file ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_index_is_found_again_and_leaves_one_file(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    index = make_index(path)
    assert os.listdir(tmp_path) == ["index.sqlite"]
    index.make_durable()
    index.close()
    again = Index(str(path))
    assert (all_rows(again), again.last_commit) == (sort_rows(Query(sort="id"), ROWS), 7)
    again.close()
    assert os.listdir(tmp_path) == ["index.sqlite"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_cleared_index_is_empty_and_knows_no_commit(tmp_path: Path) -> None:
    index = make_index(tmp_path / "index.sqlite")
    index.clear()
    assert (all_rows(index), index.last_commit) == ([], 0)
    index.update(ROWS[:3], [], 9)
    index.close()
    again = open_index_readonly(str(tmp_path / "index.sqlite"))
    assert again.last_commit == 9
    again.close()


def test_all_of_an_apply_happens_or_nothing() -> None:
    index = make_index()
    wrong = msgspec.structs.replace(make_row(500), name=object())

    with pytest.raises(StorageError):
        index.update([make_row(400), wrong], [ROWS[0].id], 8)
    assert (all_rows(index), index.last_commit) == (sort_rows(Query(sort="id"), ROWS), 7)
    index.update([], [], 8)


def test_after_a_change_of_boot_only_a_durable_index_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "index.sqlite"
    index = make_index(path)
    index.make_durable()
    shutil.copy(path, tmp_path / "durable")
    index.update([], [], 8)
    shutil.copy(path, tmp_path / "loose")
    index.close()
    monkeypatch.setattr(index_module, "boot_id", lambda: "another")
    durable = open_index_readonly(str(tmp_path / "durable"))
    assert durable.last_commit == 7
    durable.close()
    with pytest.raises(IndexUnusable, match="machine went down"):
        open_index_readonly(str(tmp_path / "loose"))
    emptied = Index(str(tmp_path / "loose"))
    assert (all_rows(emptied), emptied.last_commit) == ([], 0)
    emptied.close()


@pytest.mark.parametrize("damage", ["garbage", "half", "empty", "other format", "other tables", "folder"])
def test_what_is_no_index_is_unusable_to_readers_and_emptied_by_the_writer(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "index.sqlite"
    make_index(path).close()
    match damage:
        case "garbage":
            path.write_bytes(b"not a database at all" * 1000)
        case "half":
            path.write_bytes(path.read_bytes()[:5000])
        case "empty":
            path.write_bytes(b"")
        case "folder":
            path.unlink()
            path.mkdir()
        case _:
            statement = "DROP TABLE meta" if damage == "other tables" else "UPDATE meta SET value=1 WHERE key='format'"
            db = sqlite3.connect(path, isolation_level=None)
            db.execute(statement)
            db.close()
    before = {each: each.read_bytes() for each in tmp_path.iterdir() if each.is_file()}
    with pytest.raises(IndexUnusable):
        open_index_readonly(str(path))
    assert {each: each.read_bytes() for each in tmp_path.iterdir() if each.is_file()} == before
    if damage == "folder":
        with pytest.raises(StorageError, match="may be deleted"):
            Index(str(path))
        return
    index = Index(str(path))
    assert (all_rows(index), index.last_commit) == ([], 0)
    index.close()


def test_a_missing_index_is_unusable_to_readers_and_not_made_by_them(tmp_path: Path) -> None:
    with pytest.raises(IndexUnusable):
        open_index_readonly(str(tmp_path / "index.sqlite"))
    assert os.listdir(tmp_path) == []


def test_odd_paths_open(tmp_path: Path) -> None:
    folder = tmp_path / "50% of?what#é"
    folder.mkdir()
    make_index(folder / "index.sqlite").close()
    reader = open_index_readonly(str(folder / "index.sqlite"))
    assert reader.last_commit == 7
    reader.close()
    assert os.listdir(tmp_path) == ["50% of?what#é"]


KILLED_IN_A_TRANSACTION = """
import os, sys
from durablecli.store.index import Index
index = Index(sys.argv[1])
db = index._db
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN IMMEDIATE")
db.executemany("INSERT INTO instances(entity, id, name) VALUES(0, ?, ?)", [(f"x{n}", "n" * 200) for n in range(5000)])
os._exit(9)
"""


def test_the_writer_rolls_back_what_a_killed_one_left_and_readers_leave_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    make_index(path).close()
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_A_TRANSACTION, str(path)], check=False)
    assert killed.returncode == 9
    assert sorted(os.listdir(tmp_path)) == ["index.sqlite", "index.sqlite-journal"]
    before = [each.read_bytes() for each in sorted(tmp_path.iterdir())]
    with pytest.raises(IndexUnusable):
        open_index_readonly(str(path))
    assert [each.read_bytes() for each in sorted(tmp_path.iterdir())] == before
    index = Index(str(path))
    assert (all_rows(index), index.last_commit) == (sort_rows(Query(sort="id"), ROWS), 7)
    index.close()
    assert os.listdir(tmp_path) == ["index.sqlite"]


def test_a_reader_sees_a_consistent_snapshot_while_the_writer_works(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    index = make_index(path, rows=[make_row(n, f"i{n}", "Running") for n in range(10)], last=0)
    stop = threading.Event()

    def write() -> None:
        for commit in itertools.count(1):
            index.update([make_row(n, f"i{n}", STATUSES[commit % 4]) for n in range(10)], [], commit)
            if commit % 20 == 0:
                index.make_durable()
            if stop.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        reader = open_index_readonly(str(path), timeout=10)
        for _ in range(200):
            last = reader.begin_read()
            seen = {each.status for each in reader.page(Query()).rows}
            reader.end_read()
            assert seen == {STATUSES[last % 4]}
        reader.close()
    finally:
        stop.set()
        writer.join()
    index.close()


def test_an_idle_reader_delays_the_writer_and_never_fails_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_BUSY_TIMEOUT", 0.01)
    index = make_index(tmp_path / "index.sqlite")
    reader = open_index_readonly(str(tmp_path / "index.sqlite"))
    assert reader.begin_read() == 7

    def write() -> None:
        index.update([], [], 8)
        index.make_durable()

    writer = threading.Thread(target=write)
    writer.start()
    writer.join(0.3)
    assert writer.is_alive()
    reader.end_read()
    writer.join(20)
    assert not writer.is_alive()
    assert reader.last_commit == 8
    reader.close()
    index.close()
