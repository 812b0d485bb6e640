"""The end of a stream of work."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.grpc.sent_activities import SentActivities
from durablecli.grpc.work_streams import WorkStreams
from durablecli.protocol.generated import pb
from tests.support.waiting import wait_until


class EndedCall:
    """The context of a call; once the call has ended, grpc crashes if it is asked for the peer."""

    has_ended = False

    def peer(self) -> str:
        assert not self.has_ended
        return "ipv4:127.0.0.1:1"

    def invocation_metadata(self) -> None:
        assert not self.has_ended


def test_the_context_of_a_call_that_has_ended_is_not_asked() -> None:
    pool, context = RemoteWorkPool(), EndedCall()
    streams = WorkStreams(pool, SentActivities(), lambda: False, ping_interval=0.01, message_limit=1_000)

    async def read_and_end() -> None:
        stream: Any = streams.stream(pb.GetWorkItemsRequest(), context)
        assert (await anext(stream)).WhichOneof("request") == "healthPing"
        assert len(pool.list_workers()) == 1
        context.has_ended = True
        await stream.aclose()
        await asyncio.to_thread(wait_until, lambda: not pool.list_workers())

    asyncio.run(asyncio.wait_for(read_and_end(), 10))


@pytest.mark.parametrize("steps", range(8))
def test_a_worker_that_goes_away_while_its_stream_is_woken_leaves(steps: int) -> None:
    """The wakeup takes some steps of the event loop; grpc cancels the stream before or after any of them."""
    pool = RemoteWorkPool()
    streams = WorkStreams(pool, SentActivities(), lambda: False, ping_interval=30, message_limit=1_000)

    async def read() -> None:
        async with aclosing(streams.stream(pb.GetWorkItemsRequest(), EndedCall())) as stream:
            await anext(stream)

    async def wake_and_cancel() -> None:
        reader = asyncio.create_task(read())
        await pass_steps(10)
        assert len(pool.list_workers()) == 1
        pool.maintain()
        await pass_steps(steps)
        reader.cancel()
        await asyncio.wait([reader], timeout=2)
        assert reader.cancelled()
        assert not pool.list_workers()

    asyncio.run(wake_and_cancel())


async def pass_steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_worker_is_pinged_though_its_stream_is_woken_before() -> None:
    """The pool wakes all streams about once a second, for work that a worker may take again."""
    pool = RemoteWorkPool()
    streams = WorkStreams(pool, SentActivities(), lambda: False, ping_interval=0.3, message_limit=1_000)

    async def wake_often() -> None:
        while True:
            await asyncio.sleep(0.05)
            pool.maintain()

    async def read() -> None:
        waking = asyncio.create_task(wake_often())
        async with aclosing(streams.stream(pb.GetWorkItemsRequest(), EndedCall())) as stream:
            assert (await anext(stream)).WhichOneof("request") == "healthPing"
        waking.cancel()

    asyncio.run(asyncio.wait_for(read(), 10))
