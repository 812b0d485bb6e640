"""The verbs for entities: signal, get, list, delete, history and purge; and how the other verbs show entities."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import yaml
from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from tests.cli.conftest import RunDurable
from tests.support.history_writer import HubWriter, open_hub_writer

LATER = datetime(2999, 1, 1, tzinfo=UTC)
HOLDER = ev.Origin("transfer-7", "1", 4)
PAIR = ("@account@a", "@account@b")


COUNTING = '''
"""A counter."""
import durablecli as df

@df.entity
def counter(context):
    if context.operation_name == "fail":
        raise ValueError("not today")
    context.set_state(context.get_state(int) + context.get_input())
'''


@pytest.fixture
def hub(work_folder: Path) -> Path:
    """Entities in each state that a status has words for, and orchestrations that wait for them."""
    add = ev.EntityOperationReceived("add", Raw(b"5"))
    failed = ev.EntityOperationResult(2, failure=Failure("builtins.ValueError", "no\nmoney"))
    with open_hub_writer(".state") as writer:
        for key, state in (("a", b'{"n":5}'), ("b", b"[1.50]")):
            entity = f"@counter@{key}"
            writer.write(entity, ev.EntityStarted(entity, "1"), add, ev.EntityBatch(2, state=Raw(state)))
        writer.write("@counter@empty", ev.EntityStarted("@counter@empty", "1"))
        writer.write(
            "@account@a",
            ev.EntityStarted("@account@a", "1"),
            add,
            ev.EntityBatch(2, state=Raw(b"5"), results=(failed,)),
            ev.EntityLockReceived(PAIR, HOLDER),
            ev.EntityOperationReceived("get", sender=ev.Origin("reader", "1", 2), expects_reply=True),
            ev.EntityLockReceived(PAIR, ev.Origin("next", "1", 2)),
            ev.EntityOperationReceived("reset", scheduled_time=LATER),
        )
        writer.write(
            "@gone@x", ev.EntityStarted("@gone@x", "1"), add, ev.ExecutionBlocked("entity 'gone' isn't loaded")
        )
        writer.write("next", ev.ExecutionStarted("next", "1", "transfer"), ev.EntityLockRequested(PAIR))
        writer.write(
            "reader", ev.ExecutionStarted("reader", "1", "read"), ev.EntityOperationCalled("@account@a", "get")
        )
        writer.write("stuck", ev.ExecutionStarted("stuck", "1", "read"), ev.EntityOperationCalled("@gone@x", "get"))
    return work_folder


# ── signal ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_signal_is_silent_in_a_pipe_and_a_sentence_on_a_terminal(durable: RunDurable, work_folder: Path) -> None:
    created = f"created the hub {work_folder}/.state\n"
    assert durable("entity", "signal", "@Counter@a", "add", "--input", "5", "--anyway") == (0, "", created)
    hint = "no daemon is running; start one with: durable run-daemon\n"
    assert durable("entity", "signal", "@counter@a", "add", "--anyway", terminal=True) == (
        0,
        "@counter@a  add sent\n",
        hint,
    )
    shown = json.loads(durable("entity", "signal", "@counter@a", "add", "-o", "json").out)
    assert shown == {"entityId": "@counter@a", "operation": "add"}
    messages = [path.read_text() for path in sorted((work_folder / ".state" / "inbox" / "new").iterdir())]
    assert '"instance":"@counter@a","name":"add","input":5' in messages[0]


def test_a_signal_can_be_scheduled(durable: RunDurable, work_folder: Path) -> None:
    durable("entity", "signal", "@counter@a", "add", "--at", "2999-01-01")
    durable("entity", "signal", "@counter@a", "add", "--delay", "10m")
    out = durable("entity", "get", "@counter@a").out
    assert "requested  signal add at 2999-01-01 00:00:00Z, for " in out
    assert out.count("requested  signal add at 2") == 2


def test_an_engine_refuses_an_operation_that_a_class_lacks_and_knows_none_of_a_function(
    durable: RunDurable, work_folder: Path
) -> None:
    kinds = '{"name":"Counter","kind":"entity","operations":["add","get"]},{"name":"free","kind":"entity"}'
    with open_hub_writer(".state"):
        write_engine_info(functions=kinds)
        refused = durable("entity", "signal", "@counter@a", "addd")
        shown = "durable: counter has no operation 'addd'; its operations: add, get; did you mean 'add'?"
        assert (refused.exit_code, refused.err) == (3, f"{shown} (use --anyway to send it anyway)\n")
        for entity, operation in (("@counter@a", "Add"), ("@counter@a", "delete"), ("@free@a", "addd")):
            assert durable("entity", "signal", entity, operation).exit_code == 0
    assert durable("entity", "signal", "@counter@a", "addd").exit_code == 3
    assert durable("entity", "signal", "@counter@a", "addd", "--anyway").exit_code == 0


def test_an_engine_says_which_operations_its_classes_have(durable: RunDurable, work_folder: Path) -> None:
    (work_folder / "workflows").mkdir()
    text = "import durablecli as df\n\n@df.entity\nclass Counter:\n    def add(self): ...\n    def get(self): ...\n"
    (work_folder / "workflows" / "counting.py").write_text(text + "\n@df.entity\ndef free(context): ...\n")
    durable("run-daemon", "--until-idle")
    functions = json.loads((work_folder / ".state" / "engine.json").read_text())["functions"]
    assert {one["name"]: one.get("operations") for one in functions} == {"Counter": ["add", "get"], "free": None}


@pytest.mark.parametrize("name", ["", "x" * 257])
def test_an_operation_name_is_checked(durable: RunDurable, work_folder: Path, name: str) -> None:
    refused = durable("entity", "signal", "@counter@a", name)
    assert (refused.exit_code, refused.err.count("\n")) == (2, 1)
    assert "the name of an operation " in refused.err
    assert not (work_folder / ".state").exists()


# ── get and status ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("entity", "expected"),
    [
        ("@counter@a", ["@counter@a  Exists\ncreated    2026-11-22 12:00:01Z\n", '\nstate      {"n":5}\n']),
        ("@counter@empty", ["@counter@empty  Empty\n"]),
        ("@account@a", ["locked by  transfer-7, for ", "    durable status transfer-7\n"]),
        (
            "@account@a",
            ["queued     operation get, for ", ", from reader\n", "queued     request of next for the lock, for "],
        ),
        ("@account@a", ["scheduled  operation reset at 2999-01-01 00:00:00Z, in "]),
        ("@account@a", ["failed     1 operation; add at 2026-11-22 12:00:", "Z: ValueError: no\n"]),
        (
            "@gone@x",
            [
                "blocked    since ",
                ": entity 'gone' isn't loaded\n",
                "resumes automatically once the code matches its history",
            ],
        ),
        ("@gone@x", ["no daemon  is running (last seen ", "start one with: durable run-daemon"]),
        ("@new@1", ["@new@1  Pending\nrequested  signal add, for 0 s; no engine has accepted it yet\n"]),
    ],
)
def test_status_and_get_agree_about_an_entity(durable: RunDurable, hub: Path, entity: str, expected: list[str]) -> None:
    durable("entity", "signal", "@new@1", "add")
    result = durable("entity", "get", entity)
    assert (result.exit_code, result.err) == (0, "")
    for text in expected:
        assert text in result.out
    assert durable("status", entity).out.splitlines()[0] == result.out.splitlines()[0]
    assert json.loads(durable("status", entity, "-o", "json").out)["entityId"] == entity


def test_an_idle_entity_needs_no_daemon(durable: RunDurable, hub: Path) -> None:
    assert "daemon" not in durable("entity", "get", "@counter@a").out


def test_queued_operations_are_truncated_for_people_and_complete_for_programs(
    durable: RunDurable, work_folder: Path
) -> None:
    with open_hub_writer(".state") as writer:
        operations = [ev.EntityOperationReceived(f"op{n}") for n in range(1500)]
        writer.write("@counter@a", ev.EntityStarted("@counter@a", "1"), *operations)
    out = durable("entity", "get", "@counter@a").out
    assert out.count("queued") == 10
    assert "… and 1,490 more" in out
    assert len(json.loads(durable("entity", "get", "@counter@a", "-o", "json").out)["queued"]) == 1500


def test_the_json_of_an_entity_is_all_that_is_known_of_it(durable: RunDurable, hub: Path) -> None:
    payload = json.loads(durable("entity", "get", "@account@a", "-o", "json").out)
    assert list(payload) == [
        "entityId", "name", "key", "exists", "state", "createdTime", "lastUpdatedTime", "lastOperationTime", "lockedBy",
        "queued", "running", "scheduled", "failures", "lastFailure", "blocked", "requested", "daemon",
    ]  # fmt: skip
    assert payload["lockedBy"]["instanceId"] == "transfer-7"
    assert [(one["kind"], one["sender"]) for one in payload["queued"]] == [("operation", "reader"), ("lock", "next")]
    assert payload["lastFailure"]["message"] == "no\nmoney"
    assert json.loads(durable("entity", "get", "@account@a", "-o", "jsonl").out) == payload
    assert yaml.safe_load(durable("entity", "get", "@account@a", "-o", "yaml").out) == payload


def test_status_accepts_instances_and_entities_together(durable: RunDurable, hub: Path) -> None:
    result = durable("status", "next", "@counter@a", "@counter@none")
    assert (result.exit_code, result.err) == (3, f"durable: no entity '@counter@none' in {hub}/.state\n")
    assert "next  transfer  Running" in result.out
    assert "\n\n@counter@a  Exists" in result.out
    assert len(json.loads(durable("status", "next", "@counter@a", "-o", "json").out)) == 2


# ── what orchestrations wait for ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("instance", "expected"),
    [
        (
            "next",
            r"lock of @account@a \(of @account@a, @account@b\), for .*\n {11}transfer-7 holds the lock since",
        ),
        ("next", r".*\n.* holds the lock since .*Z    durable status transfer-7\n"),
        ("reader", r"operation get of @account@a \(id 2\), for .*\n {11}transfer-7 holds the lock since "),
        ("stuck", r".*\n {11}@gone@x is blocked: entity 'gone' isn't loaded    durable status @gone@x\n"),
    ],
)
def test_status_shows_what_blocks_a_wait_at_an_entity(
    durable: RunDurable, hub: Path, instance: str, expected: str
) -> None:
    assert re.search(f"waits for  {expected}", durable("status", instance).out)


def test_the_wait_for_a_lock_names_the_entity_and_its_holder_in_json(durable: RunDurable, hub: Path) -> None:
    (wait,) = json.loads(durable("status", "next", "-o", "json").out)["waitingFor"]
    assert (wait["kind"], wait["entity"], wait["holder"]) == ("lock", "@account@a", "transfer-7")
    assert wait["entities"] == list(PAIR)
    (wait,) = json.loads(durable("status", "stuck", "-o", "json").out)["waitingFor"]
    assert (wait["kind"], wait["name"], wait["blocked"]) == ("entity", "get", "entity 'gone' isn't loaded")


def test_a_list_of_instances_says_what_they_wait_for_and_shows_no_entity(durable: RunDurable, hub: Path) -> None:
    out = durable("list", "--sort", "id").out
    assert [line.split()[0] for line in out.splitlines()] == ["ID", "next", "reader", "stuck"]
    assert "lock of @account@a, @account@b\n" in out
    assert "get of @gone@x\n" in out
    assert durable("list", "--count").out == "3\n"


def test_of_many_entities_that_are_locked_together_the_first_are_named(durable: RunDurable, work_folder: Path) -> None:
    many = tuple(f"@seat@{n:03}" for n in range(100))
    with open_hub_writer(".state") as writer:
        writer.write("t", ev.ExecutionStarted("t", "1", "book"), ev.EntityLockRequested(many))
    shown = "@seat@000, @seat@001, @seat@002 and 97 more"
    assert f"lock of {shown}, for " in durable("status", "t").out
    assert f"lock of {shown}\n" in durable("list").out
    assert f"EntityLockRequested  {shown}\n" in durable("history", "t").out
    assert len(json.loads(durable("status", "t", "-o", "json").out)["waitingFor"][0]["entities"]) == 100


RUNS = ev.EntityOperationReceived("spin", sender=ev.Origin("ls", "1", 3), expects_reply=True)


def write_engine_info(running_instance: str = "", pid: int | None = None, functions: str = "") -> None:
    """What a running engine has written about itself: this process is one while a scribe is open."""
    since = (datetime.now(UTC) - timedelta(seconds=10, milliseconds=500)).isoformat()
    runs = (
        f'{{"instance":"{running_instance}","execution":"1","id":3,"name":"c","attempt":1,"since":"{since}"}}'
        if running_instance
        else ""
    )
    at = datetime.now(UTC).isoformat()
    text = f'{{"at":"{at}","pid":{pid or os.getpid()},"functions":[{functions}],"running":[{runs}]}}'
    Path(".state", "engine.json").write_text(text)


def write_waiting_queue(writer: HubWriter) -> None:
    """Two operations at an entity, and behind them a request for its lock and a call."""
    lock = ev.EntityLockReceived(("@blk@a",), ev.Origin("taker", "1", 2))
    writer.write("@blk@a", ev.EntityStarted("@blk@a", "1"), RUNS, RUNS, lock)
    writer.write("taker", ev.ExecutionStarted("taker", "1", "take"), ev.EntityLockRequested(("@blk@a",)))
    writer.write("ls", ev.ExecutionStarted("ls", "1", "ls"), ev.CustomStatusSet(Raw(b"1")))
    writer.write("ls", ev.EntityOperationCalled("@blk@a", "spin"))


def test_running_operations_are_shown_by_every_verb(durable: RunDurable, work_folder: Path) -> None:
    with open_hub_writer(".state") as writer:
        write_waiting_queue(writer)
        write_engine_info("@blk@a")
        shown = durable("entity", "get", "@blk@a").out
        assert "\nrunning    operation spin, from ls, and 1 more, for 10 s\nqueued     request of taker" in shown
        running = json.loads(durable("entity", "get", "@blk@a", "-o", "json").out)["running"]
        assert running["operations"] == 2
        assert durable("entity", "list").out.endswith("  3       running for 10 s\n")
        assert re.search("operation spin of @blk@a .*\n {11}running for 10 s\n", durable("status", "ls").out)
        behind = "\n {11}behind 2 others, first operation spin, from ls, running for 10 s    durable status @blk@a\n"
        assert re.search(f"lock of @blk@a, for .*{behind}", durable("status", "taker").out)
        (wait,) = json.loads(durable("status", "taker", "-o", "json").out)["waitingFor"]
        assert (wait["ahead"], wait["first"]["name"]) == (2, "spin")


@pytest.mark.parametrize("pid", [1, None])
def test_work_of_an_earlier_engine_is_not_shown_as_running(
    durable: RunDurable, work_folder: Path, pid: int | None
) -> None:
    with open_hub_writer(".state") as writer:
        write_waiting_queue(writer)
        write_engine_info("@blk@a", pid)
        if pid:
            assert "running" not in durable("entity", "get", "@blk@a").out
    assert "running for" not in durable("entity", "list").out
    assert "running for" not in durable("status", "ls").out


def test_status_shows_held_locks_and_a_suspended_holder(durable: RunDurable, work_folder: Path) -> None:
    request = ev.EntityLockRequested(PAIR)
    with open_hub_writer(".state") as writer:
        writer.write(
            "h", ev.ExecutionStarted("h", "1", "hold"), request, ev.EntityLockGranted(2), ev.EventAwaited("Go")
        )
        writer.write("h", ev.ExecutionSuspended(""))
        waits = [ev.EntityLockReceived(PAIR, ev.Origin(one, "1", 2)) for one in ("h", "w")]
        for entity in PAIR:
            writer.write(entity, ev.EntityStarted(entity, "1"), *waits)
        writer.write("w", ev.ExecutionStarted("w", "1", "hold"), request)
    holder = durable("status", "h").out
    assert "\nholds      lock of @account@a, @account@b, since 2026-11-22 12:00:0" in holder
    assert re.search("\nsuspended  since [^:]*:[^:]*:..Z; 0 arrivals kept    durable resume h\n", holder)
    payload = json.loads(durable("status", "h", "-o", "json").out)
    assert payload["holds"] == [{"entities": list(PAIR), "since": "2026-11-22T12:00:03Z"}]
    assert re.search("h holds the lock since .*Z, and is suspended    durable status h\n", durable("status", "w").out)


# ── list ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_list_filters_sorts_counts_and_pages(durable: RunDurable, hub: Path) -> None:
    def ids(*arguments: str) -> list[str]:
        rows = json.loads(durable("entity", "list", "--sort", "id", "-o", "json", *arguments).out)
        return [row["entityId"] for row in rows]

    assert ids() == ["@account@a", "@counter@a", "@counter@b", "@counter@empty", "@gone@x"]
    assert ids("--name", "COUNTER", "--exists") == ["@counter@a", "@counter@b"]
    assert ids("--empty", "--reverse") == ["@gone@x", "@counter@empty"]
    assert ids("--prefix", "@Counter@e") == ["@counter@empty"]
    assert ids("--locked") == ["@account@a"]
    assert ids("--blocked") == ["@gone@x"]
    assert ids("--blocked", "--locked") == []
    assert durable("entity", "list", "--locked", "--count").out == "1\n"
    assert durable("entity", "list", "--count").out == "5\n"
    first = durable("entity", "list", "--sort", "id", "--limit", "3", "-o", "json")
    cursor = first.err.removeprefix("more: --cursor ").strip()
    assert ids("--cursor", cursor) == ["@counter@empty", "@gone@x"]


def test_the_entities_of_schedules_are_listed_on_request(durable: RunDurable, hub: Path) -> None:
    schedule = "@builtin__schedule@nightly"
    with open_hub_writer(".state") as writer:
        writer.write(schedule, ev.EntityStarted(schedule, "1"))
    assert durable("entity", "list", "--count").out == "5\n"
    assert schedule not in durable("entity", "list").out
    assert durable("entity", "list", "--count", "--all").out == "6\n"
    for arguments in (["--all"], ["--name", "builtin__schedule"], ["--prefix", "@BuiltIn__"]):
        assert schedule in durable("entity", "list", *arguments).out


def test_the_table_shows_what_an_entity_waits_for(durable: RunDurable, hub: Path) -> None:
    head, *rows = durable("entity", "list", "--sort", "id").out.splitlines()
    assert head.split() == ["ENTITY", "STATUS", "CREATED", "UPDATED", "QUEUED", "WAITS", "FOR"]
    assert rows[0].startswith("@account@a      Exists  2026-11-22 12:")
    assert rows[0].endswith("  2       lock of transfer-7")
    assert rows[4].endswith("  1       blocked: entity 'gone' isn't loaded")


def test_no_line_of_a_list_is_wider_than_the_terminal_and_ids_are_whole(
    durable: RunDurable, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    key = "k" * 32
    with open_hub_writer(".state") as writer:
        writer.write(f"@counter@{key}", ev.EntityStarted(f"@counter@{key}", "1"))
    out = durable("entity", "list", terminal=True).out
    assert max(map(len, out.splitlines())) <= 80
    assert f"@counter@{key}  Empty " in out


@pytest.mark.parametrize("verb", [["list"], ["entity", "list"]])
def test_ids_stay_whole_where_other_columns_can_go(
    durable: RunDurable, work_folder: Path, monkeypatch: pytest.MonkeyPatch, verb: list[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    holder, entity = "transfer-of-the-22nd-of-november-0001", "@account@of-some-customer"
    with open_hub_writer(".state") as writer:
        writer.write(holder, ev.ExecutionStarted(holder, "1", "t"), ev.EntityOperationCalled(entity, "get"))
        lock = ev.EntityLockReceived((entity,), ev.Origin(holder, "1", 2))
        writer.write(entity, ev.EntityStarted(entity, "1"), lock)
    out = durable(*verb, terminal=True).out
    assert max(map(len, out.splitlines())) <= 80
    assert holder in out
    assert entity in out


def test_a_word_that_no_line_can_hold_leaves_the_other_columns_of_a_history_whole(
    durable: RunDurable, work_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with open_hub_writer(".state") as writer:
        writer.write("long", ev.ExecutionStarted("long", "1", "t", Raw(b'"%s"' % (b"x" * 500))))
    out = durable("history", "long", terminal=True).out
    assert max(map(len, out.splitlines())) <= 80
    assert "ExecutionStarted" in out
    assert "…  " not in out


def test_functions_shows_each_operation_of_a_class_on_a_line_of_its_own(
    durable: RunDurable, work_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    (work_folder / "workflows").mkdir()
    operations = "".join(f"    def operation_{n}(self, amount: int = 0) -> int: ...\n" for n in range(9))
    text = f"import durablecli as df\n\n@df.entity\nclass Counter:\n{operations}"
    (work_folder / "workflows" / "counting.py").write_text(text)
    for terminal in (False, True):
        head, first, *others = durable("functions", terminal=terminal).out.splitlines()
        assert first.split() == [
            "Counter", "entity", "operation_0(amount:", "int", "=", "0)", "->", "int", "workflows/counting.py:3"
        ]  # fmt: skip
        assert [line.strip() for line in others] == [f"operation_{n}(amount: int = 0) -> int" for n in range(1, 9)]
        assert max(map(len, (head, first, *others))) <= 80


def test_a_terminal_gets_colors_unless_it_asked_for_none(
    durable: RunDurable, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for verb in (["entity", "get", "@counter@a"], ["entity", "list"]):
        assert "\x1b[32m" in durable(*verb, terminal=True).out
    monkeypatch.setenv("NO_COLOR", "1")
    for verb in (["entity", "get", "@counter@a"], ["entity", "list"]):
        assert "\x1b[3" not in durable(*verb, terminal=True).out


# ── history ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_history_has_a_row_per_record_and_every_form(durable: RunDurable, hub: Path) -> None:
    lines = durable("entity", "history", "@account@a").out.splitlines()
    assert lines[0].split() == ["N", "TIME", "(UTC)", "EVENT", "DETAILS"]
    assert [line.split("  ")[-1].strip() for line in lines[1:]] == [
        "EntityStarted",
        "add(5)",
        "up to 2; state 5; 2 failed: ValueError: no\\nmoney",
        "from transfer-7",
        "get(null), from reader",
        "from next",
        "reset(null), not before 2999-01-01 00:00:00.000",
    ]
    (path,) = (hub / ".state").glob("entities/*/account@a.jsonl")
    assert durable("entity", "history", "@account@a", "-o", "jsonl").out == path.read_text()
    rows = json.loads(durable("entity", "history", "@account@a", "-o", "json").out)
    assert [row["n"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert set(rows[1]) == {"n", "at", "type", "name", "input"}


def test_the_records_of_an_orchestration_say_what_they_are_about(durable: RunDurable, work_folder: Path) -> None:
    with open_hub_writer(".state") as writer:
        writer.write(
            "t",
            ev.ExecutionStarted("t", "1", "transfer"),
            ev.EntityLockRequested(PAIR),
            ev.EntityLockGranted(2),
            ev.EntityOperationCalled(PAIR[0], "add", Raw(b"-5")),
            ev.EntityOperationFailed(4, Failure("builtins.ValueError", "no")),
            ev.EntityUnlockSent(2),
            ev.EntityOperationSignaled("@log@x", "note", Raw(b'"done"'), LATER),
        )
    shown = [line.split("  ")[-1].strip() for line in durable("history", "t").out.splitlines()[2:]]
    assert shown == [
        "@account@a, @account@b",
        "of 2",
        "add(-5) of @account@a",
        "of 4: ValueError: no",
        "of 2",
        'note("done") to @log@x, not before 2999-01-01 00:00:00.000',
    ]


# ── delete and purge ───────────────────────────────────────────────────────────────────────────────────────────────


def test_delete_and_purge_take_effect_without_a_daemon_and_without_code(durable: RunDurable, hub: Path) -> None:
    assert durable("entity", "delete", "@counter@a", "@Counter@a") == (0, "@counter@a  deleted\n", "")
    assert durable("entity", "get", "@counter@a").out.startswith("@counter@a  Empty\n")
    deleted = durable("entity", "delete", "@counter@a", "@counter@b", "-o", "jsonl")
    assert (deleted.exit_code, json.loads(deleted.out)) == (5, {"entityId": "@counter@b", "delete": "done"})
    assert deleted.err == "durable: @counter@a is Empty: it has no state to delete\n"
    assert durable("entity", "purge", "@counter@a") == (0, "@counter@a  purged\n", "")
    assert durable("entity", "get", "@counter@a").exit_code == 3
    purged = durable("entity", "purge", "--all-empty", "-y")
    assert sorted(purged.out.splitlines()) == ["@counter@b  purged", "@counter@empty  purged"]
    assert durable("entity", "purge", "--all-empty", "-y").err == "no entity is empty: nothing to purge\n"
    assert durable("doctor").exit_code == 0


def test_a_delete_queued_behind_operations_that_need_code_is_reported(durable: RunDurable, hub: Path) -> None:
    durable("entity", "signal", "@counter@new", "add", "--input", "1")
    shown = "@counter@new  delete queued, waiting for operations sent before; --force drops them\n"
    assert durable("entity", "delete", "@counter@new") == (0, shown, "")
    assert "queued     delete, for 0 s\n" in durable("entity", "get", "@counter@new").out
    assert durable("entity", "delete", "@counter@new", "--force") == (0, "@counter@new  deleted\n", "")
    assert "queued" not in durable("entity", "get", "@counter@new").out


def test_a_delete_of_what_is_locked_names_the_holder(durable: RunDurable, work_folder: Path) -> None:
    with open_hub_writer(".state") as writer:
        request = ev.EntityLockRequested(PAIR[:1])
        writer.write(
            "h", ev.ExecutionStarted("h", "1", "hold"), request, ev.EntityLockGranted(2), ev.EventAwaited("Go")
        )
        lock = ev.EntityLockReceived(PAIR[:1], ev.Origin("h", "1", 2))
        writer.write(PAIR[0], ev.EntityStarted(PAIR[0], "1"), ev.EntityOperationReceived("add"), lock)
        writer.write(PAIR[0], ev.EntityBatch(2, state=Raw(b"5")))
    shown = "@account@a  delete queued, waiting for the lock that h holds; terminate that instance first\n"
    assert durable("entity", "delete", "@account@a", "--force") == (0, shown, "")


def test_a_run_names_the_loaded_entities_when_one_has_no_code(
    durable: RunDurable, work_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (work_folder / "workflows").mkdir()
    (work_folder / "workflows" / "counting.py").write_text(COUNTING)
    durable("entity", "signal", "@gone@a", "add", "--anyway")
    assert durable("run-daemon", "--until-idle").exit_code == 0
    shown = "@gone@a is blocked: entity 'gone' isn't loaded (loaded: counter). It resumes once its code"
    assert caplog.text.count(shown) == 1
    assert durable("run-daemon", "--until-idle").exit_code == 0
    assert caplog.text.count(shown) == 2  # reported again by each daemon


def test_a_delete_drops_operations_whose_code_is_missing(durable: RunDurable, hub: Path) -> None:
    assert durable("entity", "delete", "@gone@x") == (0, "@gone@x  deleted\n", "")
    assert "queued" not in durable("entity", "get", "@gone@x").out


def test_a_daemon_runs_what_was_signaled(durable: RunDurable, work_folder: Path) -> None:
    (work_folder / "workflows").mkdir()
    (work_folder / "workflows" / "counting.py").write_text(COUNTING)
    durable("entity", "signal", "@Counter@a", "add", "--input", "5")
    durable("entity", "signal", "@counter@a", "fail")
    assert durable("run-daemon", "--until-idle").exit_code == 0
    out = durable("entity", "get", "@counter@a").out
    assert "\nstate      5\n" in out
    assert "\nfailed     1 operation; fail at " in out
    assert "ValueError: not today\n" in out
    assert re.search("counter +entity +", durable("functions").out)


def test_a_dry_run_lists_what_a_purge_deletes_and_refuses(durable: RunDurable, hub: Path) -> None:
    dry = durable("entity", "purge", "--all-empty", "--dry-run")
    assert (dry.exit_code, dry.out) == (0, "would purge @counter@empty\n1 in all; nothing was done\n")
    refused = durable("entity", "purge", "@counter@empty", "@counter@a", "--dry-run", "-o", "json")
    assert (refused.exit_code, json.loads(refused.out)) == (5, [{"entityId": "@counter@empty"}])
    assert refused.err == "durable: @counter@a has a state: delete it first (durable entity delete)\n"
    assert durable("entity", "purge", "--all-empty").err == (
        "durable: purge 1 entity: add --yes to confirm, or --dry-run to list them\n"
    )
    declined = durable("entity", "purge", "--all-empty", stdin="n\n", terminal=True)
    assert declined.exit_code == 130
    assert "purge 1 entity (@counter@empty)?" in declined.err


# ── what a payload holds ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("form", ["table", "json", "jsonl", "yaml"])
@pytest.mark.parametrize("verb", ["get", "list", "history"])
def test_entity_state_never_sends_control_characters_to_a_terminal(
    durable: RunDurable, work_folder: Path, monkeypatch: pytest.MonkeyPatch, verb: str, form: str, terminal: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    evil = "\x1b]0;owned\x07\x9b2J\u202edlrow\r\b\x7f"
    payload = Raw(msgspec.json.encode({evil: evil}))
    outcome = ev.EntityOperationResult(2, failure=Failure(evil, evil))
    entity = "@counter@\u202eevil"
    with open_hub_writer(".state") as writer:
        operation = ev.EntityOperationReceived(evil, payload)
        batch = ev.EntityBatch(2, state=payload, results=(outcome,))
        writer.write(entity, ev.EntityStarted(entity, "1"), operation, batch, operation, ev.ExecutionBlocked(evil))
    out = durable("entity", verb, *([] if verb == "list" else [entity]), "-o", form, terminal=terminal).out
    assert out
    if terminal:
        assert [character for character in out if character != "\n" and not character.isprintable()] == []
    elif form in ("json", "jsonl") and (form, verb) != ("jsonl", "history"):
        assert json.loads(out)
