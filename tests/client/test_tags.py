"""Tags: given at the start, kept by whatever follows from it, and a filter of lists."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.client import Query
from durablecli.errors import UsageError
from durablecli.model import events as ev
from durablecli.model.status import OrchestrationRuntimeStatus
from tests.support.history_writer import open_hub_writer

PENDING = OrchestrationRuntimeStatus.Pending
TAGS = {"customer": "42", "env": "prod=1"}


@df.orchestrator
def leaf(context: df.DurableOrchestrationContext) -> Any:
    return context.get_input()


@df.orchestrator
def parent(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    return (yield context.call_sub_orchestrator(leaf, 1, "child"))


@df.orchestrator
def again(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    yield context.wait_for_external_event("go")
    context.continue_as_new(context.get_input() + 1)


def list_ids(client: df.Client, **filters: Any) -> set[str]:
    return {row.id for row in client.page(Query(**filters)).rows}


def test_tags_are_shown_and_filter_lists_before_and_after_the_engine_has_accepted_the_start(tmp_path: Path) -> None:
    client = df.Client(tmp_path / ".state")
    client.start_new("leaf", "a", tags=TAGS)
    client.start_new("leaf", "b", tags={"customer": "43"})
    client.start_new("leaf", "c")
    assert client.get_status("a").tags == TAGS
    assert client.get_status("c").tags == {}
    assert list_ids(client, tags={"customer": "42"}) == {"a"}
    with testing.hub(parent, leaf) as hub:
        hub.client.start_new(parent, "p", tags=TAGS)
        hub.client.start_new(leaf, "other")
        hub.run()
        assert hub.client.get_status("p").tags == TAGS
        assert list_ids(hub.client, tags={"env": "prod=1"}) == {"p", "child"}


def test_sub_orchestrations_have_the_tags_of_their_parent_and_roots_have_none_above_them() -> None:
    with testing.hub(parent, leaf) as hub:
        hub.client.start_new(parent, "p", tags=TAGS)
        hub.run()
        assert hub.client.get_status("child").tags == TAGS
        assert list_ids(hub.client, tags=TAGS, roots_only=True) == {"p"}
        assert list_ids(hub.client, parent="p") == {"child"}
        assert hub.client.count(Query(tags=TAGS)) == 2
        assert [row.tags for row in hub.client.page(Query()).rows] == [TAGS, TAGS]


def test_tags_stay_when_an_instance_continues_as_new_or_is_restarted() -> None:
    with testing.hub(again, leaf) as hub:
        hub.client.start_new(again, "a", 1, tags=TAGS)
        hub.run()
        hub.client.raise_event("a", "go")
        hub.run()
        status = hub.client.get_status("a")
        assert (status.input_, status.tags) == (2, TAGS)
        hub.client.start_new(leaf, "l", tags=TAGS)
        hub.run()
        copy = hub.client.restart("l")
        hub.client.restart("l", restart_with_new_instance_id=False)
        hub.run()
        assert [hub.client.get_status(each).tags for each in (copy, "l")] == [TAGS, TAGS]
        hub.client.start_new(leaf, "l")  # a new start has only its own
        hub.run()
        assert hub.client.get_status("l").tags == {}


def test_all_instances_of_a_batch_have_the_same_tags() -> None:
    with testing.hub(leaf) as hub:
        started = hub.client.start_many(leaf, [1, 2, 3], tags=TAGS)
        hub.run()
        assert list_ids(hub.client, tags=TAGS) == set(started)


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ({"": "x"}, "the key of a tag must be a non-empty string"),
        ({7: "x"}, "the key of a tag must be a non-empty string"),
        ({"a=b": "x"}, "can't contain '='"),
        ({"a\nb": "x"}, "the key of a tag can't contain control characters"),
        ({"k" * 129: "x"}, "has 129 characters, at most 128"),
        ({"a": 5}, "the value of tag 'a' must be a string, not int"),
        ({"a": "x\ny"}, "the value of tag 'a' can't contain control characters"),
        ({"a": "x" * 257}, "the value of tag 'a' has 257 characters, at most 256"),
        ({"a": "\ud800"}, "valid Unicode"),
        ({str(n): "" for n in range(33)}, "there are 33 tags, at most 32"),
        (["a=b"], "tags are a mapping"),
    ],
)
def test_tags_have_limits(tags: Any, text: str, tmp_path: Path) -> None:
    client = df.Client(tmp_path / ".state")
    with pytest.raises(UsageError, match=text):
        client.start_new("leaf", tags=tags)
    with pytest.raises(UsageError, match=text):
        client.start_many("leaf", [1], tags=tags)
    assert not (tmp_path / ".state").exists()


def test_tags_are_left_out_of_a_history_that_has_none() -> None:
    with testing.hub(leaf) as hub:
        hub.client.start_new(leaf, "plain")
        hub.client.start_new(leaf, "tagged", tags={"a": ""})
        hub.run()
        assert b"tags" not in hub.client.get_lines("plain")[0].text
        assert b'"tags":{"a":""}' in hub.client.get_lines("tagged")[0].text


def test_a_restart_that_no_engine_has_accepted_shows_its_tags(tmp_path: Path) -> None:
    client = df.Client(tmp_path / ".state")
    with open_hub_writer(client.root) as writer:
        done = ev.ExecutionCompleted("Completed")
        writer.write("a", ev.ExecutionStarted("a", "1", "leaf", tags=TAGS), done)
    client.restart("a", restart_with_new_instance_id=False)
    assert (client.get_status("a").runtime_status, client.get_status("a").tags) == (PENDING, TAGS)
    assert list_ids(client, tags=TAGS) == {"a"}
