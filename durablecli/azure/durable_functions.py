"""The stand-in for the package `azure.durable_functions`, with the names of both its major versions."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from durablecli.azure import functions
from durablecli.azure.client import DurableFunctionsClient, SyncDurableFunctionsClient
from durablecli.client import DurableOrchestrationStatus, PurgeHistoryResult
from durablecli.client.entity_status import EntityStateResponse
from durablecli.decorators import Entity, Orchestrator
from durablecli.entities.context import DurableEntity, DurableEntityContext
from durablecli.model.entity_id import EntityId
from durablecli.model.http_messages import (
    DurableHttpRequest,
    DurableHttpResponse,
    ManagedIdentityTokenSource,
    TokenSource,
)
from durablecli.model.retries import RetryOptions, RetryPolicy
from durablecli.model.status import OrchestrationRuntimeStatus
from durablecli.replay.composite_tasks import CompositeTask, WhenAll, WhenAny
from durablecli.replay.context import DurableOrchestrationContext
from durablecli.replay.tasks import (
    CallTask,
    EventTask,
    Task,
    TaskState,  # noqa: F401 - apps import it from models.Task
    TimerTask,
)

__all__ = [
    "Blueprint",
    "DFApp",
    "DurableEntity",
    "DurableEntityContext",
    "DurableFunctionsClient",
    "DurableFunctionsCompatibilityWarning",
    "DurableHttpRequest",
    "DurableHttpResponse",
    "DurableOrchestrationClient",
    "DurableOrchestrationContext",
    "DurableOrchestrationStatus",
    "Entity",
    "EntityId",
    "EntityStateResponse",
    "ManagedIdentityTokenSource",
    "OrchestrationRuntimeStatus",
    "Orchestrator",
    "PurgeHistoryResult",
    "RetryOptions",
    "RetryPolicy",
    "SyncDurableFunctionsClient",
    "TokenSource",
]

# Other names, which apps import from submodules of the package.

DEFAULT_LOCAL_HOST = "localhost:7071"
DEFAULT_LOCAL_ORIGIN = f"http://{DEFAULT_LOCAL_HOST}"
DATETIME_STRING_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
HTTP_ACTION_NAME = "BuiltIn::HttpActivity"
ORCHESTRATION_TRIGGER = "orchestrationTrigger"
ACTIVITY_TRIGGER = "activityTrigger"
ENTITY_TRIGGER = "entityTrigger"
DURABLE_CLIENT = "durableClient"

DurableOrchestrationClient = DurableFunctionsClient
TaskBase, CompoundTask, WhenAllTask, WhenAnyTask = Task, CompositeTask, WhenAll, WhenAny
AtomicTask: Any = CallTask | EventTask | TimerTask  # a union, so that its members are importable too


class Blueprint(functions.Blueprint):
    """Functions that an app includes."""


class DFApp(functions.FunctionApp):
    """The app of a `function_app.py`."""


class DurableFunctionsCompatibilityWarning(UserWarning):
    """The category of warnings about later releases of the original; never raised here."""


def orchestrator_generator_wrapper(generator: Generator[Any, Any, Any]) -> Generator[Any, None, None]:
    """Run an orchestrator in a test: sends it the `result` of each task it yields, and yields its output last."""
    try:
        task = next(generator)
        while True:
            yield task
            try:
                result = task.result
            except Exception as error:  # noqa: BLE001 - a stand-in for a task raises what its activity would
                task = generator.throw(error)
            else:
                task = generator.send(result)
    except StopIteration as end:
        yield end.value
