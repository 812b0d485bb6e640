"""The doctor: finds what no crash explains, calls the rest a note, writes nothing; and what repairing makes of it."""

from __future__ import annotations

import os
import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import Raw

from durablecli.errors import HubLocked, NewerHub
from durablecli.model import events as ev
from durablecli.model.codec import crc_seed, encode_record
from durablecli.model.failures import Failure
from durablecli.store.check.checker import check_hub
from durablecli.store.check.history import check_history
from durablecli.store.check.repair import repair_hub
from durablecli.store.history.file import history_path, read_history
from durablecli.store.hub import Hub, checkpoint, close_hub, open_hub
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import MessageItem
from durablecli.store.journal.commits import Commit, ConsumedMessage, HistoryWrite, PurgedExecution
from durablecli.store.recovery import rebuild_index, summarize_history
from tests.support.files import snapshot_files

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
FAILURE = Failure("builtins.ValueError", "no")


def encode_records(instance: str, execution: str, events: list[ev.AnyEvent], first: int = 1) -> list[bytes]:
    start = crc_seed(instance, execution)
    return [encode_record(ev.Record(n, AT, event), start) for n, event in enumerate(events, first)]


def make_started(instance: str = "a", execution: str = "1") -> ev.ExecutionStarted:
    return ev.ExecutionStarted(instance, execution, "f")


def apply_commit(
    hub: Hub,
    *writes: HistoryWrite,
    taken: list[ConsumedMessage] | None = None,
    purged: list[PurgedExecution] | None = None,
) -> None:
    commit = Commit(hub.journal.last_commit + 1, hub.epoch, AT, list(writes), taken or [], purged or [])
    hub.journal.append([commit])
    hub.history_writer.remove_purged(commit.purged)
    hub.history_writer.publish(commit.writes)


def make_write(hub: Hub, instance: str, first: int, count: int, execution: str = "1") -> HistoryWrite:
    events: list[ev.AnyEvent] = [ev.EventRaised("E", Raw(b'"x"')) for _ in range(count)]
    if first == 1:
        events[0] = make_started(instance, execution)
    return HistoryWrite(instance, execution, first, encode_records(instance, execution, events, first))


def abandon(hub: Hub) -> None:
    hub.journal.close()
    hub.index.close()
    if hub.lock is not None:
        hub.lock.release()


E = "@e@a"
LOG: list[ev.AnyEvent] = [ev.EntityStarted(E, "1"), ev.EntityOperationReceived("add"), ev.EntityBatch(2, Raw(b"1"))]
LOG_CONTINUED: list[ev.AnyEvent] = [ev.EntityOperationReceived("add"), ev.EntityBatch(4, Raw(b"2"))]
LOG_REWRITTEN: list[ev.AnyEvent] = [
    ev.EntitySnapshot(E, "1", 5, AT, AT, Raw(b"2")),
    ev.EntityOperationReceived("add"),
    ev.EntityBatch(7, Raw(b"3")),
]


def make_log_write(first: int, events: list[ev.AnyEvent], id: str = E, execution: str = "1") -> HistoryWrite:
    fresh = isinstance(events[0], ev.EntitySnapshot)
    return HistoryWrite(id, execution, first, encode_records(id, execution, events, first), rewrites_file=fresh)


NAMES = ("a", "b", "c", E)


def pretend_dead(root: str) -> None:
    """Let hub.json name an engine that isn't this process."""
    file = Path(root, "hub.json")
    file.write_bytes(file.read_bytes().replace(b'"started":"', b'"started":"not '))


def make_hub(root: str) -> Hub:
    """Two instances on disk and checkpointed; a third, and more of the first, in the journal alone.

    And an entity, whose file was begun anew since.
    """
    hub = open_hub(root)
    apply_commit(hub, make_write(hub, "a", 1, 3), make_write(hub, "b", 1, 2), make_log_write(1, LOG))
    rebuild_index(hub.index, hub.disk, root, 1)
    checkpoint(hub)
    apply_commit(hub, make_write(hub, "a", 4, 2), make_log_write(4, LOG_CONTINUED), make_log_write(6, LOG_REWRITTEN))
    apply_commit(hub, make_write(hub, "c", 1, 2, "3"))
    return hub


