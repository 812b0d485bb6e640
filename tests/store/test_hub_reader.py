"""Reading a hub: right beside a working engine, after a dead one, on a hub not ours to write; nothing changes."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from durablecli.errors import DamagedHub, DamagedMessage, NewerHub
from durablecli.model.codec import crc_seed, encode_record
from durablecli.model.events import (
    AnyEvent,
    EntityBatch,
    EntityLockReceived,
    EntityOperationReceived,
    EntitySnapshot,
    EntityStarted,
    EventAwaited,
    ExecutionCompleted,
    ExecutionStarted,
    Origin,
    Record,
)
from durablecli.store import hub as hubs
from durablecli.store import recovery
from durablecli.store.disk import LocalDisk
from durablecli.store.engine_info import EngineInfo, FunctionInfo
from durablecli.store.history.file import history_path
from durablecli.store.hub import Hub
from durablecli.store.hub_reader import HubReader
from durablecli.store.inbox import batches, inbox_reader
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.journal.commits import Commit, HistoryWrite, PurgedExecution
from durablecli.store.query import Query
from tests.store.test_index import KILLED_IN_A_TRANSACTION
from tests.support.files import snapshot_files

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
LATER = AT + timedelta(days=1)
STATE = Raw(b"1")
BY_ID = Query(sort="id", limit=1000)


def start_write(instance: str, c: int) -> HistoryWrite:
    """The first two records of an execution that commit `c` begins."""
    execution = f"{c:x}"
    at = AT + timedelta(seconds=c)
    start = crc_seed(instance, execution)
    records = [Record(1, at, ExecutionStarted(instance, execution, "f")), Record(2, at, EventAwaited("E"))]
    return HistoryWrite(instance, execution, 1, [encode_record(record, start) for record in records])


def end_write(instance: str, began: int, c: int) -> HistoryWrite:
    """The third record of the execution that commit `began` began."""
    execution = f"{began:x}"
    record = Record(3, AT + timedelta(seconds=c), ExecutionCompleted("Completed"))
    return HistoryWrite(instance, execution, 3, [encode_record(record, crc_seed(instance, execution))])


ALL_ENTITIES = Query(sort="id", limit=1000, entities=True)


def entity_write(entity: str, c: int) -> HistoryWrite:
    """The first three records of an entity that commit `c` begins."""
    events: list[AnyEvent] = [EntityStarted(entity, f"{c:x}"), EntityOperationReceived("set"), EntityBatch(2, STATE)]
    return make_log_write(entity, c, 1, events)


def compacted_write(entity: str, began: int, first: int) -> HistoryWrite:
    """The log of that entity begun anew, with one operation that waits."""
    snapshot = EntitySnapshot(entity, f"{began:x}", first - 1, AT, AT, STATE)
    return make_log_write(entity, began, first, [snapshot, EntityOperationReceived("add")])


def make_log_write(entity: str, began: int, first: int, events: list[AnyEvent]) -> HistoryWrite:
    start = crc_seed(entity, f"{began:x}")
    lines = [encode_record(Record(n, AT + timedelta(seconds=n), event), start) for n, event in enumerate(events, first)]
    return HistoryWrite(entity, f"{began:x}", first, lines, rewrites_file=isinstance(events[0], EntitySnapshot))


class StepEngine:
    """What an engine does to the disk, step by step, without running anybody's code."""

    def __init__(self, root: Path) -> None:
        self.hub: Hub = hubs.open_hub(str(root))

    def commit(
        self, *writes: HistoryWrite, purged: list[PurgedExecution] | None = None, published: bool = True
    ) -> None:
        commit = Commit(self.hub.journal.last_commit + 1, self.hub.epoch, AT, list(writes), [], purged or [])
        self.hub.journal.append([commit])
        if published:
            self.hub.history_writer.remove_purged(commit.purged)
            self.hub.history_writer.publish(commit.writes)

    def rebuild_index(self) -> None:
        """Bring the index up."""
        reader = HubReader(self.hub.root)
        self.hub.index.clear()
        rows = [*reader.page(BY_ID).rows, *reader.page(ALL_ENTITIES).rows]
        self.hub.index.update(rows, [], self.hub.journal.last_commit)

    def abandon(self) -> None:
        """Let the hub go without a word, as a killed process does."""
        self.hub.journal.close()
        self.hub.index.close()
        assert self.hub.lock is not None
        self.hub.lock.release()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".state"


