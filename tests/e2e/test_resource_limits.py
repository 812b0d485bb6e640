"""No file handles or threads left: the engine slows down, loses nothing, and warns in one line."""

from __future__ import annotations

import sys

import pytest

from tests.support.cli_harness import CliHarness

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")


def test_an_activity_that_holds_all_file_handles_only_slows_the_engine_down(hub: CliHarness) -> None:
    daemon = hub.start_daemon("handles", DURABLE_CHECKPOINT__EVERY="500ms")
    import resource

    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (64, 64))
    hub("start", "hungry", "--id", "h", "--input", "3")
    status = hub.client.wait("h", 100)
    assert status.output == 49, daemon.output
    assert daemon.alive
    assert "no file handle is left" in daemon.output
    assert "Traceback" not in daemon.output
    daemon.send_signal(15)
    assert daemon.wait_for_exit() == 0
    hub.assert_sound()
