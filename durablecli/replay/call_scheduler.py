"""How an orchestrator's calls are scheduled: activities, sub-orchestrations, HTTP requests and entity operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Raw
from msgspec.structs import replace

from durablecli.model import events as ev
from durablecli.model.activity_options import CallOptions
from durablecli.model.annotations import check_expected_type
from durablecli.model.entity_id import EntityId
from durablecli.model.http_messages import HTTP_ORCHESTRATOR, DurableHttpRequest, DurableHttpResponse
from durablecli.model.ids import check_instance_id, make_child_id
from durablecli.model.retries import RetryPolicy
from durablecli.model.validation import check_operation_name, check_tags, check_version
from durablecli.replay.critical_section import to_entity_id_text
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.replay.function_marks import Callee, find_callee
from durablecli.replay.tasks import CallTask, EntityCallTask


class CallScheduler:
    """Makes the calls of one execution: checks what they are given, and decides each attempt."""

    def __init__(self, executor: OrchestrationExecutor) -> None:
        self._executor = executor
        self._started = executor.started

    def call_activity(
        self,
        name: str | Callable[..., Any],
        policy: RetryPolicy | Literal[False] | None,
        value: Any,
        expected_type: Any,
        label: str | None = None,
        tags: Mapping[str, str] | None = None,
        options: CallOptions | None = None,
    ) -> CallTask[Any]:
        """Schedule an activity. `label` is the name that the orchestrator gives to this call.

        Without a `policy` that of the activity counts; with False there is none.
        """
        callee = find_callee(name, "activity")
        check_expected_type(expected_type, "an activity takes one input")
        executor = self._executor
        decision = ev.TaskScheduled(callee.name, executor.encode(value), 1, None, label)
        if options is not None:
            timeout, heartbeat_timeout, priority = options
            decision = replace(decision, timeout=timeout, heartbeat_timeout=heartbeat_timeout, priority=priority)
        if tags:
            decision = replace(decision, tags=check_tags(tags))
        traits = callee.traits or executor.find_traits(callee.name)
        annotation = traits.return_type if expected_type is None else expected_type
        if policy is None:
            policy = traits.retry
        if not policy:
            return executor.start_call(executor, decision, callee.label, annotation)
        return executor.start_call_with_retry(executor, decision, callee.label, annotation, policy)

    def call_sub_orchestrator(
        self,
        name: str | Callable[..., Any],
        policy: RetryPolicy | None,
        value: Any,
        instance_id: str | None,
        version: str | None,
        expected_type: Any,
        label: str | None = None,
    ) -> CallTask[Any]:
        """Start a sub-orchestration. `label` is the name that the orchestrator gives to this call."""
        callee = find_callee(name, "orchestrator")
        check_expected_type(expected_type)
        if self._executor.section is not None:
            self._executor.section.check_child()
        raw = self._executor.encode(value)
        version = self._started.version if version is None else check_version(version)
        given = None if instance_id is None else self._check_child_id(instance_id)
        if expected_type is None:
            expected_type = (callee.traits or self._executor.find_traits(callee.name)).return_type
        return self._schedule_child(callee, expected_type, policy, raw, given, version, label)

    def call_http(self, request: DurableHttpRequest) -> CallTask[DurableHttpResponse]:
        """Start the built-in orchestration that sends an HTTP request."""
        raw = self._executor.encode(request)
        version = self._started.version
        callee = Callee(HTTP_ORCHESTRATOR, request.label, None)
        return self._schedule_child(callee, DurableHttpResponse, None, raw, None, version, None)

    def call_entity(self, entity: EntityId | str, operation: str, value: Any, expected_type: Any) -> CallTask[Any]:
        """Call an operation of an entity."""
        check_expected_type(expected_type, "an operation takes one input")
        executor = self._executor
        id = to_entity_id_text(entity)
        section = executor.section
        if section is not None:
            section.check_call(id)
        name = check_operation_name(operation)
        event = ev.EntityOperationCalled(id, name, executor.encode(value))
        label = "" if executor.azure else f"Operation '{name}' of entity {id}"
        annotation = Any if expected_type is None else expected_type
        task = executor.start_call(executor, event, label, annotation, EntityCallTask)
        if section is not None:
            section.add_call(id, task)
        return task

    def _schedule_child(
        self,
        callee: Callee,
        annotation: Any,
        policy: RetryPolicy | None,
        raw: Raw,
        instance_id: str | None,
        version: str | None,
        label: str | None,
    ) -> CallTask[Any]:
        executor, started = self._executor, self._started
        child = instance_id or make_child_id(started.instance, started.execution, executor.next_decision_n)
        explicit = instance_id is not None
        created = ev.SubOrchestrationInstanceCreated(callee.name, child, raw, version, explicit=explicit, label=label)
        if policy is None:
            return executor.start_call(executor, created, callee.label, annotation)
        return executor.start_call_with_retry(executor, created, callee.label, annotation, policy)

    def _check_child_id(self, instance_id: str) -> str:
        given = check_instance_id(instance_id)
        parent = self._started.parent
        own = (self._started.instance, parent.instance if parent else "")
        if given.casefold() in [id.casefold() for id in own]:
            raise ValueError(
                "The instance ID of a sub-orchestration must be different than "
                "the instance ID of a parent orchestration."
            )
        return given
