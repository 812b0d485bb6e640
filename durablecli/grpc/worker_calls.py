"""The calls by which workers answer: they return once the answer is on disk, or can't have an effect any more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.errors import UsageError
from durablecli.grpc.answer_sizes import limit_answer
from durablecli.grpc.rpc_router import Calls
from durablecli.grpc.sent_activities import SentActivities
from durablecli.protocol.activity_answers import read_activity_answer
from durablecli.protocol.completion_token import decode_token
from durablecli.protocol.entity_answers import read_entity_answer
from durablecli.protocol.generated import pb
from durablecli.protocol.turn_answer_chunks import TurnAnswerChunks
from durablecli.protocol.turn_answers import read_turn_answer
from durablecli.replay.remote_work import ActivityKey, Answer, EntityBatchKey, RemoteWorkKey, TurnKey
from durablecli.serving.loop_futures import LoopFutures

_log = logging.getLogger("durablecli.grpc")
KeyT = TypeVar("KeyT", TurnKey, ActivityKey, EntityBatchKey)


class WorkerCalls:
    """The handlers. An answer names its work by the completion token. Without one, as Go answers, it is for what
    a worker has of the instance."""

    def __init__(self, pool: RemoteWorkPool, sent: SentActivities) -> None:
        self._pool = pool
        self._sent = sent
        self._chunks = TurnAnswerChunks()
        self._futures: LoopFutures[str | None] = LoopFutures()

    @property
    def calls(self) -> Calls:
        unary = {
            "CompleteOrchestratorTask": self.complete_turn,
            "CompleteActivityTask": self.complete_activity,
            "CompleteEntityTask": self.complete_entity_batch,
            "AbandonTaskOrchestratorWorkItem": self.abandon_turn,
            "AbandonTaskActivityWorkItem": self.abandon_activity,
            "AbandonTaskEntityWorkItem": self.abandon_entity_batch,
        }
        return Calls(unary, always=frozenset(unary))

    async def complete_turn(self, request: Any, context: Any) -> Any:
        """Take the decisions of an orchestrator. Chunks of an answer are kept until the last one is there."""
        key: RemoteWorkKey | None
        if request.completionToken:
            key = _read_token(request.completionToken, TurnKey)
        else:
            key = self._pool.find_in_flight(request.instanceId)
        if isinstance(key, TurnKey):
            whole = self._chunks.add(request, context.peer())
            if whole is not None:
                await self._answer(key, lambda key: read_turn_answer(whole, key))
        return pb.CompleteTaskResponse()

    async def complete_activity(self, request: Any, context: Any) -> Any:
        """Take the result of an activity."""
        if request.completionToken:
            key: ActivityKey | None = _read_token(request.completionToken, ActivityKey)
        else:
            key = self._sent.find(request.instanceId, request.taskId)
        if key is not None:
            await self._answer(key, lambda key: read_activity_answer(request, key))
            self._sent.discard(key.instance, request.taskId)
        return pb.CompleteTaskResponse()

    async def complete_entity_batch(self, request: Any, context: Any) -> Any:
        """Take the results of operations of an entity."""
        key = _read_token(request.completionToken, EntityBatchKey)
        await self._answer(key, lambda key: read_entity_answer(request, key))
        return pb.CompleteTaskResponse()

    async def abandon_turn(self, request: Any, context: Any) -> Any:
        """Give a turn to another worker."""
        self._pool.abandon(_read_token(request.completionToken, TurnKey))
        return pb.AbandonOrchestrationTaskResponse()

    async def abandon_activity(self, request: Any, context: Any) -> Any:
        """Give an activity to another worker."""
        self._pool.abandon(_read_token(request.completionToken, ActivityKey))
        return pb.AbandonActivityTaskResponse()

    async def abandon_entity_batch(self, request: Any, context: Any) -> Any:
        """Give operations of an entity to another worker."""
        self._pool.abandon(_read_token(request.completionToken, EntityBatchKey))
        return pb.AbandonEntityTaskResponse()

    async def _answer(self, key: KeyT, read: Callable[[KeyT], Answer]) -> None:
        """Hand an answer to the engine, and wait until it is on disk. One that can't be used is refused: it would be
        the same when the work is done again."""
        try:
            answer = limit_answer(read(key))
        except UsageError as error:
            self._pool.refuse(key, f"the answer of its worker can't be used: {error}")
            raise
        waiting, done = self._futures.make()
        self._pool.answer(answer, done)
        if (reason := await waiting) is not None:
            _log.debug("an answer for %s had no effect: %s", key[0], reason)


def _read_token(token: str, kind: type[KeyT]) -> KeyT:
    key = decode_token(token)
    if not isinstance(key, kind):
        raise UsageError("the completion token is for work of another kind")
    return key
