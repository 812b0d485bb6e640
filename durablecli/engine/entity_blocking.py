"""Blocked entities: their code isn't loaded, so what is sent to them is kept until it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from durablecli.engine.commit_builder import LogLine
from durablecli.engine.decision_applier import DecisionApplier
from durablecli.engine.instance_cache import CachedEntity
from durablecli.engine.shared_parts import SharedParts
from durablecli.model import events as ev

_BLOCKED_MESSAGE = (
    "%s is blocked: %s (loaded: %s). It resumes once its code is loaded; to delete it: durable entity delete %s"
)


class EntityBlocker:
    """Blocks entities, and knows which ones are blocked."""

    def __init__(self, shared: SharedParts, applier: DecisionApplier) -> None:
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._registry = shared.registry
        self._applier = applier
        self._reported_missing: set[str] = set()
        """The names of entities whose code is missing, as the log says already."""
        self._blocked: set[str] = set()
        """The entities that were blocked, and may still be."""

    def block(self, entity: CachedEntity, name: str) -> None:
        """Record once that the code is missing, and log it in each process."""
        self._blocked.add(entity.id)
        assert self._registry is not None
        reason = self._registry.describe_missing("entity", name)
        is_new = entity.runtime_state.blocked != reason
        if is_new:
            self._applier.record_event(entity, ev.ExecutionBlocked(reason))
        if is_new or name not in self._reported_missing:
            self._reported_missing.add(name)
            arguments = (entity.id, reason, self._list_loaded(), entity.id)
            fields = {"event": "blocked", "instance": entity.id, "name": name, "reason": reason}
            line = LogLine(f"entity.{name}", logging.WARNING, _BLOCKED_MESSAGE, arguments, fields)
            self._cycle.builder.log_lines.append(line)

    def take_blocked(self) -> Iterator[CachedEntity]:
        """Yield the entities that are blocked. Those whose code is still missing have to be blocked again."""
        blocked, self._blocked = sorted(self._blocked), set()
        self._reported_missing.clear()
        for id in blocked:
            entity = self._instances.get_entity(id)
            if entity is not None and entity.runtime_state.blocked is not None:
                yield entity

    def _list_loaded(self) -> str:
        registry = self._registry
        return ", ".join(one.name for one in registry or () if one.kind == "entity") or "none"