def finish_hub(hub: Hub, root: str) -> None:
    rebuild_index(hub.index, hub.disk, root, hub.journal.last_commit)
    close_hub(hub)


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "state")


# ── one history ────────────────────────────────────────────────────────────────────────────────────────────────────

TASK = ev.TaskScheduled("t")
CHILD = ev.SubOrchestrationInstanceCreated("t", "child")
TIMER = ev.TimerCreated(AT)
CALL = ev.EntityOperationCalled("@e@a", "add")
ASK = ev.EntityLockRequested(("@e@a", "@e@b"))
LATE = ev.TimerCreated(AT + timedelta(seconds=1))
REWOUND = ev.ExecutionRewound(3, "", (3,), (4,))
DONE = ev.ExecutionCompleted("Completed")


def unlock(lock: int, entity: str) -> ev.EntityUnlockSent:
    """What remote code records: it ends its critical section for each entity, and names it by the request."""
    return ev.EntityUnlockSent(lock, id=7, request="9f", entity=entity)


@pytest.mark.parametrize(
    "events",
    [
        [TASK, ev.TaskCompleted(2), DONE],
        [TASK, ev.TaskFailed(2, FAILURE), DONE, ev.EventRaised("late")],
        [TIMER, ev.TimerFired(2), TIMER, ev.TimerCanceled(4)],
        [TIMER, ev.TimerFired(2, held=True), ev.TimerCanceled(2)],
        [CHILD, ev.SubOrchestrationInstanceCompleted(2), CHILD, ev.SubOrchestrationInstanceFailed(4, FAILURE)],
        [TASK, ev.TaskFailed(2, FAILURE), DONE, REWOUND, ev.TaskCompleted(2), DONE],
        [CALL, ev.EntityOperationCompleted(2), CALL, ev.EntityOperationFailed(4, FAILURE)],
        [ASK, ev.EntityLockGranted(2), ev.EntityUnlockSent(2), ASK, ev.EntityUnlockSent(5), DONE],
        [CALL, ev.EntityOperationFailed(2, FAILURE), DONE, REWOUND, ev.EntityOperationCompleted(2), DONE],
        [ASK, ev.EntityLockGranted(2), unlock(2, E), unlock(2, "@e@b"), DONE],
        [ASK, ev.EntityLockGranted(2), unlock(2, E), unlock(0, "@e@b"), DONE],
        [ev.TaskScheduled("f", id=1), ev.TaskScheduled("f", id=1), ev.TaskScheduled("f"), ev.TaskCompleted(3), DONE],
        [ev.OrchestratorStarted(1, AT), ev.ContinueAsNew(version="2")],
        [ev.ExecutionSuspended(), ev.ExecutionResumed(), ev.ExecutionBlocked("why"), ev.EventAwaited("e")],
    ],
)
def test_valid_histories_have_no_findings(events: list[ev.AnyEvent]) -> None:
    assert list(check_history("a", "1", encode_records("a", "1", [make_started(), *events]))) == []