@pytest.fixture
def engine(root: Path) -> Iterator[StepEngine]:
    engine = StepEngine(root)
    yield engine
    engine.abandon()


def list_rows(root: Path, query: Query = BY_ID) -> list[tuple[str, str]]:
    return [(row.id, row.status) for row in HubReader(str(root)).page(query).rows]


def line_count(root: Path, instance: str) -> int | None:
    found = HubReader(str(root)).read_history(instance)
    return None if found is None else len(found.lines)


# ── one instance ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_hub_is_empty_and_stays_missing(root: Path) -> None:
    reader = HubReader(str(root))
    assert not reader.exists()
    assert (
        reader.read_history("a"),
        reader.pending_messages("a"),
        reader.page(Query()).rows,
        reader.count(Query()),
    ) == (
        None,
        [],
        [],
        0,
    )
    assert reader.engine_process() is None
    assert reader.read_engine_info() is None
    assert not root.exists()


def test_a_history_is_its_file_and_what_the_journal_has_beyond_it(root: Path, engine: StepEngine) -> None:
    engine.commit(start_write("a", 1), start_write("b", 1))
    engine.commit(end_write("a", 1, 2), published=False)
    engine.commit(start_write("c", 3), published=False)
    assert [line_count(root, each) for each in ("a", "b", "c", "d")] == [3, 2, 2, None]


def test_a_history_purged_or_restarted_in_the_journal_is_read_so(root: Path, engine: StepEngine) -> None:
    engine.commit(start_write("a", 1), start_write("b", 1))
    engine.commit(start_write("b", 2), purged=[PurgedExecution("a", "1")], published=False)
    assert line_count(root, "a") is None
    found = HubReader(str(root)).read_history("b")
    assert found is not None
    assert found.execution == "2"


def test_an_instance_whose_id_is_part_of_anothers_is_not_mixed_up_with_it(root: Path, engine: StepEngine) -> None:
    engine.commit(start_write('a"b', 1), start_write("a", 1), start_write("é/..", 1), published=False)
    assert [line_count(root, each) for each in ('a"b', "a", "é/..", 'a"')] == [2, 2, 2, None]


def test_a_torn_tail_of_the_journal_is_ignored(root: Path, engine: StepEngine) -> None:
    engine.commit(start_write("a", 1), published=False)
    segment = max((root / "journal").glob("*.jsonl"))
    with segment.open("ab") as file:
        file.write(b'{"c":2,"epoch":1,"at":"2026-11-22T09:00:00.000000Z","writes":[{"instance":"a","exe\n')
    assert line_count(root, "a") == 2
    assert list_rows(root) == [("a", "Running")]


def test_a_copy_of_the_tail_beside_its_original_counts_once(root: Path) -> None:
    dead = StepEngine(root)
    dead.commit(start_write("a", 1))
    dead.rebuild_index()
    hubs.checkpoint(dead.hub)
    dead.commit(end_write("a", 1, 2), published=False)
    dead.abandon()
    before = {path: path.read_bytes() for path in (root / "journal").iterdir()}
    engine = StepEngine(root)
    for path, content in before.items():  # as if the new engine had died before it dropped the original
        path.write_bytes(content)
    assert line_count(root, "a") == 3
    assert list_rows(root) == [("a", "Completed")]
    engine.abandon()


def test_a_bad_first_line_is_damage_and_names_the_file(root: Path, engine: StepEngine) -> None:
    engine.commit(start_write("a", 1))
    hubs.checkpoint(engine.hub)
    engine.rebuild_index()
    hubs.checkpoint(engine.hub)
    file = Path(history_path(str(root), "a"))
    file.write_bytes(b"x" + file.read_bytes())
    with pytest.raises(DamagedHub, match=rf"{file.name}: byte 0"):
        HubReader(str(root)).read_history("a")


def test_a_file_that_is_just_being_made_is_no_damage(root: Path, engine: StepEngine) -> None:
    class Busy(LocalDisk):
        """Where an engine commits and makes the file between the look at the journal and that at the file."""

        def read(self, path: str) -> bytes:
            if path == history_path(str(root), "a") and not os.path.exists(path):
                engine.commit(start_write("a", 1), published=False)
                os.makedirs(os.path.dirname(path))
                Path(path).touch()
            return super().read(path)

    found = HubReader(str(root), Busy()).read_history("a")
    assert found is not None
    assert len(found.lines) == 2


