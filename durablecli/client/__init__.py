"""The client of a hub, through which the command line, the HTTP API and Python programs use it."""

from durablecli.client.async_client import DurableOrchestrationClient
from durablecli.client.call_tracker import CallTracker, TaskCounts
from durablecli.client.client import Client
from durablecli.client.code_notice import code_notice, format_code_notice
from durablecli.client.entity_status import (
    EntityLockHolder,
    EntityStateResponse,
    EntityStatus,
    PendingEntityMessage,
    QueuedEntityRequest,
)
from durablecli.client.entity_waits import ActivityWait, EntityWait, TurnWait
from durablecli.client.follow import HistoryLine
from durablecli.client.hub_client import HubClient
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
from durablecli.client.purge_meter import PurgeMeter
from durablecli.client.remote_workers import RemoteFunction, RemoteWorkers, WorkerWait, unnamed_kinds
from durablecli.client.rerun import SAME_INPUT
from durablecli.client.running_work import ExecutorUsage, RunningEntityBatch, RunningOperations
from durablecli.client.task_failures import TaskFailures
from durablecli.model.failure_report import FailureCause, FailureReport
from durablecli.model.log_entry import LogEntry
from durablecli.model.traceback_text import SourceLine
from durablecli.store.disk_usage import DiskUsage
from durablecli.store.engine_info import EngineInfo, FunctionInfo
from durablecli.store.hub_health import HubHealth
from durablecli.store.inbox.messages import Mailbox, MessageItem, Receipt, new_message_id
from durablecli.store.merged_view import PageAndCounts
from durablecli.store.query import Page, Query

__all__ = [
    "SAME_INPUT",
    "ActivityWait",
    "BlockedInfo",
    "CallTracker",
    "Client",
    "DiskUsage",
    "DurableOrchestrationClient",
    "DurableOrchestrationStatus",
    "EngineInfo",
    "EngineStatus",
    "EntityLockHolder",
    "EntityStateResponse",
    "EntityStatus",
    "EntityWait",
    "ExecutorUsage",
    "FailureCause",
    "FailureReport",
    "FunctionInfo",
    "HeldLocks",
    "HistoryLine",
    "HubClient",
    "HubHealth",
    "LogEntry",
    "Mailbox",
    "MessageItem",
    "Page",
    "PageAndCounts",
    "PendingEntityMessage",
    "Poller",
    "PublishedFunctions",
    "PurgeHistoryResult",
    "PurgeMeter",
    "QuarantineInfo",
    "Query",
    "QueuedEntityRequest",
    "Receipt",
    "RemoteFunction",
    "RemoteWorkers",
    "RunningEntityBatch",
    "RunningOperations",
    "SourceLine",
    "SuspendedInfo",
    "TaskCounts",
    "TaskFailures",
    "TurnWait",
    "WorkerWait",
    "code_notice",
    "describe_registry",
    "format_code_notice",
    "new_message_id",
    "unknown_orchestrator_error",
    "unnamed_kinds",
]
