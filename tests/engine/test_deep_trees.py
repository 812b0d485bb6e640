"""Deep trees of sub-orchestrations are walked in loops: no verb meets the recursion limit of Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.client import Client

DEPTH = 900
Context = df.DurableOrchestrationContext


@df.orchestrator
def nested(context: Context) -> Any:
    given = context.get_input()
    if given["depth"] == 0:
        yield context.wait_for_external_event("Go")
        if given["fails"]:
            yield context.call_activity(fails)
        return 0
    below = {**given, "depth": given["depth"] - 1}
    return 1 + (yield context.call_sub_orchestrator(nested, below, f"level-{below['depth']}"))


repaired: list[bool] = []


@df.activity
def fails(_: Any) -> int:
    if not repaired:
        raise ValueError("at the bottom")
    return 0


@pytest.fixture
def hub(replay_always: bool) -> Iterator[testing.Hub]:
    with testing.hub(nested, fails, replay_always=replay_always) as made:
        yield made
    repaired.clear()


def start(hub: testing.Hub, *, fails: bool = False) -> None:
    hub.client.start_new(nested, f"level-{DEPTH}", {"depth": DEPTH, "fails": fails})
    hub.run()


def statuses(hub: testing.Hub) -> set[str]:
    found = (hub.client.get_status(f"level-{level}").runtime_status for level in range(DEPTH + 1))
    return {"none" if status is None else status.value for status in found}


@pytest.mark.parametrize("door", ["process", "inbox"])
def test_a_deep_tree_is_terminated_and_purged(hub: testing.Hub, door: str) -> None:
    client = hub.client if door == "process" else Client("hub", None, hub.disk)
    start(hub)
    assert statuses(hub) == {"Running"}
    client.terminate(f"level-{DEPTH}", "enough")
    hub.run()
    assert statuses(hub) == {"Terminated"}
    client.purge_instance_history(f"level-{DEPTH}")
    hub.run()
    assert statuses(hub) == {"none"}
    assert not hub.engine.hub.inbox.failed.names()


def test_a_deep_tree_that_runs_is_purged_by_force(hub: testing.Hub) -> None:
    start(hub)
    hub.client.purge_instance_history(f"level-{DEPTH}", force=True)
    hub.run()
    assert "Running" not in statuses(hub)


def test_a_deep_tree_that_failed_is_rewound(hub: testing.Hub) -> None:
    start(hub, fails=True)
    hub.client.raise_event("level-0", "Go")
    hub.run()
    assert statuses(hub) == {"Failed"}
    repaired.append(True)
    hub.client.rewind(f"level-{DEPTH}", "repaired")
    hub.run()
    assert statuses(hub) == {"Completed"}
    assert hub.client.get_status(f"level-{DEPTH}").output == DEPTH
