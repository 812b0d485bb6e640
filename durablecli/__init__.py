"""Durable Functions without the cloud: what authors import, as `import durablecli as df`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durablecli.app import Blueprint, DFApp, Entity, Orchestrator, activity, entity, orchestrator
    from durablecli.client import (
        Client,
        DurableOrchestrationClient,
        DurableOrchestrationStatus,
        EntityStateResponse,
        EntityStatus,
        PurgeHistoryResult,
    )
    from durablecli.engine.activity import ActivityContext
    from durablecli.entities.context import DurableEntity, DurableEntityContext
    from durablecli.errors import TaskFailedError
    from durablecli.model.entities import EntityId
    from durablecli.model.retries import RetryOptions, RetryPolicy
    from durablecli.model.status import OrchestrationRuntimeStatus
    from durablecli.replay.context import DurableOrchestrationContext
    from durablecli.replay.sections import CriticalSection, LockTask
    from durablecli.replay.tasks import Task

_HOMES = {
    "ActivityContext": "durablecli.engine.activity",
    "Blueprint": "durablecli.app",
    "Client": "durablecli.client",
    "CriticalSection": "durablecli.replay.sections",
    "DFApp": "durablecli.app",
    "DurableEntity": "durablecli.entities.context",
    "DurableEntityContext": "durablecli.entities.context",
    "DurableOrchestrationClient": "durablecli.client",
    "DurableOrchestrationContext": "durablecli.replay.context",
    "DurableOrchestrationStatus": "durablecli.client",
    "Entity": "durablecli.app",
    "EntityId": "durablecli.model.entities",
    "EntityStateResponse": "durablecli.client",
    "EntityStatus": "durablecli.client",
    "LockTask": "durablecli.replay.sections",
    "OrchestrationRuntimeStatus": "durablecli.model.status",
    "Orchestrator": "durablecli.app",
    "PurgeHistoryResult": "durablecli.client",
    "RetryOptions": "durablecli.model.retries",
    "RetryPolicy": "durablecli.model.retries",
    "Task": "durablecli.replay.tasks",
    "TaskFailedError": "durablecli.errors",
    "activity": "durablecli.app",
    "entity": "durablecli.app",
    "orchestrator": "durablecli.app",
}

__all__ = [
    "ActivityContext",
    "Blueprint",
    "Client",
    "CriticalSection",
    "DFApp",
    "DurableEntity",
    "DurableEntityContext",
    "DurableOrchestrationClient",
    "DurableOrchestrationContext",
    "DurableOrchestrationStatus",
    "Entity",
    "EntityId",
    "EntityStateResponse",
    "EntityStatus",
    "LockTask",
    "OrchestrationRuntimeStatus",
    "Orchestrator",
    "PurgeHistoryResult",
    "RetryOptions",
    "RetryPolicy",
    "Task",
    "TaskFailedError",
    "activity",
    "entity",
    "orchestrator",
]


def __getattr__(name: str) -> Any:
    """Import a name's home when it is first asked for: `durable --version` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'durablecli' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
