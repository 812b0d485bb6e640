"""Which instances an engine drives: all of the hub's, or one instance with what belongs to it, as `durable run` does.

To one instance belong its sub-orchestrations, the entities that these call, signal or lock, and what all of them start.
An entity that is needed brings in whoever holds its lock: else nobody would give it back.

What reaches any other instance is recorded and held, for the next engine to go on with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from durablecli.engine.instance_cache import InstanceCache
from durablecli.model.entity_id import is_entity_id
from durablecli.replay import pending


class EngineScope:
    """The instances and entities that an engine drives; `root` is the one it was started for, None for all.

    `adopt` brings in one that exists already: it is in `adopted` until the engine has taken it up.
    """

    def __init__(self, root: str | None, instances: InstanceCache) -> None:
        self.root = root
        self._instances = instances
        self._ids: set[str] = set() if root is None else {root}
        self._closed = False
        self.adopted: deque[str] = deque()

    def __contains__(self, id: str) -> bool:
        return not self._closed and (self.root is None or id in self._ids)

    def close(self) -> None:
        """Drive nothing any more: the engine stops, and what still arrives is held."""
        self._closed = True

    def add(self, id: str) -> None:
        """Drive an instance that is about to begin."""
        if self.root is not None:
            self._ids.add(id)

    def adopt(self, id: str) -> None:
        """Drive an instance or entity that may exist already."""
        if not self._closed and id not in self:
            self._ids.add(id)
            self.adopted.append(id)

    def is_of_this_run(self, run: str | None) -> bool:
        """Whether a message was posted by code of this very run."""
        return run is not None and run == self.root

    def add_all_related(self) -> None:
        """Bring in what belongs to the root as the histories say; for an engine that opens the hub."""
        waiting = deque(self._ids)
        while waiting:
            for id in self.find_related(waiting.popleft()):
                if id not in self:
                    self._ids.add(id)
                    waiting.append(id)

    def find_related(self, id: str) -> Iterator[str]:
        """What an instance or entity needs to go on."""
        if is_entity_id(id):
            entity = self._instances.get_entity(id)
            if entity is not None and entity.runtime_state.lock is not None:
                yield entity.runtime_state.lock.sender.instance
            return
        instance = self._instances.get(id)
        if instance is None:
            return
        for _, child in pending.children(instance.runtime_state):
            yield child.instance
        for _, call in pending.entity_calls(instance.runtime_state):
            yield call.entity
        for _, entities in pending.unreleased_locks(instance.runtime_state):
            yield from entities
