"""The client of a hub, through which the command line, the HTTP API and Python programs use it."""

from durablecli.client.async_client import DurableOrchestrationClient
from durablecli.client.client import Client
from durablecli.client.entity_status import (
    EntityLockHolder,
    EntityStateResponse,
    EntityStatus,
    PendingEntityMessage,
    QueuedEntityRequest,
)
from durablecli.client.entity_waits import ActivityWait, EntityWait
from durablecli.client.follow import HistoryLine
from durablecli.client.orchestration_status import (
    BlockedInfo,
    DurableOrchestrationStatus,
    EngineStatus,
    HeldLocks,
    PurgeHistoryResult,
    QuarantineInfo,
    SuspendedInfo,
)
from durablecli.client.polling import Poller
from durablecli.client.published_functions import PublishedFunctions, describe_registry, unknown_orchestrator_error
from durablecli.client.running_work import ExecutorUsage, RunningEntityBatch, RunningOperations
from durablecli.store.inbox.messages import Mailbox, MessageItem, Receipt, new_message_id
from durablecli.store.query import Page, Query

__all__ = [
    "ActivityWait",
    "BlockedInfo",
    "Client",
    "DurableOrchestrationClient",
    "DurableOrchestrationStatus",
    "EngineStatus",
    "EntityLockHolder",
    "EntityStateResponse",
    "EntityStatus",
    "EntityWait",
    "ExecutorUsage",
    "HeldLocks",
    "HistoryLine",
    "Mailbox",
    "MessageItem",
    "Page",
    "PendingEntityMessage",
    "Poller",
    "PublishedFunctions",
    "PurgeHistoryResult",
    "QuarantineInfo",
    "Query",
    "QueuedEntityRequest",
    "Receipt",
    "RunningEntityBatch",
    "RunningOperations",
    "SuspendedInfo",
    "describe_registry",
    "new_message_id",
    "unknown_orchestrator_error",
]
