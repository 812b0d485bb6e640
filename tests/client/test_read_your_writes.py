"""A client sees what was acknowledged before, although no engine has accepted it yet."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest
from msgspec import Raw

from durablecli.client import Client, MessageItem, Query
from durablecli.errors import Conflict, NotFound, TimedOut, WrongState
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.store.disk import LocalDisk
from durablecli.store.inbox import inbox_reader
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.inbox_reader import InboxReader
from tests.support.history_writer import HubWriter, open_hub_writer

ENDED = ev.ExecutionCompleted("Completed", Raw(b'"old"'))
FAILED = ev.ExecutionCompleted("Failed", failure=Failure("builtins.ValueError", "no city"), causes=(3,))
FAILING = (ev.TaskScheduled("hello"), ev.TaskFailed(2, Failure("builtins.ValueError", "no city")), FAILED)


def make_started(execution: str = "1", name: str = "tour", **fields: object) -> ev.ExecutionStarted:
    return ev.ExecutionStarted("t", execution, name, Raw(b"1"), **fields)  # type: ignore[arg-type]


def write(root: str, *events: ev.AnyEvent) -> None:
    """The history of instance `t`, by an engine that is gone."""
    with open_hub_writer(root) as hub:
        hub.write("t", *events)


def read_status(client: Client) -> str | None:
    status = client.get_status("t").runtime_status
    return status and status.value


def list_rows(client: Client, *statuses: str) -> list[tuple[str, str, str]]:
    return [(row.id, row.status, row.name) for row in client.page(Query(status=statuses)).rows]


def pending_kinds(root: str) -> list[str]:
    return [message.kind for message in InboxReader(LocalDisk(), root).pending_messages("t")]


@pytest.mark.parametrize("if_exists", ["fail_if_running", "replace"])
def test_a_start_over_an_ended_instance_is_seen_at_once(client: Client, root: str, if_exists: str) -> None:
    write(root, make_started(), ENDED)
    client.start_new("other", "t", 2, version="2", if_exists=if_exists)
    status = client.get_status("t", show_history=True)
    assert (read_status(client), status.name, status.input_, status.output, status.version) == (
        "Pending",
        "other",
        2,
        None,
        "2",
    )
    assert (status.history, status.taken, status.ended) == ([], False, False)
    assert [each.runtime_status for each in client.statuses(["t"])] == [status.runtime_status]
    assert list_rows(client) == [("t", "Pending", "other")]
    assert (list_rows(client, "Completed"), client.count(Query(status=("Completed",)))) == ([], 0)
    assert (client.count(Query()), client.count(Query(status=("Pending",)))) == (1, 1)
    assert client.get_history("t") == []
    with pytest.raises(TimedOut, match="still Pending"):
        client.wait("t", timeout=0.01)


def test_an_event_after_a_start_over_an_ended_instance_is_for_the_new_one(client: Client, root: str) -> None:
    write(root, make_started(), ENDED)
    client.start_new("tour", "t")
    client.raise_event("t", "go", 1)
    assert pending_kinds(root) == ["start", "raise-event"]
    assert client.get_status("t").requested == ("raise-event",)


def test_a_restart_under_the_same_id_is_seen_at_once(client: Client, root: str) -> None:
    write(root, make_started(version="3"), ENDED)
    client.restart("t", restart_with_new_instance_id=False)
    status = client.get_status("t")
    assert (read_status(client), status.name, status.input_, status.version) == ("Pending", "tour", 1, "3")
    with pytest.raises(WrongState, match="is Pending"):
        client.restart("t", restart_with_new_instance_id=False)


def test_a_wait_after_a_rewind_is_for_the_new_outcome(client: Client, root: str) -> None:
    write(root, make_started(), *FAILING)
    client.rewind("t")
    status = client.get_status("t")
    assert (read_status(client), status.output, status.requested) == ("Running", None, ("rewind",))
    assert list_rows(client) == [("t", "Running", "tour")]
    assert not client.has_ended("t")
    with pytest.raises(TimedOut, match="still Running"):
        client.wait("t", timeout=0.01)
    client.raise_event("t", "go")
    with pytest.raises(WrongState, match="only a failed instance"):
        client.rewind("t")


def test_one_replacement_may_follow_another(client: Client, root: str) -> None:
    write(root, make_started(), ENDED)
    for number in range(3):
        client.start_new("tour", "t", number, if_exists="replace")
    assert client.get_status("t").input_ == 2
    assert pending_kinds(root) == ["start", "start", "start"]
    with pytest.raises(Conflict, match="is Pending"):
        client.start_new("tour", "t")
    with pytest.raises(Conflict, match="is Pending"):
        client.start_new("tour", "t", if_exists="fail")
    assert client.start_new("tour", "t", if_exists="skip") == "t"
    assert len(pending_kinds(root)) == 3


def test_an_instance_that_is_being_terminated_may_be_started_again(client: Client, root: str) -> None:
    write(root, make_started())
    client.terminate("t")
    status = client.get_status("t")
    assert (read_status(client), status.ends, status.requested) == ("Running", True, ("terminate",))
    acts: list[Callable[[], None]] = [
        lambda: client.raise_event("t", "go"),
        lambda: client.suspend("t"),
        lambda: client.resume("t"),
        lambda: client.terminate("t"),
    ]
    for act in acts:
        with pytest.raises(WrongState, match="is being terminated"):
            act()
    client.start_new("tour", "t", 5)
    assert client.get_status("t").input_ == 5
    client.raise_event("t", "go")
    client.terminate("t")
    client.restart("t", restart_with_new_instance_id=False)
    assert client.get_status("t").input_ == 5
    assert pending_kinds(root) == ["terminate", "start", "raise-event", "terminate", "start"]


def test_a_purged_instance_is_gone_at_once_and_its_id_is_free(client: Client, root: str) -> None:
    write(root, make_started(), ENDED)
    client.purge_instance_history("t")
    assert not client.get_status("t")
    assert (list_rows(client), client.count(Query()), client.get_status_all()) == ([], 0, [])
    assert client.purge_instance_history("t").instances_deleted == 0
    with pytest.raises(NotFound):
        client.raise_event("t", "go")
    with pytest.raises(NotFound):
        client.get_history("t")
    client.start_new("tour", "t", 5, if_exists="fail")
    assert (read_status(client), client.get_status("t").input_, list_rows(client)) == (
        "Pending",
        5,
        [("t", "Pending", "tour")],
    )


def test_a_terminated_instance_may_be_purged_before_an_engine_has_ended_it(client: Client, root: str) -> None:
    write(root, make_started())
    client.terminate("t")
    assert client.purge_instance_history("t").instances_deleted == 1
    assert not client.get_status("t")


def test_a_suspend_and_a_resume_are_seen_at_once(client: Client, root: str) -> None:
    write(root, make_started())
    client.suspend("t")
    assert (read_status(client), list_rows(client, "Suspended")) == ("Suspended", [("t", "Suspended", "tour")])
    client.resume("t")
    assert (read_status(client), list_rows(client, "Running")) == ("Running", [("t", "Running", "tour")])


def test_one_message_about_several_instances_is_seen_for_each(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        for one in ("a", "b", "c"):
            hub.write(one, ev.ExecutionStarted(one, "1", "tour"), ENDED)
    client.control("purge", [MessageItem("a"), MessageItem("c")])
    assert [status.instance_id for status in client.get_status_all()] == ["b"]
    assert [bool(client.get_status(one)) for one in ("a", "b", "c")] == [False, True, False]


# ── what an engine does meanwhile ──────────────────────────────────────────────────────────────────────────────────


def test_a_consumed_message_is_not_applied_a_second_time(client: Client, root: str) -> None:
    client.start_new("tour", "t", if_exists="replace")
    client.terminate("t")
    (start, end) = InboxReader(LocalDisk(), root).pending_messages("t")
    with open_hub_writer(root) as hub:
        keep = hub.hub.inbox.remove
        hub.hub.inbox.remove = lambda messages: None  # type: ignore[method-assign]  # killed before it comes to that
        ended = ev.ExecutionCompleted("Terminated", Raw(b'""'))
        hub.write(
            "t",
            make_started(message=start.message),
            ev.ExecutionTerminated(message=end.message),
            ended,
            consumed=[start, end],
        )
        assert len(pending_kinds(root)) == 2
        assert (read_status(client), list_rows(client)) == ("Terminated", [("t", "Terminated", "tour")])
        hub.hub.inbox.remove = keep  # type: ignore[method-assign]


def test_the_rest_of_a_partly_consumed_batch_is_pending(client: Client, root: str) -> None:
    first, second = client.start_many("tour", [1, 2])
    with open_hub_writer(root) as hub:
        hub.write(first, ev.ExecutionStarted(first, "1", "tour"), ENDED)
        assert [
            status.runtime_status and status.runtime_status.value for status in map(client.get_status, (first, second))
        ] == [
            "Completed",
            "Pending",
        ]
        assert sorted(row.status for row in client.page(Query()).rows) == ["Completed", "Pending"]


def test_a_start_that_is_consumed_during_a_read_is_seen_in_the_history(
    client: Client, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root, make_started(), ENDED)
    client.start_new("tour", "t", 2)
    with open_hub_writer(root) as hub:
        _consume_after_listing(hub, monkeypatch)
        assert (read_status(client), client.get_status("t").execution) == ("Running", "9")
        assert list_rows(client) == [("t", "Running", "tour")]


def _consume_after_listing(hub: HubWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """See that an engine takes the start of `t` right after a reader has read its message."""
    read, (start,) = InboxReader.abridged_messages, hub.hub.inbox.take_next()

    def requests(self: Inbox, *arguments: object) -> object:
        found = read(self, *arguments)  # type: ignore[arg-type]
        if os.path.exists(f"{hub.hub.root}/inbox/new/{os.listdir(f'{hub.hub.root}/inbox/new')[0]}"):
            monkeypatch.undo()
            hub.write("t", make_started("9", message=start.message), execution="9", consumed=[start])
        return found

    monkeypatch.setattr(InboxReader, "abridged_messages", requests)


def test_a_wait_that_began_before_a_replacement_ends_with_the_new_execution(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write("t", make_started())
        outcome: list[object] = []
        waiter = threading.Thread(target=lambda: outcome.append(client.wait("t", timeout=20).output))
        waiter.start()
        other = Client(root)
        other.start_new("tour", "t", if_exists="replace")
        hub.write("t", ENDED)
        (start,) = hub.hub.inbox.take_next()
        hub.write("t", make_started("9", message=start.message), execution="9", consumed=[start])
        hub.write("t", ev.ExecutionCompleted("Completed", Raw(b'"new"')), execution="9")
        waiter.join()
    assert outcome == ["new"]


def test_of_many_pending_events_only_the_first_are_read(
    client: Client, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root, make_started())
    for number in range(20):
        client.raise_event("t", "go", number)
    files: list[str] = []
    read = LocalDisk.read

    def counted(self: LocalDisk, path: str) -> bytes:
        files.append(path)
        return read(self, path)

    monkeypatch.setattr(LocalDisk, "read", counted)
    monkeypatch.setattr(inbox_reader, "_MAX_EVENTS_READ", 5)
    status = client.get_status("t")
    assert status.requested == ("raise-event",) * 20
    assert [event.name for event in status.unread_events] == ["go"] * 5
    assert len([path for path in files if "/inbox/" in path]) == 5
