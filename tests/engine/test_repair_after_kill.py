"""Repair after a kill: what only the journal holds reaches the next engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.daemon.embedded_engine import embedded
from durablecli.engine import intake, message_handler, publisher
from durablecli.store.check.repair import repair_hub
from durablecli.store.disk import LocalDisk
from durablecli.store.hub_creation import create_folders
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import MessageItem
from tests.support.engine_harness import limit_commit_records

Context = df.DurableOrchestrationContext
echo_runs: list[int] = []


@df.activity
def echo(value: int) -> int:
    echo_runs.append(value)
    return value


@df.orchestrator
def fan_out(context: Context) -> Any:
    results = yield context.task_all([context.call_activity(echo, number) for number in range(200)])
    return sum(results)


@df.orchestrator
def once(context: Context) -> Any:
    return (yield context.call_activity(echo, context.get_input()))


FUNCTIONS = [echo, fan_out, once]


@pytest.fixture
def hub(replay_always: bool) -> Iterator[testing.TestEnvironment]:
    echo_runs.clear()
    with testing.hub(*FUNCTIONS, replay_always=replay_always) as made:
        yield made


def write_killed_hub(hub: testing.TestEnvironment, root: Path) -> Path:
    """The files of a hub as a kill leaves them, in a folder."""
    create_folders(LocalDisk(), str(root))
    for name, file in hub.disk.files.items():
        path = root / os.path.relpath(name, "hub")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(bytes(file.data))
        path.chmod(0o600)
    return root


@pytest.mark.parametrize("repairs", [1, 2])
def test_a_turn_that_was_cut_off_is_brought_to_its_end(
    hub: testing.TestEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repairs: int
) -> None:
    limit_commit_records(monkeypatch, 16)
    hub.client.start_new(fan_out, "f")
    for _ in range(3):
        hub.engine.step()
    assert hub.engine.split_turn.is_splitting("f")
    root = write_killed_hub(hub, tmp_path / "hub")
    for _ in range(repairs):
        repair_hub(str(root))
    with embedded(testing.build_registry(*FUNCTIONS), root) as client:
        assert client.wait("f", timeout=20).output == sum(range(200))


@pytest.mark.parametrize("repairs", [1, 2])
def test_of_a_batch_nothing_is_started_twice(
    hub: testing.TestEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repairs: int
) -> None:
    monkeypatch.setattr(message_handler, "_MAX_WHOLE_STARTS", 10)
    monkeypatch.setattr(intake, "_MAX_BATCH_STARTS", 10)
    monkeypatch.setattr(publisher, "_GATHER_INTERVAL", 0.0)
    Inbox(hub.disk, "hub").post("start", [MessageItem(f"b-{at}", "once", Raw(b"%d" % at)) for at in range(400)])
    hub.engine.wake()
    while not hub.client.get_status("b-0").ended:
        hub.pool.run_next()
        hub.engine.step()
    hub.client.purge_instance_history("b-0")
    assert hub.engine.hub.partial_batches
    assert hub.engine.instances.get("b-0") is None
    root = write_killed_hub(hub, tmp_path / "hub")
    for _ in range(repairs):
        repair_hub(str(root))
    with embedded(testing.build_registry(*FUNCTIONS), root) as client:
        assert client.wait("b-399", timeout=20).output == 399
        assert not client.get_status("b-0")
    assert echo_runs.count(0) == 1
