"""A command sees the effects of the one before it: with and without a daemon, by the CLI and by clients."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import durablecli as df
from durablecli import testing
from durablecli.client import Client
from durablecli.daemon.embedded_engine import embedded
from durablecli.errors import WrongState
from tests.e2e.flows import plain
from tests.support.cli_harness import CliHarness


def test_a_run_that_replaces_an_ended_instance_shows_the_new_output(hub: CliHarness) -> None:
    for name in ("Ada", "Grace", "Alan"):
        out = hub.run("plain", "hello", "--id", "h", "--input", f'"{name}"', "--if-exists", "replace").out
        assert out == f'"Hello {name}!"\n'
    hub.assert_sound()


def test_without_a_daemon_each_verb_sees_the_one_before_it(hub: CliHarness) -> None:
    hub("start", "approval", "--id", "a")
    hub("raise-event", "a", "approval", "--data", "1")
    hub.run_until_idle("plain")
    hub("start", "approval", "--id", "a", "--if-exists", "replace")
    hub("start", "approval", "--id", "a", "--if-exists", "replace")
    assert hub.read_status("a")["runtimeStatus"] == "Pending"
    assert "Pending" in hub("list").out
    hub("wait", "a", "--timeout", "0.1", code=8)
    hub("start", "approval", "--id", "a", code=4)
    hub("raise-event", "a", "approval", "--data", "2")
    hub.run_until_idle("plain")
    assert hub("wait", "a").out == "2\n"
    hub("restart", "a", "--same-id")
    hub("wait", "a", "--timeout", "0.1", code=8)
    hub("terminate", "a")
    hub("start", "approval", "--id", "a", "--if-exists", "replace")
    hub("raise-event", "a", "approval", "--data", "3")
    hub.run_until_idle("plain")
    assert hub("wait", "a").out == "3\n"
    hub("purge", "a", "--yes")
    hub("start", "approval", "--id", "a")
    assert hub.read_status("a")["runtimeStatus"] == "Pending"
    hub.assert_sound()


def test_beside_a_daemon_each_verb_sees_the_one_before_it(hub: CliHarness) -> None:
    hub.start_daemon("plain")
    for number in range(30):
        hub.client.start_new("hello", "h", f"{number}", if_exists="replace")
        assert hub.client.get_status("h").output in (None, f"Hello {number}!")
        assert hub.client.wait("h", 20).output == f"Hello {number}!"
        hub.client.restart("h", restart_with_new_instance_id=False)
        assert hub.client.wait("h", 20).output == f"Hello {number}!"
    for number in range(30):
        hub.client.start_new("approval", "a", if_exists="replace")
        hub.client.start_new("approval", "a", if_exists="replace")
        hub.client.raise_event("a", "approval", number)
        assert hub.client.wait("a", 20).output == number
        with pytest.raises(WrongState):
            hub.client.raise_event("a", "approval", "too late")
        hub.client.purge_instance_history("a")
        assert not hub.client.get_status("a")
        hub.client.start_new("approval", "a", if_exists="fail")
        hub.client.terminate("a")
    hub.assert_sound()


@df.activity
def charge(amount: int) -> int:
    if not is_repaired.is_set():
        raise ValueError("declined")
    return amount


@df.orchestrator
def shop(context: df.DurableOrchestrationContext) -> plain.Steps:
    return (yield context.call_activity(charge, context.get_input()))


is_repaired = threading.Event()


def test_a_wait_after_a_rewind_returns_the_new_outcome_on_every_channel(tmp_path: Path) -> None:
    registry = testing.build_registry(shop, charge)
    with embedded(registry, tmp_path / ".state") as inside:
        outside = Client(tmp_path / ".state")
        for first, second in ((inside, inside), (inside, outside), (outside, inside), (outside, outside)):
            is_repaired.clear()
            first.start_new("shop", "s", 7, if_exists="replace")
            assert second.wait("s", 20).output != 7
            is_repaired.set()
            first.rewind("s")
            assert second.wait("s", 20).output == 7
