"""The calls that wait until an instance has started, or has ended."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from durablecli.client import Poller
from durablecli.client.loop_event import LoopEvent
from durablecli.grpc.call_errors import stopping_error
from durablecli.grpc.engine_calls import EngineCalls
from durablecli.grpc.rpc_router import Calls
from durablecli.grpc.state_messages import make_state
from durablecli.protocol.generated import pb
from durablecli.replay.runtime_state import RuntimeState

_MIN_POLL_INTERVAL = 0.01
_MAX_POLL_INTERVAL = 0.25
_MAX_ABSENCE = 3.0
"""Seconds for which an instance is waited for that isn't there: its parent, or an entity, may be about to start it. A
client with a shorter deadline gets its answer in the middle of that time."""
_MAX_PAUSE = 1.0  # a server that shuts down is noticed in time


class InstanceWaits:
    """The handlers. They end when the instance is there, or when the client gives up or its deadline has passed."""

    def __init__(self, engine: EngineCalls, is_stopping: Callable[[], bool]) -> None:
        self._engine = engine
        self._is_stopping = is_stopping

    @property
    def calls(self) -> Calls:
        return Calls({"WaitForInstanceStart": self.wait_for_start, "WaitForInstanceCompletion": self.wait_for_end})

    async def wait_for_start(self, request: Any, context: Any) -> Any:
        """Return the state once the instance isn't pending any more."""
        return await self._wait(request, context, lambda state: state.status != "Pending", watches_end=False)

    async def wait_for_end(self, request: Any, context: Any) -> Any:
        """Return the state once the instance has ended."""
        return await self._wait(request, context, lambda state: state.ended and state.status != "ContinuedAsNew")

    async def _wait(
        self, request: Any, context: Any, is_reached: Callable[[RuntimeState], bool], *, watches_end: bool = True
    ) -> Any:
        """Return the state once it is reached. grpc cancels this when the client's deadline has passed."""
        remaining = context.time_remaining()
        patience = _MAX_ABSENCE if remaining is None else min(_MAX_ABSENCE, remaining / 2)
        exists, gives_up_at = False, monotonic() + patience
        poller = Poller(min_interval=_MIN_POLL_INTERVAL, max_interval=_MAX_POLL_INTERVAL)
        while True:
            signal = LoopEvent()
            with self._engine.watch_end(request.instanceId, signal) as is_watched:
                state = await self._engine.read_state(request.instanceId)
                if state is None and (exists or monotonic() >= gives_up_at):
                    return pb.GetInstanceResponse(exists=False)
                if state is not None and is_reached(state):
                    found = make_state(state, payloads=request.getInputsAndOutputs)
                    return pb.GetInstanceResponse(exists=True, orchestrationState=found)
                exists = state is not None
                await self._pause(signal, poller, watched=is_watched and watches_end and exists)

    async def _pause(self, signal: LoopEvent, poller: Poller, *, watched: bool) -> None:
        pause = poller.watching_pause() if watched else poller.next_pause()
        while pause > 0 and not signal.is_set:
            if self._is_stopping():
                raise stopping_error()
            await signal.wait(min(pause, _MAX_PAUSE))
            pause -= _MAX_PAUSE
        if self._is_stopping():
            raise stopping_error()
