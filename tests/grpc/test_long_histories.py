"""A long history is translated beside the event loop, which serves all others meanwhile."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest
from msgspec import Raw

from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.grpc import work_streams
from durablecli.grpc.sent_activities import SentActivities
from durablecli.grpc.work_streams import WorkStreams
from durablecli.limits import MIB
from durablecli.model import events as ev
from durablecli.protocol.work_items import make_work_item
from durablecli.replay.remote_work import RemoteTurn, TurnKey
from durablecli.replay.runtime_state import Turn

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STARTED = ev.ExecutionStarted("x", "1", "chain")


def make_turn(length: int) -> RemoteTurn:
    """A turn with so many turns before it, each with one event."""
    past = [Turn(ev.Record(1, NOW, STARTED), NOW, [])]
    past += [Turn(ev.Record(n, NOW, ev.EventRaised("Go", Raw(b"1"))), NOW, []) for n in range(2, length + 1)]
    return RemoteTurn(TurnKey("x", "1", length + 1, length + 1, NOW), STARTED, tuple(past), ())


@pytest.mark.parametrize(("length", "is_aside"), [(3, False), (2_000, True)])
def test_only_a_long_history_is_translated_in_a_thread_of_its_own(
    monkeypatch: pytest.MonkeyPatch, length: int, is_aside: bool
) -> None:
    threads: list[threading.Thread] = []

    def make(work: RemoteTurn) -> object:
        threads.append(threading.current_thread())
        return make_work_item(work)

    monkeypatch.setattr(work_streams, "make_work_item", make)
    streams = WorkStreams(RemoteWorkPool(), SentActivities(), lambda: False, ping_interval=1.0, message_limit=MIB)
    item = asyncio.run(streams._make_item(make_turn(length)))
    assert len(item.orchestratorRequest.pastEvents) > length
    assert (threads != [threading.main_thread()]) is is_aside
