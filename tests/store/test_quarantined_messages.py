"""What is kept for an instance that is set aside: there after any crash, in order, and delivered once."""

from __future__ import annotations

from datetime import UTC, datetime

from durablecli.model import events as ev
from durablecli.store import quarantined_messages
from durablecli.store.inbox.messages import MessageItem
from durablecli.store.journal.commits import Commit, DeliveryWatermark, QuarantinedMessage, decode_commit, encode_commit
from durablecli.store.memory_disk import MemoryDisk
from durablecli.store.quarantined_messages import QuarantinedMessages

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
FIRST = QuarantinedMessage("a", "1", ev.EventRaised("one"))
SECOND = QuarantinedMessage("a", "1", ev.EventRaised("two"))
ITEM = QuarantinedMessage("a", kind="terminate", message="m-1", item=MessageItem("a", reason="enough"))
COMMITS = [
    Commit(5, 1, AT, [], quarantined=[FIRST, SECOND]),
    Commit(6, 1, AT, [], quarantined=[QuarantinedMessage("@e@k", None, ev.EntityOperationReceived("add"))]),
    Commit(7, 1, AT, [], quarantined=[ITEM]),
]


def make_disk() -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_folder("hub")
    return disk


def read_quarantined(disk: MemoryDisk, instance: str = "a") -> list[QuarantinedMessage]:
    return [each.what for each in quarantined_messages.read_quarantined_messages(disk, "hub", instance)]


def test_a_commit_line_holds_quarantined_and_delivered_messages() -> None:
    for commit in (*COMMITS, Commit(8, 1, AT, [], delivered=[DeliveryWatermark("a", 5)])):
        found = decode_commit(encode_commit(commit))
        assert (found.quarantined, found.delivered) == (commit.quarantined, commit.delivered)


def test_following_the_journal_changes_nothing_that_was_written_and_completes_the_rest() -> None:
    for written in range(len(COMMITS) + 1):
        disk = make_disk()
        keeper = QuarantinedMessages(disk, "hub")
        for commit in COMMITS[:written]:
            keeper.publish(commit)
        for _ in range(2):
            keeper.restore(COMMITS)
            assert read_quarantined(disk) == [FIRST, SECOND, ITEM]
        assert set(keeper.instances()) == {"a", "@e@k"}


def test_a_torn_line_is_completed_from_the_journal() -> None:
    disk = make_disk()
    keeper = QuarantinedMessages(disk, "hub")
    keeper.publish(COMMITS[0])
    data = disk.files[quarantined_messages.quarantined_messages_path("hub", "a")].data
    del data[-20:]
    keeper.restore(COMMITS)
    assert read_quarantined(disk) == [FIRST, SECOND, ITEM]


def test_what_is_delivered_goes_and_comes_back_no_more() -> None:
    disk = make_disk()
    keeper = QuarantinedMessages(disk, "hub")
    for commit in COMMITS:
        keeper.publish(commit)
    delivered = Commit(8, 1, AT, [], delivered=[DeliveryWatermark("a", 5)])
    keeper.publish(delivered)
    assert read_quarantined(disk) == [ITEM]
    keeper.restore([*COMMITS, delivered])
    assert read_quarantined(disk) == [ITEM]
    last = Commit(9, 1, AT, [], delivered=[DeliveryWatermark("a", 7)])
    keeper.restore([*COMMITS, delivered, last])
    assert read_quarantined(disk) == []
    assert keeper.instances() == ["@e@k"]


def test_what_came_first_is_put_first_and_once() -> None:
    disk = make_disk()
    keeper = QuarantinedMessages(disk, "hub")
    keeper.publish(COMMITS[2])
    for _ in range(2):
        keeper.prepend("a", [FIRST, SECOND])
        assert read_quarantined(disk) == [FIRST, SECOND, ITEM]