@pytest.mark.parametrize(
    ("events", "n", "reason"),
    [
        ([ev.TaskCompleted(2)], 2, "answers n 2, which is no open TaskScheduled"),
        ([TIMER, ev.TaskCompleted(2)], 3, "answers n 2, which is no open TaskScheduled"),
        ([TASK, ev.SubOrchestrationInstanceCompleted(2)], 3, "no open SubOrchestrationInstanceCreated"),
        ([TASK, ev.TaskCompleted(2), ev.TaskFailed(2, FAILURE)], 4, "a second time, after n 3"),
        ([TIMER, ev.TimerCanceled(2), ev.TimerFired(2)], 4, "a second time, after n 3"),
        ([TIMER, ev.TimerFired(2), ev.TimerCanceled(2)], 4, "a second time, after n 3"),
        ([LATE, ev.TimerFired(2)], 3, "fires the timer of n 2 before 2026-11-22 09:00:01"),
        ([DONE, DONE], 3, "completes the execution a second time, after n 2"),
        ([make_started()], 2, "is a second ExecutionStarted"),
        ([TASK, ev.EntityOperationCompleted(2)], 3, "no open EntityOperationCalled"),
        ([CALL, ev.EntityOperationCompleted(2), ev.EntityOperationCompleted(2)], 4, "a second time, after n 3"),
        ([CALL, ev.EntityLockGranted(2)], 3, "no open EntityLockRequested"),
        ([ASK, ev.EntityLockGranted(2), ev.EntityLockGranted(2)], 4, "a second time, after n 3"),
        ([CALL, ev.EntityUnlockSent(2)], 3, "gives back the locks of n 2, which is no EntityLockRequested"),
        ([ASK, ev.EntityUnlockSent(2), ev.EntityUnlockSent(2)], 4, "gives back the locks of n 2 a second time"),
        ([ASK, unlock(2, E), unlock(2, E)], 4, "gives back the lock of @e@a of n 2 a second time, after n 3"),
        ([ASK, unlock(2, "@x@y")], 3, "gives back the lock of @x@y, for which n 2 didn't ask"),
        ([ASK, ev.EntityUnlockSent(0)], 3, "gives back the locks of n 0, which is no EntityLockRequested"),
        ([TASK, ev.TaskFailed(2, FAILURE), TASK, REWOUND, ev.TaskCompleted(4)], 6, "no open TaskScheduled"),
    ],
)
def test_invalid_histories_are_found(events: list[ev.AnyEvent], n: int, reason: str) -> None:
    ((found, text),) = check_history("a", "1", encode_records("a", "1", [make_started(), *events]))
    assert found == n
    assert reason in text


# ── the log of one entity ──────────────────────────────────────────────────────────────────────────────────────────

ADD = ev.EntityOperationReceived("add")
WAITED = ev.EntityOperationReceived("get", sender=ev.Origin("a", "1", 2), expects_reply=True)
SOON = ev.EntityOperationReceived("add", scheduled_time=AT + timedelta(seconds=1))
NOW = ev.EntityOperationReceived("add", scheduled_time=AT)
HOLDER, OTHER = ev.Origin("a", "1", 5), ev.Origin("b", "2", 2)
LOCK, NEXT = ev.EntityLockReceived((E,), HOLDER), ev.EntityLockReceived((E,), OTHER)
UNLOCK, LEAVE = ev.EntityUnlockReceived((E,), HOLDER), ev.EntityUnlockReceived((E,), OTHER)
INSIDE = ev.EntityOperationReceived("add", sender=ev.Origin("a", "1", 7), expects_reply=True)
STATE = Raw(b"1")
SNAPSHOT = ev.EntitySnapshot(E, "1", 8, AT, AT, STATE, ev.EntityLock(HOLDER, (E,), AT))


def batch(upto: int, *results: int) -> ev.EntityBatch:
    return ev.EntityBatch(upto, STATE, results=tuple(ev.EntityOperationResult(n, Raw(b"1")) for n in results))


def entity_findings(events: list[ev.AnyEvent], first: int = 1) -> list[tuple[int, str]]:
    lines = encode_records(E, "1", events if first > 1 else [ev.EntityStarted(E, "1"), *events], first)
    return list(check_history(E, "1", lines, first))


@pytest.mark.parametrize(
    "events",
    [
        [ADD, batch(2), ADD, WAITED, ADD, batch(5, 5), batch(6, 6)],
        [WAITED, ev.EntityDeletionReceived(), batch(2, 2), batch(3), NOW, ev.TimerFired(6), batch(6)],
        [ev.ExecutionBlocked("no code"), ADD, ev.ExecutionUnblocked(), batch(3)],
        [LOCK, ADD, INSIDE, batch(4, 4), UNLOCK, batch(3)],
        [ADD, LOCK, NEXT, batch(2), INSIDE, batch(6, 6), UNLOCK, WAITED, LEAVE, batch(9, 9)],
        [LOCK, NEXT, ADD, LEAVE, INSIDE, UNLOCK, batch(6, 6), batch(4)],
        [ADD, LOCK, UNLOCK, batch(2)],
    ],
)
def test_valid_entity_logs_have_no_findings(events: list[ev.AnyEvent]) -> None:
    assert entity_findings(events) == []