def test_a_later_bad_line_keeps_the_lines_before_it(root: Path, engine: StepEngine) -> None:
    engine.commit(start_write("a", 1))
    engine.rebuild_index()
    hubs.checkpoint(engine.hub)
    with open(history_path(str(root), "a"), "ab") as file:
        file.write(b"half a li")
    found = HubReader(str(root)).read_history("a")
    assert found is not None
    assert (len(found.lines), found.is_whole) == (2, False)


def test_a_later_bad_line_with_an_end_is_damage_unless_the_journal_has_it(root: Path, engine: StepEngine) -> None:
    engine.commit(start_write("a", 1))
    file = Path(history_path(str(root), "a"))
    good = file.read_bytes()
    first, second, _ = good.split(b"\n")
    file.write_bytes(b"\n".join((first, second.replace(b"2026", b"2027"), b"")))
    found = HubReader(str(root)).read_history("a")
    assert found is not None
    assert found.is_whole
    file.write_bytes(good)
    engine.rebuild_index()
    hubs.checkpoint(engine.hub)
    file.write_bytes(b"\n".join((first, second.replace(b"2026", b"2027"), b"")))
    with pytest.raises(DamagedHub, match=rf"{file.name}: byte {len(first) + 1}: record n 2 is damaged"):
        HubReader(str(root)).read_history("a")


def test_the_stamp_changes_with_everything_that_reading_shows(root: Path, engine: StepEngine) -> None:
    reader = HubReader(str(root))
    stamps = [reader.change_token("a"), reader.change_token("a")]
    Inbox(engine.hub.disk, engine.hub.root).post("start", [MessageItem("a", name="f")])
    stamps.append(reader.change_token("a"))
    engine.commit(start_write("a", 1), published=False)
    stamps.append(reader.change_token("a"))
    engine.hub.history_writer.publish([start_write("a", 1)])
    stamps.append(reader.change_token("a"))
    assert stamps[0] == stamps[1]
    assert len(set(stamps)) == 4


@pytest.mark.parametrize(
    ("content", "error"),
    [(b'{"format":99}', NewerHub), (b"", DamagedHub), (b"\xff\xfe", DamagedHub), (None, DamagedHub)],
)
def test_a_hub_of_another_format_is_refused(
    root: Path, engine: StepEngine, content: bytes | None, error: type[Exception]
) -> None:
    engine.commit(start_write("a", 1))
    if content is None:
        (root / "hub.json").unlink()
    else:
        (root / "hub.json").write_bytes(content)
    for ask in (lambda: line_count(root, "a"), lambda: list_rows(root), lambda: HubReader(str(root)).count(Query())):
        with pytest.raises(error, match=r"hub\.json"):
            ask()


def test_engine_info_is_returned_with_the_lock_holder(root: Path, engine: StepEngine) -> None:
    reader = HubReader(str(root))
    holder = reader.engine_process()
    assert holder is not None
    assert (holder.pid, holder.is_alive) == (os.getpid(), True)
    (root / "engine.json").write_bytes(b'{"functions":[{"name":"f","kind":"activity"}]}')
    assert reader.read_engine_info() == EngineInfo(functions=(FunctionInfo("f", "activity"),))
    for wrong in (b"", b"[]", b"\xff"):
        (root / "engine.json").write_bytes(wrong)
        assert reader.read_engine_info() is None


# ── lists ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_list_lays_the_journal_over_the_index(root: Path, engine: StepEngine) -> None:
    engine.commit(start_write("a", 1), start_write("b", 1), start_write("c", 1))
    engine.rebuild_index()
    engine.commit(end_write("b", 1, 2), start_write("d", 2), purged=[PurgedExecution("a", "1")], published=False)
    assert list_rows(root) == [("b", "Completed"), ("c", "Running"), ("d", "Running")]
    assert list_rows(root, Query(status=("Running",), sort="id")) == [("c", "Running"), ("d", "Running")]
    reader = HubReader(str(root))
    assert (reader.count(Query()), reader.count(Query(status=("Running",)))) == (3, 2)


