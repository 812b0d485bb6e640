"""Durable Functions without the cloud: the names that authors import, as `import durablecli as df`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durablecli.azure.blueprints import Blueprint, DFApp
    from durablecli.azure.client import DurableFunctionsClient, SyncDurableFunctionsClient
    from durablecli.client import (
        Client,
        DurableOrchestrationClient,
        DurableOrchestrationStatus,
        EntityStateResponse,
        EntityStatus,
        PurgeHistoryResult,
    )
    from durablecli.daemon.embedded_engine import embedded
    from durablecli.decorators import Entity, Orchestrator, activity, entity, orchestrator
    from durablecli.engine.workers.activity_context import ActivityContext
    from durablecli.engine.workers.shell_activity import shell
    from durablecli.entities.context import DurableEntity, DurableEntityContext
    from durablecli.errors import ActivityTimedOut, RetryAfter, ShellError, TaskCanceledError, TaskFailedError
    from durablecli.model.entity_id import EntityId
    from durablecli.model.http_messages import (
        DurableHttpRequest,
        DurableHttpResponse,
        ManagedIdentityTokenSource,
        TokenSource,
    )
    from durablecli.model.retries import RetryOptions, RetryPolicy
    from durablecli.model.secrets import secret
    from durablecli.model.status import OrchestrationRuntimeStatus
    from durablecli.replay.context import DurableOrchestrationContext
    from durablecli.replay.critical_section import CriticalSection, LockTask
    from durablecli.replay.tasks import Task
    from durablecli.resources.declarations import Depends, resource

_MODULES = {
    "ActivityContext": "durablecli.engine.workers.activity_context",
    "ActivityTimedOut": "durablecli.errors",
    "Blueprint": "durablecli.azure.blueprints",
    "Client": "durablecli.client",
    "CriticalSection": "durablecli.replay.critical_section",
    "DFApp": "durablecli.azure.blueprints",
    "Depends": "durablecli.resources.declarations",
    "DurableEntity": "durablecli.entities.context",
    "DurableEntityContext": "durablecli.entities.context",
    "DurableFunctionsClient": "durablecli.azure.client",
    "DurableHttpRequest": "durablecli.model.http_messages",
    "DurableHttpResponse": "durablecli.model.http_messages",
    "DurableOrchestrationClient": "durablecli.client",
    "DurableOrchestrationContext": "durablecli.replay.context",
    "DurableOrchestrationStatus": "durablecli.client",
    "Entity": "durablecli.decorators",
    "EntityId": "durablecli.model.entity_id",
    "EntityStateResponse": "durablecli.client",
    "EntityStatus": "durablecli.client",
    "LockTask": "durablecli.replay.critical_section",
    "ManagedIdentityTokenSource": "durablecli.model.http_messages",
    "OrchestrationRuntimeStatus": "durablecli.model.status",
    "Orchestrator": "durablecli.decorators",
    "PurgeHistoryResult": "durablecli.client",
    "RetryAfter": "durablecli.errors",
    "RetryOptions": "durablecli.model.retries",
    "RetryPolicy": "durablecli.model.retries",
    "ShellError": "durablecli.errors",
    "SyncDurableFunctionsClient": "durablecli.azure.client",
    "Task": "durablecli.replay.tasks",
    "TaskCanceledError": "durablecli.errors",
    "TaskFailedError": "durablecli.errors",
    "TokenSource": "durablecli.model.http_messages",
    "activity": "durablecli.decorators",
    "embedded": "durablecli.daemon.embedded_engine",
    "entity": "durablecli.decorators",
    "orchestrator": "durablecli.decorators",
    "resource": "durablecli.resources.declarations",
    "secret": "durablecli.model.secrets",
    "shell": "durablecli.engine.workers.shell_activity",
}

__all__ = [
    "ActivityContext",
    "ActivityTimedOut",
    "Blueprint",
    "Client",
    "CriticalSection",
    "DFApp",
    "Depends",
    "DurableEntity",
    "DurableEntityContext",
    "DurableFunctionsClient",
    "DurableHttpRequest",
    "DurableHttpResponse",
    "DurableOrchestrationClient",
    "DurableOrchestrationContext",
    "DurableOrchestrationStatus",
    "Entity",
    "EntityId",
    "EntityStateResponse",
    "EntityStatus",
    "LockTask",
    "ManagedIdentityTokenSource",
    "OrchestrationRuntimeStatus",
    "Orchestrator",
    "PurgeHistoryResult",
    "RetryAfter",
    "RetryOptions",
    "RetryPolicy",
    "ShellError",
    "SyncDurableFunctionsClient",
    "Task",
    "TaskCanceledError",
    "TaskFailedError",
    "TokenSource",
    "activity",
    "embedded",
    "entity",
    "orchestrator",
    "resource",
    "secret",
    "shell",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """Import the module of a name when it is first used: `durable --version` needs none of them."""
    if name not in _MODULES:
        raise AttributeError(f"module 'durablecli' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value