def test_a_log_may_begin_with_a_snapshot_that_knows_the_lock() -> None:
    assert entity_findings([SNAPSHOT, ADD, INSIDE, batch(11, 11), UNLOCK, batch(10)], 9) == []
    ((n, text),) = entity_findings([SNAPSHOT, ADD, batch(10)], 9)
    assert (n, text) == (11, "ends with n 10, which is no operation whose turn it is")
    ((n, text),) = entity_findings([SNAPSHOT, batch(4)], 9)
    assert (n, text) == (10, "ends with n 4, which is no operation whose turn it is")
    ((n, text),) = entity_findings([SNAPSHOT], 12)
    assert (n, text) == (12, "summarizes the records up to n 8, but must end with the record before it")


@pytest.mark.parametrize(
    ("events", "n", "reason"),
    [
        ([batch(2)], 2, "ends with n 2, which is no operation"),
        ([ADD, batch(2), batch(2)], 4, "ends with n 2, which is no operation"),
        ([SOON, batch(2)], 3, "ends with n 2, which is no operation"),
        ([SOON, ev.TimerFired(2)], 3, "fires the operation of n 2 before 2026-11-22 09:00:01"),
        ([ADD, ev.TimerFired(2)], 3, "answers n 2, which is no scheduled operation"),
        ([ADD, batch(2, 3)], 3, "has a result of n 3, which is no operation of this batch"),
        ([WAITED, ADD, batch(3)], 4, "has no result of n 2, whose sender waits for it"),
        ([WAITED, batch(2, 2, 2)], 3, "has a second result of n 2"),
        ([ADD, LOCK, ADD, batch(4)], 5, "passes the request for the lock of n 3 over"),
        ([LOCK, ADD, batch(3)], 4, "ends with n 3, which is no operation whose turn it is"),
        ([LOCK, LEAVE], 3, "gives back a lock that is neither held nor asked for"),
        ([ev.EntityLockReceived(("@e@b",), HOLDER)], 2, "asks for the locks of other entities"),
        ([ev.EntityStarted(E, "1")], 2, "is an EntityStarted, which isn't the first record"),
        ([SNAPSHOT], 2, "is an EntitySnapshot, which isn't the first record"),
        ([ev.EventRaised("E")], 2, "is an EventRaised, which has no place in the log of an entity"),
    ],
)
def test_invalid_entity_logs_are_found(events: list[ev.AnyEvent], n: int, reason: str) -> None:
    ((found, text),) = entity_findings(events)
    assert found == n
    assert reason in text


def test_a_log_that_begins_with_something_else_is_found() -> None:
    ((n, text),) = check_history(E, "1", encode_records(E, "1", [ADD]))
    assert (n, text) == (1, "is the first, and neither EntityStarted nor EntitySnapshot")


def test_a_history_that_begins_with_something_else_is_found() -> None:
    ((n, text),) = check_history("a", "1", encode_records("a", "1", [ev.EventAwaited("e")]))
    assert (n, text) == (1, "is the first, and no ExecutionStarted")


# ── the hub ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_found_and_nothing_written_in_a_hub_that_closed_in_peace(root: str) -> None:
    finish_hub(make_hub(root), root)
    before = snapshot_files(root)
    report = check_hub(root)
    assert (report.findings, report.notes) == ([], [])
    assert snapshot_files(root) == before


def test_a_missing_hub_is_a_note_and_is_not_made(root: str) -> None:
    assert check_hub(root).notes == [f"there is no hub at {root}"]
    assert repair_hub(root).findings == []
    assert not Path(root).exists()