def test_a_list_is_right_where_the_index_is_ahead_of_the_files(root: Path, engine: StepEngine) -> None:
    """The lines of a busy engine gather before they are written; its index may know them by then."""
    engine.commit(entity_write("@e@a", 1))
    engine.commit(start_write("b", 2), make_log_write("@e@a", 1, 4, [EntityOperationReceived("set")]), published=False)
    engine.rebuild_index()
    engine.commit(end_write("b", 2, 3), make_log_write("@e@a", 1, 5, [EntityBatch(4)]), published=False)
    assert list_rows(root) == [("b", "Completed")]
    (entity,) = HubReader(str(root)).page(ALL_ENTITIES).rows
    assert (entity.queued, entity.records) == (0, 5)


def test_pages_of_index_and_journal_hold_every_row_once(root: Path, engine: StepEngine) -> None:
    dice = random.Random(4)
    known: set[str] = set()
    for _ in range(8):
        c = engine.hub.journal.last_commit + 1
        instances = [f"i{dice.randint(0, 9)}-{n}" for n in range(5)]
        known |= set(instances)
        engine.commit(*(start_write(instance, c) for instance in instances))
        if c == 4:
            engine.rebuild_index()
    for sort in ("created", "id", "name"):
        reader = HubReader(str(root))
        query = Query(sort=sort, limit=3)
        whole = reader.page(msgspec.structs.replace(query, limit=1000)).rows
        found = []
        while True:
            page = reader.page(query)
            found += page.rows
            if page.cursor is None:
                break
            query = msgspec.structs.replace(query, cursor=page.cursor)
        assert found == whole
        assert sorted(row.id for row in found) == sorted(known)
    assert 20 < len(known) < 40  # some were begun again, in the journal only


def test_unconsumed_starts_are_pending(root: Path, engine: StepEngine) -> None:
    engine.commit(start_write("a", 1))
    engine.rebuild_index()
    engine.commit(start_write("b", 2), published=False)
    inbox = Inbox(engine.hub.disk, engine.hub.root)
    inbox.post("start", [MessageItem("a", name="g", if_exists="replace")])
    inbox.post("start", [MessageItem("b", name="g")])
    inbox.post("start", [MessageItem("z", name="g", version="2", start_at=AT), MessageItem("y", name="g")])
    inbox.post("raise-event", [MessageItem("x", name="E")])
    assert list_rows(root) == [("a", "Pending"), ("b", "Running"), ("y", "Pending"), ("z", "Pending")]
    (row,) = HubReader(str(root)).page(Query(prefix="z")).rows
    assert (row.name, row.version, row.waiting[0].kind, row.waiting[0].fire_at) == ("g", "2", "start", AT)
    assert HubReader(str(root)).count(Query(status=("Pending",))) == 3
    assert [each.kind for each in HubReader(str(root)).pending_messages("x")] == ["raise-event"]


INDEX_STATES = ["missing", "garbage", "empty", "hot", "stale", "corrupt inside"]


def corrupt_index(root: Path, state: str) -> None:
    index = root / "index.sqlite"
    match state:
        case "missing":
            index.unlink()
        case "garbage":
            index.write_bytes(b"garbage" * 1000)
        case "empty":
            index.write_bytes(b"")
        case "hot":
            subprocess.run([sys.executable, "-c", KILLED_IN_A_TRANSACTION, str(index)], check=False)
            assert (root / "index.sqlite-journal").exists()
        case "corrupt inside":
            data = bytearray(index.read_bytes())
            data[8192:] = b"\xff" * (len(data) - 8192)
            index.write_bytes(data)


@pytest.mark.parametrize("state", INDEX_STATES)
def test_a_list_is_right_whatever_became_of_the_index(root: Path, state: str) -> None:
    engine = StepEngine(root)
    for c in range(1, 5):
        engine.commit(*(start_write(f"i{c}-{n}", c) for n in range(10)))
    engine.rebuild_index()
    if state == "stale":
        shutil.copy(root / "index.sqlite", root / "old")
        engine.commit(start_write("late", 5))
        engine.rebuild_index()
    hubs.checkpoint(engine.hub)
    engine.commit(end_write("i1-1", 1, engine.hub.journal.last_commit + 1))
    wanted = list_rows(root)
    assert len(wanted) == 40 + (state == "stale")
    engine.abandon()
    if state == "stale":
        (root / "old").rename(root / "index.sqlite")
    corrupt_index(root, state)
    before = snapshot_files(root)
    assert list_rows(root) == wanted
    assert HubReader(str(root)).count(Query()) == len(wanted)
    assert snapshot_files(root) == before


