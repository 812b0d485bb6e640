"""The scope of an engine: it drives all instances of the hub, or one with what belongs to it, as `durable run` does.

To an instance belong its sub-orchestrations, the entities that these call, signal or lock, and everything that all of
them start. With an entity comes the holder of its lock, as the lock would never be released otherwise.

What reaches any other instance is recorded and held for the next engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from durablecli.engine.instance_cache import InstanceCache
from durablecli.model.entity_id import is_entity_id
from durablecli.replay import pending


class EngineScope:
    """The instances and entities that an engine drives; `root` is the one it was started for, None for all.

    An instance that exists already is in `adopted` from its adoption until the engine has restored it.
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
        """Drive nothing any more, as the engine stops; what still arrives is held."""
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
        """Whether a message was submitted by code of this very run."""
        return run is not None and run == self.root

    def add_all_related(self) -> None:
        """Add what belongs to the root by the histories, as an engine opens the hub."""
        waiting = deque(self._ids)
        while waiting:
            for id in self.find_related(waiting.popleft()):
                if id not in self:
                    self._ids.add(id)
                    waiting.append(id)

    def find_related(self, id: str) -> Iterator[str]:
        """The instances and entities that this one needs to make progress."""
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
