"""Purging: an ended instance and its ended sub-orchestrations leave the hub in one commit."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.metrics import PURGED, PURGED_BYTES
from durablecli.engine.shared_parts import SharedParts
from durablecli.replay import pending
from durablecli.store.logs.log_files import measure_log


@dataclass(frozen=True)
class Purged:
    """How many instances were purged, and the bytes of their histories and logs."""

    count: int
    bytes: int


class Purger:
    """Purges ended instances, in the commit of the cycle."""

    def __init__(self, shared: SharedParts) -> None:
        self._hub = shared.hub
        self._cycle = shared.cycle
        self._instances = shared.instances

    def purge(self, instance: CachedInstance, *, recursive: bool) -> Purged:
        """Purge an ended instance; with `recursive` also the ended sub-orchestrations below it."""
        instances = [instance, *(self._find_ended_descendants(instance) if recursive else [])]
        builder, total = self._cycle.builder, 0
        for each in instances:
            state = each.runtime_state
            size = state.size + measure_log(self._hub.disk, self._hub.root, each.id)
            builder.counts[PURGED, state.started.name] += 1
            builder.counts[PURGED_BYTES, state.started.name] += size
            total += size
            builder.purge(each)
            self._instances.evict(each.id)
            self._instances.purged.add(each.id)
        return Purged(len(instances), total)

    def _find_ended_descendants(self, instance: CachedInstance) -> list[CachedInstance]:
        """The ended sub-orchestrations below an instance, parents before children; a loop, as trees may be deep."""
        found = {instance.id: instance}
        waiting = deque([instance])
        while waiting:
            parent = waiting.popleft()
            if not self._instances.reread(parent):
                continue
            for id in pending.created_children(parent.runtime_state):
                child = self._instances.get(id)
                origin = child.runtime_state.started.parent if child is not None else None
                if child is None or origin is None or origin.instance != parent.id:
                    continue
                if child.runtime_state.ended and id not in found:
                    found[id] = child
                    waiting.append(child)
        return list(found.values())[1:]
