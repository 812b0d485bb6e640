"""The client without an engine: what it posts, reads and refuses."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from durablecli.client import Client, DurableOrchestrationClient, MessageItem, Query, Receipt
from durablecli.errors import (
    BadName,
    Conflict,
    HubLocked,
    NotFound,
    StorageError,
    TimedOut,
    Unserializable,
    UsageError,
    WrongState,
)
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.store.disk import LocalDisk
from durablecli.store.inbox import reservations
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.inbox_consumer import InboxConsumer
from durablecli.store.inbox.inbox_reader import InboxReader
from tests.support.files import snapshot_files
from tests.support.history_writer import NOON, open_hub_writer

ENDED = ev.ExecutionCompleted("Completed", Raw(b'"done"'))
FAILED = ev.ExecutionCompleted("Failed", failure=Failure("builtins.ValueError", "no city"), causes=(3,))


def make_started(instance: str, name: str = "tour", execution: str = "1", **fields: object) -> ev.ExecutionStarted:
    return ev.ExecutionStarted(instance, execution, name, Raw(b'{"city":"Tokyo"}'), **fields)  # type: ignore[arg-type]


def inbox(root: str) -> Inbox:
    return Inbox(LocalDisk(), root)


def test_a_start_is_seen_as_pending_before_any_engine_ran(client: Client) -> None:
    instance = client.start_new("tour", client_input={"city": "Tokyo"}, version="2")
    status = client.get_status(instance)
    assert status
    assert (status.name, status.version, status.input_) == ("tour", "2", {"city": "Tokyo"})
    assert status.runtime_status is not None
    assert status.runtime_status.value == "Pending"
    assert not status.taken
    assert len(instance) == 32


def test_a_start_can_be_scheduled_and_a_naive_time_is_utc(client: Client) -> None:
    instance = client.start_new("tour", start_at=datetime(2030, 1, 1))  # noqa: DTZ001  naive on purpose
    assert client.get_status(instance).start_at == datetime(2030, 1, 1, tzinfo=UTC)


def test_a_missing_instance_is_falsy_and_nothing_is_written_for_it(client: Client, root: str) -> None:
    status = client.get_status("nobody")
    assert not status
    assert status.to_json()["runtimeStatus"] is None
    assert not os.path.exists(root)


@pytest.mark.parametrize("if_exists", ["fail", "fail_if_running"])
def test_an_id_with_a_pending_start_is_a_conflict(client: Client, if_exists: str) -> None:
    client.start_new("tour", "t")
    with pytest.raises(Conflict):
        client.start_new("tour", "t", if_exists=if_exists)


def test_skip_returns_the_existing_id_and_posts_nothing(client: Client, root: str) -> None:
    client.start_new("tour", "t")
    assert client.start_new("other", "t", if_exists="skip") == "t"
    with open_hub_writer(root) as hub:
        hub.write("ended", make_started("ended"), ENDED)
    assert client.start_new("other", "ended", if_exists="skip") == "ended"
    assert [message.items[0].instance for message in InboxReader(LocalDisk(), root).pending_of_kinds({"start"})] == [
        "t"
    ]


@pytest.mark.parametrize(
    ("ended", "if_exists", "posted"),
    [
        (True, "fail", False),
        (True, "fail_if_running", True),
        (True, "replace", True),
        (False, "fail", False),
        (False, "fail_if_running", False),
        (False, "replace", True),
    ],
)
def test_what_an_existing_id_allows(client: Client, root: str, ended: bool, if_exists: str, posted: bool) -> None:
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t"), *([ENDED] if ended else []))
    if posted:
        assert client.start_new("tour", "t", if_exists=if_exists) == "t"
    else:
        with pytest.raises(Conflict, match="already exists"):
            client.start_new("tour", "t", if_exists=if_exists)
    assert len(list(InboxReader(LocalDisk(), root).pending_of_kinds({"start"}))) == posted
    assert (inbox(root).get_reservation("t") is not None) == posted


def test_of_concurrent_starts_of_one_id_one_wins(root: str) -> None:
    Client(root).start_new("warm", "up")
    won: list[str] = []
    refused: list[Conflict] = []
    gate = threading.Barrier(8)

    def start() -> None:
        client = Client(root)
        gate.wait()
        try:
            won.append(client.start_new("tour", "t"))
        except Conflict as error:
            refused.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == ["t"]
    assert len(refused) == 7


def test_of_concurrent_starts_in_other_namespaces_one_wins(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "is_process_alive", lambda pid, started: False)  # no process sees the others'
    test_of_concurrent_starts_of_one_id_one_wins(root)
    assert len(list(InboxReader(LocalDisk(), root).pending_of_kinds({"start"}))) == 2


def test_a_start_that_loses_its_reservation_is_checked_again(
    client: Client, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "is_process_alive", lambda pid, started: False)
    client.start_new("warm", "up")
    post, other = Inbox.post, Client(root)

    def late(self: Inbox, *arguments: Any) -> Any:
        monkeypatch.setattr(Inbox, "post", post)
        other.start_new("tour", "t", "other")
        return post(self, *arguments)

    monkeypatch.setattr(Inbox, "post", late)
    with pytest.raises(Conflict, match="instance id 't' already exists and is Pending"):
        client.start_new("tour", "t", "own")
    assert client.get_status("t").input_ == "other"
    assert len(InboxReader(LocalDisk(), root).pending_messages("t")) == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_id_whose_start_could_not_be_posted_is_free(
    client: Client, root: str, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    client.start_new("warm", "up")

    def fail(self: LocalDisk, old: str, new: str) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(LocalDisk, "rename", fail)
        with pytest.raises((StorageError, KeyboardInterrupt)):
            client.start_new("tour", "t")
    assert inbox(root).get_reservation("t") is None
    assert not client.get_status("t")
    client.start_new("tour", "t")


def test_an_id_is_free_when_the_engine_of_this_process_refuses_its_start(client: Client, root: str) -> None:
    class Stopped:
        def post(self, kind: str, items: object, message: str | None = None) -> Receipt:
            held = inbox(root).get_reservation("t")
            assert held is not None
            assert held.final
            raise HubLocked("the engine has stopped")

    client.start_new("warm", "up")
    with pytest.raises(HubLocked):
        Client(root, Stopped()).start_new("tour", "t")
    assert inbox(root).get_reservation("t") is None
    client.start_new("tour", "t")


def test_a_rewind_and_a_start_at_the_same_time_are_never_both_acknowledged(
    client: Client, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "is_process_alive", lambda pid, started: False)
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t"), FAILED)
    post, other = Inbox.post, Client(root)

    def late(self: Inbox, *arguments: Any) -> Any:
        monkeypatch.setattr(Inbox, "post", post)
        other.rewind("t")
        return post(self, *arguments)

    monkeypatch.setattr(Inbox, "post", late)
    with pytest.raises(Conflict, match="being rewound"):
        client.start_new("tour", "t")
    assert [message.kind for message in InboxReader(LocalDisk(), root).pending_messages("t")] == ["rewind"]


def test_a_batch_is_one_message_with_an_instance_per_input(client: Client, root: str) -> None:
    ids = client.start_many("tour", [1, {"a": 2}, None])
    assert [client.get_status(one).input_ for one in ids] == [1, {"a": 2}, None]
    assert [one.rpartition("-")[2] for one in ids] == ["0", "1", "2"]
    assert len(list(InboxReader(LocalDisk(), root).pending_of_kinds({"start"}))) == 1
    assert client.start_many("tour", []) == []


def test_an_input_that_json_cannot_hold_names_its_path_and_starts_nothing(client: Client, root: str) -> None:
    with pytest.raises(Unserializable, match=r"\$\.a\[1\]"):
        client.start_new("tour", client_input={"a": [1, object()]})
    assert not os.path.exists(root)


def test_a_running_engine_decides_which_functions_exist(client: Client, root: str) -> None:
    with open_hub_writer(root):
        published = {"functions": [{"name": "Tour", "kind": "orchestrator"}, {"name": "hello", "kind": "activity"}]}
        Path(root, "engine.json").write_text(json.dumps(published))
        client.start_new("tour")
        with pytest.raises(NotFound, match=r"the function 'hello' .* known: Tour$"):
            client.start_new("hello")
    client.start_new("hello")  # the list of an engine that is gone is no authority


def test_the_status_of_an_ended_instance_is_the_fold_of_its_history(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t", version="1.2"), ev.CustomStatusSet(Raw(b'"half"')), ENDED)
    status = client.get_status("t")
    assert (status.output, status.custom_status, status.records) == ("done", "half", 3)
    assert status.ended
    assert status.created_time == NOON + timedelta(seconds=1)
    assert status.to_json()["createdTime"] == "2026-11-22T12:00:01.000000Z"
    assert status.payload()["createdTime"] == "2026-11-22T12:00:01Z"
    assert not status.engine.alive


@pytest.mark.parametrize(
    ("type", "message", "text"),
    [
        ("builtins.ValueError", "no city", "ValueError: no city"),
        ("builtins.ValueError", "", "ValueError"),
        ("builtins.KeyError", "'user'", "KeyError: 'user'"),
        ("app.errors.Refused", "no", "Refused: no"),
        ("durablecli.errors.TaskFailedError", "Activity function 'x' failed: ValueError: no", None),
        ("durablecli.NonDeterminism", "non-deterministic orchestrator", None),
    ],
)
def test_the_output_of_a_failed_instance_is_type_and_message(
    client: Client, root: str, type: str, message: str, text: str | None
) -> None:
    failed = ev.ExecutionCompleted("Failed", failure=Failure(type, message))
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t"), failed)
        hub.write("azure", make_started("azure"), msgspec.structs.replace(failed, failure_has_name_prefix=True))
    expected = message if text is None else text
    assert client.get_status("t").output == expected
    assert client.get_status("azure").output == f"Orchestrator function 'tour' failed: {expected}"


def test_the_history_comes_with_the_status_when_asked_for(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t"), ev.TaskScheduled("hello", Raw(b"1")), ev.TaskCompleted(2, Raw(b'"x"')), ENDED)
    assert client.get_status("t").history is None
    rows = client.get_status("t", show_history=True, show_history_output=True).history
    assert rows is not None
    assert [row["EventType"] for row in rows] == ["ExecutionStarted", "TaskCompleted", "ExecutionCompleted"]
    assert rows[1]["Result"] == "x"
    assert "historyEvents" in client.get_status("t", show_history=True).payload()


def test_show_input_false_omits_the_input(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t"), ENDED)
    assert client.get_status("t").input_ == {"city": "Tokyo"}
    assert client.get_status("t", show_input=False).input_ is None


def test_payloads_pass_through_as_they_were_written(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t"), ev.ExecutionCompleted("Completed", Raw(b"[1.50,12345678901234567890123]")))
    assert b"[1.50,12345678901234567890123]" in msgspec.json.encode(client.get_status("t").payload())


def test_what_an_instance_waits_for_is_in_its_payload(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t"), ev.TaskScheduled("hello"), ev.EventAwaited("Guide"))
    waits = json.loads(msgspec.json.encode(client.get_status("t").payload()))["waitingFor"]
    assert [(one["kind"], one["id"], one["name"]) for one in waits] == [("activity", 2, "hello"), ("event", 3, "Guide")]


# ── events and the verbs that move an instance ─────────────────────────────────────────────────────────────────────


def test_an_event_for_an_unknown_instance_is_refused_and_leaves_no_trace(client: Client, root: str) -> None:
    with pytest.raises(NotFound, match="no instance 'x'"):
        client.raise_event("x", "Go")
    assert not os.path.exists(root)


def test_an_event_for_an_ended_instance_is_refused(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t"), ENDED)
    with pytest.raises(WrongState, match="accepts no more events"):
        client.raise_event("t", "Go")
    assert InboxReader(LocalDisk(), root).pending_messages("t") == []


def test_an_event_can_be_sent_to_a_pending_start(client: Client, root: str) -> None:
    client.start_new("tour", "t")
    client.raise_event("t", "Go", [1])
    kinds = [(message.kind, message.items[0].name) for message in InboxReader(LocalDisk(), root).pending_messages("t")]
    assert kinds == [("start", "tour"), ("raise-event", "Go")]
    assert client.get_status("t").requested == ("raise-event",)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda client: client.start_new("tour\ud800"),
        lambda client: client.start_new("tour", version=5),
        lambda client: client.start_new("tour", version="\ud800"),
        lambda client: client.start_new("t" * 257),
        lambda client: client.start_many("tour", [1], 5),
        lambda client: client.raise_event("t", "\ud800"),
        lambda client: client.terminate("t", "\ud800"),
        lambda client: client.suspend("t", None),
        lambda client: client.signal_entity("@a@b", "\ud800"),
    ],
)
def test_nothing_is_posted_that_no_record_can_hold(client: Client, root: str, wrong: Any) -> None:
    client.start_new("tour", "t")
    with pytest.raises(BadName):
        wrong(client)
    assert [message.kind for message in InboxConsumer(LocalDisk(), root).take_next()] == ["start"]


@pytest.mark.parametrize("name", ["", None, 3])
def test_an_event_needs_a_name(client: Client, name: str) -> None:
    client.start_new("tour", "t")
    with pytest.raises(ValueError, match="non-empty string"):
        client.raise_event("t", name)


VERBS: dict[str, Callable[[Client, str], object]] = {
    "terminate": lambda client, one: client.terminate(one, "why"),
    "suspend": lambda client, one: client.suspend(one, "why"),
    "resume": lambda client, one: client.resume(one, "why"),
    "rewind": lambda client, one: client.rewind(one, "why"),
    "purge": lambda client, one: client.purge_instance_history(one),
}


@pytest.mark.parametrize(
    ("verb", "allowed"),
    [
        ("terminate", {"live"}),
        ("suspend", {"live"}),
        ("resume", {"live"}),
        ("rewind", {"failed"}),
        ("purge", {"completed", "failed"}),
    ],
)
def test_which_states_a_verb_accepts(client: Client, root: str, verb: str, allowed: set[str]) -> None:
    with open_hub_writer(root) as hub:
        hub.write("live", make_started("live"))
        hub.write("completed", make_started("completed"), ENDED)
        hub.write("failed", make_started("failed"), FAILED)
    for instance in ("live", "completed", "failed"):
        if instance in allowed:
            VERBS[verb](client, instance)
        else:
            with pytest.raises(WrongState):
                VERBS[verb](client, instance)
        assert [message.kind for message in InboxReader(LocalDisk(), root).pending_messages(instance)] == [verb] * (
            instance in allowed
        )


@pytest.mark.parametrize("verb", ["terminate", "suspend", "resume", "rewind"])
def test_a_verb_for_an_unknown_instance_is_not_found(client: Client, verb: str) -> None:
    with pytest.raises(NotFound):
        VERBS[verb](client, "x")


def test_a_purge_of_an_unknown_id_deletes_nothing_and_force_deletes_a_live_one(client: Client, root: str) -> None:
    assert client.purge_instance_history("x").instances_deleted == 0
    with open_hub_writer(root) as hub:
        hub.write("live", make_started("live"))
    assert client.purge_instance_history("live", force=True).instances_deleted == 1


def test_a_purge_by_time_takes_ended_instances_only(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("old", make_started("old"), ENDED)
        hub.write("live", make_started("live"))
        hub.write("new", make_started("new"), ENDED)
    result = client.purge_instance_history_by(NOON, NOON + timedelta(seconds=3))
    assert result.instances_deleted == 1
    assert [message.items[0].instance for message in InboxReader(LocalDisk(), root).pending_messages("old")] == ["old"]


def test_each_time_limit_of_a_purge_is_optional(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        for one in ("a", "b", "c"):
            hub.write(one, make_started(one), ENDED)
    assert client.purge_instance_history_by(created_time_to=NOON).instances_deleted == 0
    assert client.purge_instance_history_by(created_time_to=NOON + timedelta(seconds=3)).instances_deleted == 2
    assert client.purge_instance_history_by(None, None, ["Failed"]).instances_deleted == 0
    assert client.purge_instance_history_by().instances_deleted == 1


@pytest.mark.parametrize("verb", ["rewind", "purge"])
def test_an_instance_with_a_pending_replacement_is_not_purged(client: Client, root: str, verb: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t"), FAILED)
    client.start_new("tour", "t")
    with pytest.raises(Conflict, match="being started again"):
        VERBS[verb](client, "t")


def test_an_instance_with_a_pending_rewind_is_neither_purged_nor_restarted(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t"), FAILED)
    client.rewind("t")
    with pytest.raises(Conflict, match="being rewound"):
        client.purge_instance_history("t")
    with pytest.raises(Conflict, match="being rewound"):
        client.start_new("tour", "t")
    with pytest.raises(Conflict, match="being rewound"):
        client.restart("t", restart_with_new_instance_id=False)
    assert client.start_new("tour", "t", if_exists="replace") == "t"


def test_one_of_several_that_is_refused_does_not_stop_the_others(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("a", make_started("a"))
        hub.write("b", make_started("b"), ENDED)
    results = client.control("terminate", [MessageItem(one) for one in ("a", "b", "c")])
    assert results["a"] is None
    assert isinstance(results["b"], WrongState)
    assert isinstance(results["c"], NotFound)


def test_a_restart_starts_the_same_under_a_new_id(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t", version="7"), ENDED)
        hub.write("live", make_started("live"))
    new = client.get_status(client.restart("t"))
    assert new.instance_id != "t"
    assert (new.name, new.input_, new.version) == ("tour", {"city": "Tokyo"}, "7")
    assert client.restart("t", restart_with_new_instance_id=False) == "t"
    with pytest.raises(WrongState, match="terminate it first"):
        client.restart("live", restart_with_new_instance_id=False)
    with pytest.raises(NotFound):
        client.restart("x")


def test_a_rewind_preview_lists_what_will_run_again(client: Client, root: str) -> None:
    failure = Failure("builtins.ValueError", "no city")
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t"), ev.TaskScheduled("hello", label="city 7"), ev.TaskFailed(2, failure), FAILED)
        hub.write("fine", make_started("fine"), ENDED)
        call = ev.EntityOperationCalled("@counter@a", "add")
        hub.write("call", make_started("call"), call, ev.EntityOperationFailed(2, failure), FAILED)
        hub.write("lock", make_started("lock"), ev.EntityLockRequested(("@counter@a",)), FAILED)
    assert client.rewind_preview("t") == ["activity hello [city 7] (id 2)"]
    assert client.rewind_preview("call") == ["operation add of @counter@a (id 2)"]
    with pytest.raises(WrongState, match="waited for locks"):
        client.rewind_preview("lock")
    with pytest.raises(WrongState):
        client.rewind_preview("fine")


# ── lists, waiting and following ───────────────────────────────────────────────────────────────────────────────────


def test_lists_show_ended_running_and_pending_instances(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("a", make_started("a"), ENDED)
        hub.write("b", make_started("b", name="other"))
    client.start_new("tour", "c")
    page = client.page(Query(sort="id"))
    assert [(row.id, row.status) for row in page.rows] == [("a", "Completed"), ("b", "Running"), ("c", "Pending")]
    assert client.count(Query(name="tour")) == 2
    assert list(client.iter_ids(Query(status=("Running",)))) == ["b"]
    assert [status.instance_id for status in client.get_status_all()] == ["a", "b", "c"]
    assert [status.instance_id for status in client.get_status_by(instance_id_prefix="b")] == ["b"]
    assert [s.instance_id for s in client.get_status_by(NOON, NOON + timedelta(hours=1), ["Completed"])] == ["a"]


def test_iter_ids_reads_all_pages(client: Client, root: str) -> None:
    client.start_many("tour", range(2500))
    assert len(set(client.iter_ids(Query()))) == 2500


def test_wait_returns_when_the_instance_has_ended(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t"))
        timer = threading.Timer(0.05, hub.write, ("t", ENDED))
        timer.start()
        assert client.wait("t", timeout=10).output == "done"
        timer.join()


def test_wait_times_out_and_refuses_an_unknown_instance(client: Client) -> None:
    client.start_new("tour", "t")
    with pytest.raises(TimedOut, match="still Pending"):
        client.wait("t", timeout=timedelta(milliseconds=20))
    with pytest.raises(NotFound):
        client.wait("x")


def test_follow_gives_each_record_once_over_executions_to_the_end(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t"), ev.TaskScheduled("hello"))
        lines = client.follow("t")
        seen = [next(lines).record.n, next(lines).record.n]
        hub.write("t", make_started("t", execution="2"), execution="2")
        seen.append(next(lines).record.n)
        hub.write("t", ENDED, execution="2")
        seen += [line.record.n for line in lines]
    assert seen == [1, 2, 1, 2]


def test_the_lines_are_those_of_the_file(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t"), ENDED)
    (file,) = Path(root).glob("instances/*/t.jsonl")
    assert b"".join(line.text + b"\n" for line in client.get_lines("t")) == file.read_bytes()
    assert [record.n for record in client.get_history("t")] == [1, 2]
    with pytest.raises(NotFound):
        client.get_history("x")


def test_reading_writes_nothing(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("t", make_started("t"), ENDED)
    client.start_new("tour", "waits")
    before = snapshot_files(root)
    client.get_status("t", show_history=True)
    client.get_status_all()
    client.get_history("t")
    client.page(Query())
    client.count(Query())
    client.wait("t")
    list(client.follow("t"))
    assert snapshot_files(root) == before


def test_a_policy_that_does_not_exist_is_refused(client: Client) -> None:
    with pytest.raises(UsageError, match="invalid if_exists 'maybe'"):
        client.start_new("tour", if_exists="maybe")


def test_the_async_client_is_the_same_client_awaited(root: str) -> None:
    async def use() -> tuple[str, bool]:
        client = DurableOrchestrationClient(root)
        instance = await client.start_new("tour", client_input=3)
        return instance, bool(await client.get_status(instance))

    instance, found = asyncio.run(use())
    assert found
    assert Client(root).get_status(instance).input_ == 3


def test_the_async_client_has_every_call_of_the_sdk() -> None:
    names = (
        "start_new get_status get_status_all get_status_by raise_event terminate suspend resume rewind restart"
        " purge_instance_history purge_instance_history_by"
    )
    for name in names.split():
        assert inspect.iscoroutinefunction(getattr(DurableOrchestrationClient, name))


def test_a_status_comes_with_the_records_it_was_made_from(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("tour-7", ev.ExecutionStarted("tour-7", "1", "tour"), ev.TaskScheduled("hello"))
    status, records = client.get_status_with_records("tour-7")
    assert (status.status_name, [record.n for record in records]) == ("Running", [1, 2])
    assert status.waiting_for[0].name == "hello"
    assert client.get_status_with_records("unknown")[1] == []
    client.start_new("tour", "tour-8")
    status, records = client.get_status_with_records("tour-8")
    assert (status.status_name, records) == ("Pending", [])
