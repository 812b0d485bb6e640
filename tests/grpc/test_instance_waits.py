"""How a call waits for the end of an instance."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from durablecli.client.loop_event import LoopEvent
from durablecli.grpc.instance_waits import InstanceWaits
from durablecli.protocol.generated import pb


class NoDeadline:
    """The context of a call."""

    def time_remaining(self) -> None:
        return None


class ReadState:
    """The state of an instance, as far as a wait looks at it."""

    ended = False
    status = "Running"


class WatchedEngine:
    """It runs in this process, and counts how often a state is read. The second time it is gone."""

    def __init__(self) -> None:
        self.reads = 0
        self.signals: list[LoopEvent] = []

    @contextmanager
    def watch_end(self, instance: str, signal: LoopEvent) -> Iterator[bool]:
        self.signals.append(signal)
        yield True

    async def read_state(self, instance: str) -> Any:
        self.reads += 1
        return None if self.reads == 2 else ReadState()


def test_a_watched_instance_is_read_again_only_once_it_has_ended() -> None:
    async def wait() -> None:
        engine: Any = WatchedEngine()
        waits = InstanceWaits(engine, lambda: False)
        waiting = asyncio.ensure_future(waits.wait_for_end(pb.GetInstanceRequest(instanceId="a"), NoDeadline()))
        await asyncio.sleep(0.1)  # more than the first interval of polling
        assert engine.reads == 1
        engine.signals[0].set()
        assert not (await asyncio.wait_for(waiting, 10)).exists
        assert engine.reads == 2

    asyncio.run(wait())
