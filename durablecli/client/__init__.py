"""The client of a hub: the one way in for the command line, for HTTP and for any Python program."""

from durablecli.client.async_client import DurableOrchestrationClient
from durablecli.client.client import Client
from durablecli.client.entity_status import EntityStateResponse, EntityStatus, LockHolder, Queued, Requested
from durablecli.client.entity_waits import ActivityWait, EntityWait
from durablecli.client.follow import Line
from durablecli.client.orchestration_status import (
    Blocked,
    DurableOrchestrationStatus,
    Engine,
    Held,
    PurgeHistoryResult,
    SetAside,
    Suspended,
)
from durablecli.client.published_functions import Published, published_by, unknown_orchestrator
from durablecli.client.running_work import Running, Runs, Slots
from durablecli.store.inbox.messages import Mailbox, MessageItem, Receipt, new_message_id
from durablecli.store.query import Page, Query

__all__ = [
    "ActivityWait",
    "Blocked",
    "Client",
    "DurableOrchestrationClient",
    "DurableOrchestrationStatus",
    "Engine",
    "EntityStateResponse",
    "EntityStatus",
    "EntityWait",
    "Held",
    "Line",
    "LockHolder",
    "Mailbox",
    "MessageItem",
    "Page",
    "Published",
    "PurgeHistoryResult",
    "Query",
    "Queued",
    "Receipt",
    "Requested",
    "Running",
    "Runs",
    "SetAside",
    "Slots",
    "Suspended",
    "new_message_id",
    "published_by",
    "unknown_orchestrator",
]
