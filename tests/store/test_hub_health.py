"""The health of a hub: what waits, and what can't be used."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from durablecli.store.disk import LocalDisk
from durablecli.store.hub_health import read_hub_health
from durablecli.store.inbox.failed_messages import FailedMessages
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.inbox.undelivered import record_undelivered
from durablecli.store.quarantine import Quarantine
from tests.support.history_writer import open_hub_writer

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_missing_hub_uses_nothing(tmp_path: Path) -> None:
    found = read_hub_health(LocalDisk(), str(tmp_path / ".state"))
    assert found.is_good
    assert (found.epoch, found.waiting_messages) == (0, 0)


def test_waiting_and_unusable_messages_and_instances_are_counted(tmp_path: Path) -> None:
    root, disk = str(tmp_path / ".state"), LocalDisk()
    with open_hub_writer(root):
        pass
    Inbox(disk, root).post("start", [MessageItem("a", "f")])
    item = MessageItem("b", "Go")
    FailedMessages(disk, root).store("1-x.json", b"{}", Message("m", 1, NOON, "raise-event", [item]), NOON, "broke")
    for number in range(12):
        event = MessageItem(f"e{number}", "Late")
        record_undelivered(disk, root, Message("m", 1, NOON, "raise-event", [event]), event, NOON, "it has ended")
    quarantine = Quarantine(disk, root)
    quarantine.add("c", "line 3 is damaged")
    quarantine.save()
    found = read_hub_health(disk, root)
    assert not found.is_good
    assert found.epoch == 1
    assert (found.waiting_messages, found.failed_count, found.quarantined_count) == (1, 1, 1)
    assert (found.failed[0].kind, found.failed[0].instances, found.failed[0].error) == ("raise-event", ["b"], "broke")
    assert (found.quarantined[0].instance, found.quarantined[0].reason) == ("c", "line 3 is damaged")
    assert [each.item.instance for each in found.undelivered] == [f"e{number}" for number in range(11, 1, -1)]
    assert (found.undelivered[0].kind, found.undelivered[0].why) == ("raise-event", "it has ended")