def test_what_a_kill_leaves_is_only_worth_notes(root: str) -> None:
    hub = make_hub(root)
    message = Inbox(hub.disk, hub.root).post("raise-event", [MessageItem("a", name="E")]).message
    apply_commit(hub, make_write(hub, "a", 6, 1), taken=[ConsumedMessage(message)])
    segment = max(Path(root, "journal").glob("*.jsonl"))
    abandon(hub)
    pretend_dead(root)
    with segment.open("ab") as file:
        file.write(b"\0" * 100)
    Path(history_path(root, "c")).unlink()
    Path(history_path(root, "a")).write_bytes(Path(history_path(root, "a")).read_bytes()[:-20])
    Path(f"{history_path(root, 'a')}.tmp").write_bytes(b"half")
    before = snapshot_files(root)
    report = check_hub(root)
    assert report.findings == []
    text = "\n".join(report.notes)
    for expected in (
        "torn tail of 100 bytes",
        "2 histories lag",
        "was left by a crash",
        f"message {message} was taken",
    ):
        assert expected in text
    assert "contains commit 1 and will be updated" in text
    assert snapshot_files(root) == before
    finish_hub(open_hub(root), root)
    assert check_hub(root).findings == []


def test_a_history_that_only_journal_and_index_know_is_no_finding(root: str) -> None:
    hub = make_hub(root)
    write = make_write(hub, "late", 1, 2)
    commit = Commit(hub.journal.last_commit + 1, hub.epoch, AT, [write])
    hub.journal.append([commit])
    rebuild_index(hub.index, hub.disk, root, commit.c)
    hub.index.update([summarize_history(hub.disk, root, "late", "1", write.lines)], [], commit.c)
    abandon(hub)
    pretend_dead(root)
    report = check_hub(root)
    assert report.findings == []
    assert "1 histories lag behind the journal" in report.notes


def test_a_running_engine_is_no_finding(root: str) -> None:
    hub = make_hub(root)
    report = check_hub(root)
    assert (report.findings, report.notes) == ([], [])
    with pytest.raises(HubLocked):
        repair_hub(root)
    close_hub(hub)


def test_damage_is_found_with_its_place(root: str) -> None:
    finish_hub(make_hub(root), root)
    file = Path(history_path(root, "a"))
    lines = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join([lines[0], lines[1][:-4] + b'0"}', *lines[2:]]))
    report = check_hub(root)
    offset = len(lines[0]) + 1
    assert f"{file}: byte {offset}: record n 2 is damaged, what follows is lost" in report.findings


def test_a_history_under_a_wrong_name_is_found(root: str) -> None:
    finish_hub(make_hub(root), root)
    Path(history_path(root, "a")).write_bytes(Path(history_path(root, "b")).read_bytes())
    assert any("holds the history of 'b'" in finding for finding in check_hub(root).findings)


def test_an_index_that_contradicts_the_histories_is_found(root: str) -> None:
    hub = make_hub(root)
    rebuild_index(hub.index, hub.disk, root, hub.journal.last_commit)
    row = hub.index.get("a")
    other = hub.index.get("b")
    assert row is not None
    assert other is not None
    hub.index.update([type(row)(**{**{f: getattr(row, f) for f in row.__struct_fields__}, "name": "g"})], ["b"], 3)
    hub.index.update([type(other)(**{**{f: getattr(other, f) for f in other.__struct_fields__}, "id": "ghost"})], [], 3)
    close_hub(hub)
    text = "\n".join(check_hub(root).findings)
    assert 'the row of \'a\' differs in name ("g", by the history "f")' in text
    assert "the row of 'b' is missing" in text
    assert "1 rows have no history" in text
    assert repair_hub(root).findings == []


def test_a_journal_or_a_hub_file_that_cant_be_read_is_found(root: str) -> None:
    finish_hub(make_hub(root), root)
    Path(root, "journal/checkpoint").write_bytes(b"{}")
    Path(root, "hub.json").write_bytes(b"{}")
    text = "\n".join(check_hub(root).findings)
    assert "journal/checkpoint: byte 0" in text
    assert "hub.json" in text
    Path(root, "hub.json").unlink()
    assert any("hub.json is missing" in finding for finding in check_hub(root).findings)


@pytest.mark.parametrize("name", ["journal", "inbox", "instances"])
def test_a_missing_folder_is_found_and_recreated(root: str, name: str) -> None:
    hub = make_hub(root)
    finish_hub(hub, root)
    shutil.rmtree(f"{root}/{name}")
    assert f"{root}/{name} is missing" in check_hub(root).findings
    report = repair_hub(root)
    assert f"{root}/{name} was created again" in report.repaired
    assert report.findings == []
    again = open_hub(root)
    Inbox(again.disk, again.root).post("start", [MessageItem("new", "f")])
    finish_hub(again, root)