def test_a_hot_index_is_read_from_a_private_copy(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = StepEngine(root)
    engine.commit(start_write("a", 1))
    engine.rebuild_index()
    engine.abandon()
    corrupt_index(root, "hot")
    monkeypatch.setattr(recovery, "rebuild_index", lambda *_: pytest.fail("the histories were folded"))
    monkeypatch.setattr(tempfile, "tempdir", str(root.parent))
    assert list_rows(root) == [("a", "Running")]
    assert os.listdir(root.parent) == [".state"]


def test_a_deleted_index_is_rebuilt_equal(root: Path) -> None:
    engine = StepEngine(root)
    for c in range(1, 5):
        engine.commit(*(start_write(f"i{c}-{n}", c) for n in range(10)))
    engine.commit(*(end_write(f"i2-{n}", 2, 5) for n in range(5)), purged=[PurgedExecution("i1-1", "1")])
    engine.rebuild_index()
    wanted = (engine.hub.index.rows(BY_ID, 1000), engine.hub.index.last_commit)
    hubs.close_hub(engine.hub)
    (root / "index.sqlite").unlink()
    again = StepEngine(root)
    assert (again.hub.index.rows(BY_ID, 1000), again.hub.index.last_commit) == wanted
    assert len(wanted[0]) == 39
    again.abandon()


def test_entities_are_listed_separately_wherever_their_records_are(root: Path, engine: StepEngine) -> None:
    a, b, c, d = (f"@counter@{key}" for key in "abcd")
    engine.commit(start_write("i", 1), entity_write(a, 1), entity_write(b, 1))
    engine.rebuild_index()
    engine.commit(entity_write(c, 2), make_log_write(a, 1, 4, [EntityOperationReceived("x", scheduled_time=LATER)]))
    engine.commit(compacted_write(b, 1, 4), purged=[PurgedExecution(c, "2")], published=False)
    engine.commit(entity_write(d, 4), published=False)
    Inbox(engine.hub.disk, engine.hub.root).post("signal", [MessageItem("@counter@new", name="add")])
    reader = HubReader(str(root))
    rows = reader.page(ALL_ENTITIES).rows
    assert [(row.id, row.name, row.status, row.records, row.queued, row.has_pending_work) for row in rows] == [
        (a, "counter", "Exists", 4, 0, False),
        (b, "counter", "Exists", 5, 1, True),
        (d, "counter", "Exists", 3, 0, False),
    ]
    assert [row.next_due for row in rows] == [LATER, None, None]
    assert reader.count(ALL_ENTITIES) == 3
    assert reader.count(Query(entities=True, status=("Empty",))) == 0
    assert list_rows(root) == [("i", "Running")]
    assert reader.count(Query()) == 1
    assert [message.kind for message in reader.pending_messages("@counter@new")] == ["signal"]
    assert reader.pending_messages(a) == []


def test_the_log_of_an_entity_is_read_while_it_is_made_shorter(root: Path, engine: StepEngine) -> None:
    entity = "@counter@a"

    def reach() -> tuple[int, int] | None:
        reader = HubReader(str(root))
        found, at_once = reader.read_history(entity), reader.bulk_reader()(entity)
        assert found == at_once
        return found and (found.first, found.last)

    assert reach() is None
    engine.commit(entity_write(entity, 1))
    assert reach() == (1, 3)
    shorter = compacted_write(entity, 1, 4)
    engine.commit(shorter, published=False)
    assert reach() == (4, 5)
    engine.hub.history_writer.publish([shorter])
    assert reach() == (4, 5)
    engine.commit(make_log_write(entity, 1, 6, [EntityBatch(5, STATE)]), published=False)
    assert reach() == (4, 6)


def test_rows_of_entities_are_rebuilt_equal(root: Path) -> None:
    engine = StepEngine(root)
    engine.commit(*(entity_write(f"@e@{n}", 1) for n in range(20)), start_write("i", 1))
    engine.commit(*(compacted_write(f"@e@{n}", 1, 4) for n in range(10)), purged=[PurgedExecution("@e@19", "1")])
    holder = Origin("i", "1", 5)
    engine.commit(make_log_write("@e@3", 1, 6, [EntityBatch(5), EntityLockReceived(("@e@3",), holder)]))
    engine.rebuild_index()
    wanted = (
        engine.hub.index.rows(ALL_ENTITIES, 1000),
        engine.hub.index.locked_entities(),
        engine.hub.index.with_pending_work(),
    )
    hubs.close_hub(engine.hub)
    (root / "index.sqlite").unlink()
    again = StepEngine(root)
    rows = again.hub.index.rows(ALL_ENTITIES, 1000)
    assert (rows, again.hub.index.locked_entities(), again.hub.index.with_pending_work()) == wanted
    assert len(rows) == 19
    assert wanted[1] == ["@e@3"]
    assert len(wanted[2]) == 9
    again.abandon()


HOSTILE = (
    "../../etc/passwd",
    "a/b",
    ".",
    "..",
    "-rf",
    "x" * 240,
    "A",
    "a",
    "é",
    "e\u0301",
    "@counter@k",
    "x.jsonl.tmp",
)


def test_entities_of_any_name_have_files_of_their_own_below_the_hub(root: Path) -> None:
    engine = StepEngine(root)
    ids = [f"@{name}@{key}" for name in ("counter", "-rf", "..", "a/b", "é") for key in HOSTILE]
    engine.commit(*(entity_write(id, 1) for id in ids))
    engine.rebuild_index()
    assert engine.hub.index.count(ALL_ENTITIES) == len(ids)
    written = [path for path in root.rglob("*.jsonl") if path.parent.parent.name == "entities"]
    assert len(written) == len(ids)
    assert all(len(path.name.encode()) <= 156 for path in written)
    assert {path.parent.parent.parent for path in written} == {root}
    assert [row.id for row in HubReader(str(root)).page(ALL_ENTITIES).rows] == sorted(ids)
    engine.abandon()


def test_a_hub_that_knows_no_entities_yet_is_read_as_one_without_any(root: Path) -> None:
    engine = StepEngine(root)
    engine.commit(start_write("a", 1))
    hubs.close_hub(engine.hub)
    (root / "entities").rmdir()
    before = snapshot_files(root)
    reader = HubReader(str(root))
    assert reader.page(ALL_ENTITIES).rows == []
    assert reader.read_history("@counter@a") is None
    assert list_rows(root) == [("a", "Running")]
    assert snapshot_files(root) == before


# ── without a trace ────────────────────────────────────────────────────────────────────────────────────────────────


def read_everything(root: str) -> None:
    reader = HubReader(root)
    assert reader.exists()
    found = reader.read_history("a")
    assert found is not None
    assert len(found.lines) == 3
    assert [(row.id, row.status) for row in reader.page(BY_ID).rows] == [("a", "Completed"), ("new", "Pending")]
    assert reader.count(Query()) == 2
    assert len(reader.pending_messages("new")) == 1
    reader.change_token("a")
    reader.engine_process()
    reader.read_engine_info()


@pytest.mark.parametrize("death", ["closed", "killed", "killed while indexing"])
def test_reading_a_hub_leaves_no_trace_in_it(root: Path, death: str) -> None:
    engine = StepEngine(root)
    engine.commit(start_write("a", 1))
    engine.rebuild_index()
    engine.commit(end_write("a", 1, 2), published=death == "closed")
    Inbox(engine.hub.disk, engine.hub.root).post("start", [MessageItem("new", name="f")])
    if death == "closed":
        hubs.close_hub(engine.hub)
    else:
        engine.abandon()
    if death == "killed while indexing":
        corrupt_index(root, "hot")
    before = snapshot_files(root)
    read_everything(str(root))
    assert snapshot_files(root) == before


@pytest.mark.parametrize("state", ["missing", "hot", "good"])
def test_a_hub_of_another_user_that_is_read_only_can_be_read(state: str) -> None:
    # Not below pytest's own folder, which other users can't enter.
    outside = Path(tempfile.mkdtemp())
    root = outside / ".state"
    try:
        engine = StepEngine(root)
        engine.commit(start_write("a", 1))
        engine.rebuild_index()
        engine.commit(end_write("a", 1, 2))
        Inbox(engine.hub.disk, engine.hub.root).post("start", [MessageItem("new", name="f")])
        engine.abandon()
        corrupt_index(root, state)
        for folder, _, names in os.walk(outside):
            os.chmod(folder, 0o555)  # noqa: S103  others must be able to read it
            for name in names:
                os.chmod(os.path.join(folder, name), 0o444)
        before = snapshot_files(root)
        if os.getuid() == 0:
            run_as_nobody(read_everything, str(root))
        else:
            read_everything(str(root))
        assert snapshot_files(root) == before
    finally:
        for folder, _, _ in os.walk(outside):
            os.chmod(folder, 0o700)
        shutil.rmtree(outside)


def run_as_nobody(function: object, root: str) -> None:
    """Root may write whatever the mode says, so it has to be somebody else who tries."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            assert callable(function)
            with pytest.raises(PermissionError):
                open(f"{root}/hub.json", "ab").close()
            function(root)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


# ── beside an engine at work ───────────────────────────────────────────────────────────────────────────────────────


def test_nothing_that_was_committed_is_missed_while_the_engine_works(root: Path) -> None:
    engine = StepEngine(root)
    told = 0

    def work() -> None:
        nonlocal told
        inbox = engine.hub.inbox
        client = Inbox(engine.hub.disk, engine.hub.root)
        for c in range(1, 61):
            posted = client.post("start", [MessageItem(f"i{c:03}", name="f")])
            told = c
            inbox.take_next()
            engine.commit(start_write(f"i{c:03}", engine.hub.journal.last_commit + 1))
            inbox.remove([posted.message])
            if c % 7 == 0:
                rows = HubReader(str(root)).page(BY_ID).rows
                engine.hub.index.update(rows, [], engine.hub.journal.last_commit)
            if c % 14 == 0:
                hubs.checkpoint(engine.hub)

    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(work)
        reads = 0
        while not worker.done():
            at_least = told
            reader = HubReader(str(root))
            ids = [row.id for row in reader.page(BY_ID).rows]
            assert ids[:at_least] == [f"i{c:03}" for c in range(1, at_least + 1)]
            assert len(set(ids)) == len(ids)
            if at_least:
                assert reader.pending_messages(ids[at_least - 1]) or reader.read_history(ids[at_least - 1]) is not None
            reads += 1
        worker.result()
    engine.abandon()
    assert reads > 3


@pytest.mark.parametrize("is_list", [True, False])
def test_a_batch_in_parts_that_is_consumed_during_a_read_is_no_damage(
    root: Path, engine: StepEngine, monkeypatch: pytest.MonkeyPatch, is_list: bool
) -> None:
    monkeypatch.setattr(batches, "MAX_PART_BYTES", 4096)
    monkeypatch.setattr(inbox_reader, "_ITEMS_PER_READ", 10)
    text = Raw(b'"%b"' % (b"x" * 100))
    Inbox(LocalDisk(), str(root)).post("start", [MessageItem(f"b-{index}", "f", text) for index in range(100)])
    (message,) = engine.hub.inbox.take_next()
    assert len(message.parts) > 1
    read, reads = batches.BatchParts.read_items, 0

    def consume_and_read(self: batches.BatchParts, message: Message, start: int, count: int) -> list[MessageItem]:
        nonlocal reads
        reads += 1
        if reads == (3 if is_list else 1):
            engine.hub.inbox.remove([message.message])
        return read(self, message, start, count)

    monkeypatch.setattr(batches.BatchParts, "read_items", consume_and_read)
    reader = HubReader(str(root))
    if is_list:
        assert reader.page(BY_ID).rows == []
    else:
        assert reader.read_instance("b-99").pending == []
    assert reads


def test_a_damaged_part_of_a_waiting_batch_is_named(
    root: Path, engine: StepEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_PART_BYTES", 4096)
    text = Raw(b'"%b"' % (b"x" * 100))
    Inbox(LocalDisk(), str(root)).post("start", [MessageItem(f"b-{index}", "f", text) for index in range(100)])
    for part in (root / "inbox" / "new").glob("*.part*"):
        part.unlink()
    with pytest.raises(DamagedMessage, match="is damaged or missing"):
        HubReader(str(root)).page(BY_ID)
