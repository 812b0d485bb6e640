"""Starts that name the statuses they replace: the engine decides, and tells the client that waits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.client import MessageItem
from durablecli.engine.message_queue import Submission
from durablecli.errors import Conflict
from durablecli.model.status import OrchestrationRuntimeStatus
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import Message
from durablecli.store.inbox.pending_messages import PendingItem, predict_status
from tests.support.flows import waits

Status = OrchestrationRuntimeStatus


@df.orchestrator
def ends(context: df.DurableOrchestrationContext) -> Any:
    return context.get_input()


@df.orchestrator
def fails(context: df.DurableOrchestrationContext) -> None:
    raise ValueError("no")


@pytest.fixture
def hub() -> Iterator[testing.TestEnvironment]:
    with testing.hub(ends, fails, waits) as made:
        yield made


def make_start(name: str, *replaceable: str, data: bytes = b"1") -> MessageItem:
    policy = "replace_if" if replaceable else "fail"
    return MessageItem("i", name, Raw(data), if_exists=policy, replaceable=replaceable)


def submit(hub: testing.TestEnvironment, *items: MessageItem) -> list[Submission]:
    """Submit starts at one moment, so that each client has seen the same, and run them."""
    submissions = [hub.engine.submit("start", [item]) for item in items]
    hub.run()
    assert all(each.done.is_set() for each in submissions)
    return submissions


def test_of_two_starts_at_once_the_second_one_is_refused(hub: testing.TestEnvironment) -> None:
    first, second = submit(hub, make_start("waits"), make_start("waits"))
    assert first.error is None
    assert isinstance(second.error, Conflict)
    assert str(second.error) == "i: the instance id already exists, and its instance is Running"
    assert hub.engine.stats["undelivered"] == 0


def test_of_two_starts_at_once_the_second_one_replaces_what_it_may(hub: testing.TestEnvironment) -> None:
    policy = ("Running", "Pending", "Terminated")
    submissions = submit(hub, make_start("waits", *policy), make_start("ends", *policy, data=b"2"))
    assert [each.error for each in submissions] == [None, None]
    assert hub.client.get_status("i").output == 2


@pytest.mark.parametrize(
    ("name", "policy", "replaced"),
    [
        ("ends", ("Completed",), True),
        ("ends", ("Failed", "Running", "Terminated"), False),
        ("fails", ("Failed",), True),
        ("fails", ("Completed",), False),
        ("waits", ("Running", "Terminated"), True),
        ("waits", ("Suspended", "Terminated"), False),
    ],
)
def test_the_status_decides(hub: testing.TestEnvironment, name: str, policy: tuple[str, ...], replaced: bool) -> None:
    submit(hub, make_start(name))
    (again,) = submit(hub, make_start("ends", *policy, data=b'"new"'))
    assert (again.error is None) is replaced
    assert (hub.client.get_status("i").output == "new") is replaced


def test_a_refusal_of_a_start_in_the_inbox_is_kept(hub: testing.TestEnvironment) -> None:
    submit(hub, make_start("waits"))
    Inbox(hub.client._disk, hub.client.root).post("start", [make_start("ends", "Completed")])
    hub.engine.wake()
    hub.run()
    assert hub.engine.stats["undelivered"] == 1


def test_a_client_refuses_what_it_sees(hub: testing.TestEnvironment) -> None:
    submit(hub, make_start("waits"))
    with pytest.raises(Conflict, match=r"'i' already exists and is Running: the start may not replace it"):
        hub.client.post_start(make_start("ends", "Completed"))
    hub.client.post_start(make_start("ends", "Running", "Terminated", data=b"5"))
    assert hub.finish("i").output == 5


@pytest.mark.parametrize(("recorded", "kinds", "status"), [
    ("Running", ["start"], "Running"),
    ("Completed", ["start"], "Pending"),
    ("Running", ["terminate", "start"], "Running"),
])  # fmt: skip
def test_readers_predict_the_same(
    hub: testing.TestEnvironment, recorded: str, kinds: list[str], status: str
) -> None:  # fmt: skip
    now = hub.engine.clock.now()
    items = {"start": make_start("ends", "Completed"), "terminate": MessageItem("i")}
    requests = [
        PendingItem(Message("m", number, now, kind, [items[kind]]), items[kind]) for number, kind in enumerate(kinds)
    ]
    assert predict_status(recorded, requests).status == status


@pytest.mark.parametrize("output", [b'"text"', b"null", b'{"a":[1]}'])
def test_a_termination_may_bring_its_output(hub: testing.TestEnvironment, output: bytes) -> None:
    submit(hub, make_start("waits"))
    item = MessageItem("i", reason="why", output=Raw(output))
    assert hub.client.control("terminate", [item]) == {"i": None}
    status = hub.finish("i")
    assert (status.runtime_status, bytes(status.raw_output)) == (Status.Terminated, output)
