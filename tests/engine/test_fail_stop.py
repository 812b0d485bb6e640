"""Fail-stop: clients of the same process get an error for every unacknowledged message, and none waits forever."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from durablecli import testing
from durablecli.engine.engine_options import EngineOptions
from durablecli.errors import HubLocked, StorageError
from durablecli.store.inbox.messages import MessageItem
from durablecli.store.memory_disk import MemoryDisk
from tests.support.faulty_disk import FaultyDisk, fail_on
from tests.support.flows import waits


def make_hub(disk: MemoryDisk, **options: Any) -> testing.TestEnvironment:
    return testing.TestEnvironment(testing.build_registry(waits), testing.START, EngineOptions(**options), disk)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_message_whose_commit_fails_is_refused(in_place: bool) -> None:
    disk = FaultyDisk()
    hub = make_hub(disk, sync_in_place=in_place)
    disk.step = fail_on("write", "journal", errno.ENOSPC)
    posted = hub.engine.submit("start", [MessageItem("x", "waits")])
    with pytest.raises(StorageError):
        hub.engine.run()
    assert posted.done.is_set()
    assert isinstance(posted.error, StorageError)
    later = hub.engine.submit("start", [MessageItem("y", "waits")])
    hub.close()
    assert isinstance(later.error, StorageError)


def test_a_message_for_an_engine_that_is_closed_is_refused() -> None:
    hub = make_hub(MemoryDisk())
    hub.close()
    posted = hub.engine.submit("start", [MessageItem("x", "waits")])
    assert posted.done.is_set()
    assert isinstance(posted.error, HubLocked)


def test_closing_an_engine_reports_a_failed_checkpoint() -> None:
    hub = make_hub(MemoryDisk())

    def fail() -> None:
        raise StorageError("the histories can't be synced")

    hub.engine.background.submit(fail)
    with pytest.raises(StorageError, match="can't be synced"):
        hub.engine.close()
