"""Deep trees of sub-orchestrations: no command reaches Python's recursion limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.client import Client, Query

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
def hub(replay_always: bool) -> Iterator[testing.TestEnvironment]:
    with testing.hub(nested, fails, replay_always=replay_always) as made:
        yield made
    repaired.clear()


def start_tree(hub: testing.TestEnvironment, *, fails: bool = False) -> None:
    hub.client.start_new(nested, f"level-{DEPTH}", {"depth": DEPTH, "fails": fails})
    hub.run()


def count_by_status(hub: testing.TestEnvironment) -> dict[str, int]:
    """How many instances there are of each status."""
    hub.engine.flush()
    return dict(Counter(row.status for row in hub.client.page(Query(limit=2 * DEPTH)).rows))


@pytest.mark.parametrize("door", ["process", "inbox"])
def test_a_deep_tree_is_terminated_and_purged(hub: testing.TestEnvironment, door: str) -> None:
    client = hub.client if door == "process" else Client("hub", None, hub.disk)
    start_tree(hub)
    assert count_by_status(hub) == {"Running": DEPTH + 1}
    client.terminate(f"level-{DEPTH}", "enough")
    hub.run()
    assert count_by_status(hub) == {"Terminated": DEPTH + 1}
    client.purge_instance_history(f"level-{DEPTH}")
    hub.run()
    assert count_by_status(hub) == {}
    assert not hub.engine.hub.inbox.failed_messages.names()


def test_a_deep_tree_that_runs_is_purged_by_force(hub: testing.TestEnvironment) -> None:
    start_tree(hub)
    hub.client.purge_instance_history(f"level-{DEPTH}", force=True)
    hub.run()
    assert "Running" not in count_by_status(hub)


def test_a_deep_tree_that_failed_is_rewound(hub: testing.TestEnvironment) -> None:
    start_tree(hub, fails=True)
    hub.client.raise_event("level-0", "Go")
    hub.run()
    assert count_by_status(hub) == {"Failed": DEPTH + 1}
    repaired.append(True)
    hub.client.rewind(f"level-{DEPTH}", "repaired")
    hub.run()
    assert count_by_status(hub) == {"Completed": DEPTH + 1}
    assert hub.client.get_status(f"level-{DEPTH}").output == DEPTH