def test_a_hub_of_an_earlier_version_that_knows_no_entities_is_no_finding(root: str) -> None:
    hub = make_hub(root)
    apply_commit(hub, purged=[PurgedExecution(E, "1")])
    finish_hub(hub, root)
    shutil.rmtree(f"{root}/entities")
    before = snapshot_files(root)
    report = check_hub(root)
    assert (report.findings, report.notes) == ([], [])
    assert snapshot_files(root) == before
    assert repair_hub(root).findings == []


ASKED: list[ev.AnyEvent] = [ev.ExecutionStarted("i", "9", "f"), ev.EntityLockRequested((E,)), ev.EntityLockGranted(2)]
TAKEN: list[ev.AnyEvent] = [*LOG, ev.EntityLockReceived((E,), ev.Origin("i", "9", 2))]


@pytest.mark.parametrize(
    ("events", "execution", "reason"),
    [
        (ASKED, "9", None),
        (ASKED[:2], "9", None),
        ([*ASKED, ev.ExecutionCompleted("Completed")], "9", "has ended"),
        ([*ASKED, ev.EntityUnlockSent(2)], "9", "never asked for it, or gave it back"),
        ([ASKED[0], TASK], "9", "never asked for it, or gave it back"),
        ([ev.ExecutionStarted("i", "a", "f"), *ASKED[1:]], "a", "has begun another execution since"),
        ([], "9", "is gone"),
    ],
)
def test_a_lock_that_will_never_be_released_is_found(
    events: list[ev.AnyEvent], execution: str, reason: str | None, root: str
) -> None:
    hub = open_hub(root)
    writes = [HistoryWrite("i", execution, 1, encode_records("i", execution, events))] if events else []
    apply_commit(hub, make_log_write(1, TAKEN), *writes)
    finish_hub(hub, root)
    findings = check_hub(root).findings
    text = f"{history_path(root, E)}: the lock is held by 'i' (execution 9, n 2), which {reason}; an engine that opens"
    assert len(findings) == (reason is not None)
    assert all(finding.startswith(text) for finding in findings)


def test_a_log_is_cut_where_it_is_damaged_and_counts_from_where_it_begins(root: str) -> None:
    hub = make_hub(root)
    rebuild_index(hub.index, hub.disk, root, 3)
    checkpoint(hub)
    finish_hub(hub, root)
    file = Path(history_path(root, E))
    file.write_bytes(file.read_bytes().replace(b'"n":8', b'"n":9'))
    assert any("record n 8 is damaged" in finding for finding in check_hub(root).findings)
    report = repair_hub(root)
    assert report.findings == []
    assert "was written again from its last state: @e@a has lost what came after record n 7" in report.repaired[0]
    assert not Path(root, "cut.json").exists()


def test_a_log_is_carried_over_from_a_damaged_journal(root: str) -> None:
    hub = make_hub(root)
    abandon(hub)
    file = Path(history_path(root, E))
    whole = file.read_bytes()
    file.write_bytes(b"".join(line + b"\n" for line in encode_records(E, "1", LOG)))
    Path(root, "journal/checkpoint").write_bytes(b"{}")
    report = repair_hub(root)
    assert report.findings == []
    assert any("restarted" in line for line in report.repaired)
    assert file.read_bytes() == whole


def test_a_later_hub_is_left_alone(root: str) -> None:
    finish_hub(make_hub(root), root)
    Path(root, "hub.json").write_bytes(b'{"format":4}')
    for look in (check_hub, repair_hub):
        with pytest.raises(NewerHub):
            look(root)


# ── repairing ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_history_is_cut_where_it_is_damaged_and_what_was_there_is_kept(root: str) -> None:
    finish_hub(make_hub(root), root)
    file = Path(history_path(root, "a"))
    spoiled = file.read_bytes().replace(b'"n":3', b'"n":8')
    file.write_bytes(spoiled)
    report = repair_hub(root)
    assert report.findings == []
    assert "was cut behind record n 2" in report.repaired[0]
    (kept,) = Path(root, "damaged").iterdir()
    assert kept.read_bytes() == spoiled
    assert repair_hub(root).repaired == []


