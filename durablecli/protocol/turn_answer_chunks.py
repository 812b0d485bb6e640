"""Answers that arrive in chunks: an SDK splits a response that is too large for one message."""

from __future__ import annotations

from durablecli.errors import UsageError
from durablecli.limits import MIB
from durablecli.protocol.generated import pb

MAX_BYTES = 128 * MIB
"""The size of all incomplete answers together; beyond it the oldest are dropped, and their turns given out again."""


class _Chunks:
    """The chunks of one answer, by number. The `last` one says how many there are."""

    def __init__(self) -> None:
        self.found: dict[int, pb.OrchestratorResponse] = {}
        self.last: int | None = None
        self.size = 0

    def add(self, index: int, response: pb.OrchestratorResponse) -> None:
        if index in self.found:
            self.size -= self.found[index].ByteSize()
        self.found[index] = response
        self.size += response.ByteSize()
        if not response.isPartial:
            self.last = index

    @property
    def is_complete(self) -> bool:
        return self.last is not None and all(index in self.found for index in range(self.last + 1))

    def merge(self) -> pb.OrchestratorResponse:
        """Return all actions in one response."""
        assert self.last is not None
        whole = pb.OrchestratorResponse()
        whole.CopyFrom(self.found[self.last])
        del whole.actions[:]
        for index in range(self.last + 1):
            chunk = self.found[index]
            whole.actions.extend(chunk.actions)
            if chunk.HasField("customStatus"):
                whole.customStatus.CopyFrom(chunk.customStatus)
        whole.ClearField("chunkIndex")
        return whole


class TurnAnswerChunks:
    """Collects the chunks of answers, numbered from 0 and in any order, until all of an answer are there.

    A chunk that comes again replaces the one before. Not thread-safe.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._incomplete: dict[tuple[str, str], _Chunks] = {}
        """By sender and token."""

    def add(self, response: pb.OrchestratorResponse, sender: str = "") -> pb.OrchestratorResponse | None:
        """Return the whole answer if this response completes it, else None; raises UsageError if it is too large.

        `sender` tells workers apart that answer the same turn.
        """
        key = (sender, response.completionToken or response.instanceId)
        if not response.isPartial and not response.HasField("chunkIndex"):
            self._drop(key)
            return response
        if response.chunkIndex.value < 0:
            raise UsageError(f"the number of a chunk can't be negative: {response.chunkIndex.value}")
        chunks = self._drop(key) or _Chunks()
        chunks.add(response.chunkIndex.value, response)
        if chunks.size > self._max_bytes:
            raise UsageError(f"an answer in chunks has more than {self._max_bytes:,} bytes")
        if chunks.is_complete:
            return chunks.merge()
        self._incomplete[key] = chunks
        self._bytes += chunks.size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._incomplete)))
        return None

    def _drop(self, key: tuple[str, str]) -> _Chunks | None:
        chunks = self._incomplete.pop(key, None)
        if chunks is not None:
            self._bytes -= chunks.size
        return chunks
