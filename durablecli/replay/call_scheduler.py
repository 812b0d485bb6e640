"""How an orchestrator's calls are scheduled: activities, sub-orchestrations, HTTP requests and entity operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId
from durablecli.model.http_messages import HTTP_ORCHESTRATOR, DurableHttpRequest, DurableHttpResponse
from durablecli.model.ids import check_instance_id, make_child_id
from durablecli.model.retries import RetryPolicy
from durablecli.model.validation import check_operation_name, check_version
from durablecli.replay.critical_section import to_entity_id_text
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.replay.function_marks import Callee, find_callee
from durablecli.replay.tasks import Task


class CallScheduler:
    """Makes the calls of one execution: checks what they are given, and decides each attempt."""

    def __init__(self, executor: OrchestrationExecutor) -> None:
        self._executor = executor
        self._started = executor.started

    def call_activity(
        self, name: str | Callable[..., Any], policy: RetryPolicy | None, value: Any, expected_type: Any
    ) -> Task[Any]:
        """Schedule an activity."""
        callee = find_callee(name, "activity")
        executor = self._executor
        decision = ev.TaskScheduled(callee.name, executor.encode(value))
        annotation = self._result_annotation(callee, expected_type)
        if policy is None:
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
    ) -> Task[Any]:
        """Start a sub-orchestration."""
        callee = find_callee(name, "orchestrator")
        if self._executor.section is not None:
            self._executor.section.check_child()
        raw = self._executor.encode(value)
        version = self._started.version if version is None else check_version(version)
        given = None if instance_id is None else self._check_child_id(instance_id)
        annotation = self._result_annotation(callee, expected_type)
        return self._schedule_child(callee.name, callee.label, annotation, policy, raw, given, version)

    def call_http(self, request: DurableHttpRequest) -> Task[DurableHttpResponse]:
        """Start the built-in orchestration that sends an HTTP request."""
        raw = self._executor.encode(request)
        version = self._started.version
        return self._schedule_child(HTTP_ORCHESTRATOR, request.label, DurableHttpResponse, None, raw, None, version)

    def call_entity(self, entity: EntityId | str, operation: str, value: Any, expected_type: Any) -> Task[Any]:
        """Call an operation of an entity."""
        executor = self._executor
        id = to_entity_id_text(entity)
        section = executor.section
        if section is not None:
            section.check_call(id)
        name = check_operation_name(operation)
        event = ev.EntityOperationCalled(id, name, executor.encode(value))
        label = "" if executor.azure else f"Operation '{name}' of entity {id}"
        annotation = Any if expected_type is None else expected_type
        task = executor.start_call(executor, event, label, annotation)
        if section is not None:
            section.add_call(id, task)
        return task

    def _schedule_child(
        self,
        name: str,
        label: str,
        annotation: Any,
        policy: RetryPolicy | None,
        raw: Raw,
        instance_id: str | None,
        version: str | None,
    ) -> Task[Any]:
        executor, started = self._executor, self._started
        child = instance_id or make_child_id(started.instance, started.execution, executor.next_decision_n)
        created = ev.SubOrchestrationInstanceCreated(name, child, raw, version, explicit=instance_id is not None)
        if policy is None:
            return executor.start_call(executor, created, label, annotation)
        return executor.start_call_with_retry(executor, created, label, annotation, policy)

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

    def _result_annotation(self, callee: Callee, expected_type: Any) -> Any:
        if expected_type is not None:
            return expected_type
        return self._executor.return_types(callee.name) if callee.annotation is None else callee.annotation
