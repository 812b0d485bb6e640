"""The context that orchestrators of the `durabletask` SDK receive. Each call is a decision of this engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from durabletask import task as sdk
from durabletask.entities import EntityInstanceId

from durablecli.durabletask.sdk_payloads import SDK_CODEC, PayloadCodec, find_activity_output_type
from durablecli.durabletask.sdk_tasks import (
    SdkCall,
    SdkEventWait,
    SdkLockRequest,
    SdkTasks,
    SdkTimer,
    describe_call,
    describe_operation,
)
from durablecli.model.payloads import RecordedPayload
from durablecli.model.retries import RetryPolicy
from durablecli.replay.call_scheduler import CallScheduler
from durablecli.replay.context import DurableOrchestrationContext, get_executor
from durablecli.replay.function_marks import get_mark


class SdkOrchestrationContext(sdk.OrchestrationContext):
    """The SDK's context over the engine's. Times are naive and in UTC, as in the SDK."""

    def __init__(self, inner: DurableOrchestrationContext, codec: PayloadCodec = SDK_CODEC) -> None:
        self.codec = codec
        self._encode = codec.encode
        self._inner = inner
        self._executor = get_executor(inner)
        self._calls = CallScheduler(self._executor)
        self.tasks = SdkTasks(self._executor, codec)
        self._sequence = 0
        self._continues_as_new = False

    # ── the instance and the turn ────────────────────────────────────────────────────────────────────────────────

    @property
    def instance_id(self) -> str:
        return self._inner.instance_id

    @property
    def parent_instance_id(self) -> str | None:
        return self._inner.parent_instance_id

    @property
    def version(self) -> str | None:
        return self._inner.version

    @property
    def current_utc_datetime(self) -> datetime:
        return self._inner.current_utc_datetime.replace(tzinfo=None)

    @property
    def is_replaying(self) -> bool:
        return self._inner.is_replaying

    def new_uuid(self) -> str:
        return self._inner.new_uuid()

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────

    def call_activity(
        self,
        activity: str | Callable[..., Any],
        *,
        input: Any = None,
        retry_policy: sdk.RetryPolicy | None = None,
        tags: dict[str, str] | None = None,
        return_type: Any = None,
    ) -> SdkCall:
        if return_type is None and not isinstance(activity, str):
            return_type = find_activity_output_type(activity)
        name, policy, raw = get_function_name(activity), to_policy(retry_policy), self._encode(input)
        source = self._calls.call_activity(name, policy, raw, RecordedPayload, tags=tags)
        describe = describe_call(f"{self.instance_id}: Activity task #{self._next_number()}")
        return self.tasks.make_call(source, describe, return_type)

    def call_sub_orchestrator(
        self,
        orchestrator: str | Callable[..., Any],
        *,
        input: Any = None,
        instance_id: str | None = None,
        retry_policy: sdk.RetryPolicy | None = None,
        version: str | None = None,
        return_type: Any = None,
    ) -> SdkCall:
        name, policy, raw = get_function_name(orchestrator), to_policy(retry_policy), self._encode(input)
        source = self._calls.call_sub_orchestrator(name, policy, raw, instance_id, version or None, RecordedPayload)
        describe = describe_call(f"Sub-orchestration task #{self._next_number()}")
        return self.tasks.make_call(source, describe, return_type)

    def call_entity(
        self, entity: EntityInstanceId, operation: str, input: Any = None, *, return_type: Any = None
    ) -> SdkCall:
        source = self._calls.call_entity(str(entity), operation, self._encode(input), RecordedPayload)
        self._next_number()
        return self.tasks.make_call(source, describe_operation(to_sdk_id(entity), operation), return_type)

    def signal_entity(
        self,
        entity_id: EntityInstanceId,
        operation_name: str,
        input: Any = None,
        signal_time: datetime | None = None,
    ) -> None:
        self._inner.signal_entity(str(entity_id), operation_name, self._encode(input), signal_time)
        self._next_number()

    def lock_entities(self, entities: Iterable[EntityInstanceId]) -> SdkLockRequest:
        source = self._inner.lock_entities([str(each) for each in entities])
        self._next_number()
        return self.tasks.make_lock_request(source, self)

    def _exit_critical_section(self) -> None:
        if self._executor.section is not None:
            self._executor.section.release()
            self._next_number()

    # ── waits ────────────────────────────────────────────────────────────────────────────────────────────────────

    def create_timer(self, fire_at: datetime | timedelta) -> SdkTimer:
        source = self._inner.create_timer(fire_at)
        self._next_number()
        return self.tasks.make_timer(source)

    def wait_for_external_event(self, name: str, *, data_type: Any = None) -> SdkEventWait:
        return self.tasks.make_event_wait(self._inner.wait_for_external_event(name, RecordedPayload), data_type)

    # ── effects ──────────────────────────────────────────────────────────────────────────────────────────────────

    def send_event(self, instance_id: str, event_name: str, *, data: Any = None) -> None:
        self._inner.send_event(instance_id, event_name, self._encode(data))
        self._next_number()

    def set_custom_status(self, custom_status: Any) -> None:
        self._inner.set_custom_status(self._encode(custom_status))

    def continue_as_new(self, new_input: Any, *, save_events: bool = False, new_version: str | None = None) -> None:
        """The first call counts, and the execution ends at the next yield of an incomplete task."""
        if not self._continues_as_new:
            self._continues_as_new = True
            self._executor.continue_as_new(self._executor.encode(self._encode(new_input)), save_events, new_version)

    @property
    def will_continue_as_new(self) -> bool:
        """Whether continue_as_new has been called."""
        return self._continues_as_new

    def _next_number(self) -> int:
        """Count an action. The texts of failures name calls by these numbers."""
        self._sequence += 1
        return self._sequence


def get_function_name(function: str | Callable[..., Any]) -> str:
    """Return the name under which a function is registered."""
    if isinstance(function, str):
        return function
    mark = get_mark(function)
    return sdk.get_name(function) if mark is None else mark.name


def to_sdk_id(entity: object) -> EntityInstanceId:
    """Return the SDK's id for one of the SDK or of durablecli."""
    return entity if isinstance(entity, EntityInstanceId) else EntityInstanceId.parse(str(entity))


def to_policy(policy: sdk.RetryPolicy | RetryPolicy | None) -> RetryPolicy | None:
    """Return the engine's policy for one of the SDK's."""
    if policy is None or isinstance(policy, RetryPolicy):
        return policy
    return RetryPolicy(
        policy.first_retry_interval,
        policy.max_number_of_attempts,
        policy.backoff_coefficient,
        _at_least_a_microsecond(policy.max_retry_interval),
        _at_least_a_microsecond(policy.retry_timeout),
    )


def _at_least_a_microsecond(duration: timedelta | None) -> timedelta | None:
    """Return a duration that the engine's policy accepts, which has none of zero."""
    return None if duration is None else max(duration, timedelta.resolution)