def test_a_damaged_journal_is_carried_over_as_far_as_it_fits_and_numbers_go_on(root: str) -> None:
    hub = make_hub(root)
    last = hub.journal.last_commit
    abandon(hub)
    segment = max(Path(root, "journal").glob("*.jsonl"))
    lines = segment.read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b'"c":2', b'"c":7')
    segment.write_bytes(b"\n".join(lines))
    Path(history_path(root, "c")).unlink()
    report = repair_hub(root)
    assert report.findings == []
    assert any("1 commits were carried over" in line for line in report.repaired)
    hub = open_hub(root)
    assert hub.last_commit > last
    found = read_history(hub.disk, root, "c")
    assert found is not None
    assert len(found.lines) == 2
    close_hub(hub)


def corrupt(data: bytes, dice: random.Random) -> bytes:
    """One of the ways in which files go bad without a crash."""
    at = dice.randrange(len(data))
    lines = data.split(b"\n")
    i, k = dice.randrange(len(lines)), dice.randrange(len(lines))
    match dice.choice(["flip", "zero", "cut", "duplicate", "swap", "delete", "nul", "crlf", "bom"]):
        case "flip":
            return data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]
        case "zero":
            return data[:at] + b"\0" * len(data[at : at + 50]) + data[at + 50 :]
        case "cut":
            return data[:at]
        case "duplicate":
            lines.insert(i, lines[i])
        case "swap":
            lines[i], lines[k] = lines[k], lines[i]
        case "delete":
            del lines[i]
        case "nul":
            return data + b"\0" * 500
        case "crlf":
            return data.replace(b"\n", b"\r\n")
        case _:
            return b"\xef\xbb\xbf" + data
    return b"\n".join(lines)


@pytest.mark.parametrize("number", range(8))
def test_any_corruption_is_checked_and_a_repaired_hub_opens_and_works(number: int, root: str) -> None:
    dice = random.Random(number)
    for _ in range(12):
        hub = make_hub(root)
        last = hub.journal.last_commit
        if dice.random() < 0.5:
            finish_hub(hub, root)
        else:
            abandon(hub)
        places = [each for each in Path(root).rglob("*") if each.is_file() and each.stat().st_size]
        for place in dice.sample(places, dice.choice([1, 1, 2])):
            place.write_bytes(corrupt(place.read_bytes(), dice))
        check_hub(root)
        report = repair_hub(root)
        assert report.findings == []
        hub = open_hub(root)
        if any("restarted" in line for line in report.repaired):
            assert hub.last_commit >= last
        c = hub.journal.last_commit + 1
        apply_commit(hub, make_write(hub, "new", 1, 2, f"{c:x}"))
        finish_hub(hub, root)
        assert check_hub(root).findings == []
        remove_tree(Path(root))


@pytest.mark.parametrize("number", range(6))
def test_nothing_is_lost_in_silence(number: int, root: str) -> None:
    """A single spoiled file: opening refuses, or the doctor has a finding, or every record is there."""
    dice = random.Random(number)
    for _ in range(12):
        hub = make_hub(root)
        hub.index.update([], [], 3)
        abandon(hub)
        Path(root, "hub.json").write_bytes(Path(root, "hub.json").read_bytes().replace(b'"started":"', b'"started":"x'))
        before = {name: Path(history_path(root, name)).read_bytes() for name in NAMES}
        places = [*Path(root, "journal").iterdir(), *(Path(history_path(root, name)) for name in NAMES)]
        place = dice.choice(places)
        place.write_bytes(corrupt(place.read_bytes(), dice))
        if not check_hub(root).findings:
            hub = open_hub(root)
            assert {name: Path(history_path(root, name)).read_bytes() for name in NAMES} == before
            assert hub.last_commit == 3
            abandon(hub)
        remove_tree(Path(root))


def remove_tree(folder: Path) -> None:
    for each in sorted(folder.rglob("*"), reverse=True):
        os.rmdir(each) if each.is_dir() else each.unlink()
    folder.rmdir()
