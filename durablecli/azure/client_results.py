"""The results of the client's newer methods: of the SDK's classes if the app imports `durabletask`, else of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from durablecli.azure import durabletask_types as own
from durablecli.azure.sdk_style import uses_sdk
from durablecli.client import Client, DurableOrchestrationStatus, EntityStatus
from durablecli.errors import UsageError, WrongState
from durablecli.model.ids import check_instance_id, new_id
from durablecli.model.payloads import encode
from durablecli.model.status import OrchestrationRuntimeStatus
from durablecli.model.validation import check_tags, check_time, check_version
from durablecli.store.inbox.messages import MessageItem


def _get_sdk() -> Any:
    """Return the module with the SDK's classes, which needs the extra `grpc`; None if the app doesn't use the SDK."""
    if not uses_sdk():
        return None
    from durablecli.azure import sdk_results

    return sdk_results


def make_state(
    client: Client, status: DurableOrchestrationStatus, payloads: bool = True
) -> own.OrchestrationState | None:
    """Return the state of an instance; None if it doesn't exist."""
    if status.runtime_status is None:
        return None
    if (sdk := _get_sdk()) is None:
        return own.OrchestrationState.from_status(status, payloads)
    state: own.OrchestrationState = sdk.make_state(client, status, payloads)
    return state


def make_entity(status: EntityStatus, state: bool = True) -> own.EntityMetadata | None:
    """Return the state of an entity; None if the entity has never received an operation.

    For an app of the SDK it is None as well if the entity has no state, no lock and no queue.
    """
    if (sdk := _get_sdk()) is None:
        return own.EntityMetadata.from_status(status, state)
    entity: own.EntityMetadata | None = sdk.make_entity(status, state)
    return entity


def make_page(items: list[str], token: str | None) -> own.Page[str]:
    """Return a page of ids."""
    sdk = _get_sdk()
    page: own.Page[str] = (own if sdk is None else sdk).Page(items, token)
    return page


def make_purge_result(count: int) -> own.PurgeInstancesResult:
    """Return how many instances were purged."""
    sdk = _get_sdk()
    result: own.PurgeInstancesResult = (own if sdk is None else sdk).PurgeInstancesResult(count, True)
    return result


def make_clean_result(count: int) -> own.CleanEntityStorageResult:
    """Return how many entities were removed."""
    sdk = _get_sdk()
    result: own.CleanEntityStorageResult = (own if sdk is None else sdk).CleanEntityStorageResult(count, 0)
    return result


def read_history(client: Client, instance_id: str) -> list[Any]:
    """Return the history: events of the SDK, or else the form of the management API. Raises NotFound."""
    sdk = _get_sdk()
    events: list[Any] = client.project_history(instance_id) if sdk is None else sdk.read_history(client, instance_id)
    return events


def make_start(
    policy: Any,
    name: str,
    instance_id: str | None,
    input: Any,
    version: str | None,
    start_at: datetime | None,
    tags: Mapping[str, str] | None,
) -> MessageItem:
    """Return a start that replaces an instance only in a status of the SDK's policy. Raises UsageError."""
    if (sdk := _get_sdk()) is None:
        raise UsageError("reuse_id_policy is not supported; use the if_exists parameter of start_new")
    replaceable = sdk.read_reuse_policy(policy)
    return MessageItem(
        new_id() if instance_id is None else check_instance_id(instance_id),
        name,
        encode(input),
        check_version(version),
        None if start_at is None else check_time(start_at, "start_at"),
        "replace_if" if replaceable else "fail",
        replaceable=replaceable,
        tags=check_tags(tags),
    )


def terminate_with_output(client: Client, instance_id: str, output: Any, recursive: bool) -> None:
    """Terminate an instance with an output of any kind. One that has ended stays as it is."""
    item = MessageItem(instance_id, output=encode(output), reason="", recursive=recursive)
    error = client.control("terminate", [item])[instance_id]
    if error is not None and not isinstance(error, WrongState):
        raise error


def to_status_names(statuses: Iterable[OrchestrationRuntimeStatus | Enum | str] | None) -> tuple[str, ...]:
    """Return the names of statuses, which may be of the SDK."""
    return tuple(map(_to_status_name, statuses or ()))


def _to_status_name(status: OrchestrationRuntimeStatus | Enum | str) -> str:
    if isinstance(status, OrchestrationRuntimeStatus):
        return status.value
    if not isinstance(status, Enum):
        return status
    folded = status.name.replace("_", "").casefold()
    return next((each.value for each in OrchestrationRuntimeStatus if each.value.casefold() == folded), status.name)
