"""The client of another engine that speaks the Durable Task protocol: the methods of `Client`, as calls to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from durablecli.client import DurableOrchestrationStatus, MessageItem, PurgeHistoryResult
from durablecli.client.rerun import SAME_INPUT
from durablecli.client.start import IF_EXISTS_POLICIES
from durablecli.client.transitions import describe_status, why_not_allowed
from durablecli.current_trace import read_current_trace
from durablecli.dts.address import EngineAddress, parse_engine_address
from durablecli.dts.calls import ProtocolCalls
from durablecli.dts.engine_entities import EngineEntities
from durablecli.dts.statuses import to_status_numbers
from durablecli.errors import Conflict, DurableError, NotFound, UsageError, WrongState
from durablecli.model.entity_id import is_entity_id
from durablecli.model.ids import check_instance_id, new_id
from durablecli.model.payloads import encode
from durablecli.model.status import ENDED_STATUSES, OrchestrationRuntimeStatus
from durablecli.model.validation import check_name, check_reason, check_tags, check_time, check_version
from durablecli.protocol.generated import pb, stubs
from durablecli.protocol.values import make_payload, make_text, make_time
from durablecli.replay.function_marks import function_name

_ENDED = ("Completed", "Failed", "Terminated")
_LIVE = ("Pending", "Running", "Suspended")
_REPLACED_STATUSES = {"fail": (), "skip": (), "fail_if_running": _ENDED, "replace": (*_ENDED, *_LIVE)}


def open_engine_client(address: str) -> EngineClient:
    """Return the client of the engine at an address as `parse_engine_address` takes it.

    Raises UsageError for an invalid address, and ConfigError if the file of the token can't be read.
    """
    return open_client_at(parse_engine_address(address))


def open_client_at(address: EngineAddress) -> EngineClient:
    """Return the client of the engine at an address. Raises ConfigError if the file of the token can't be read."""
    return EngineClient(ProtocolCalls(address, stubs.TaskHubSidecarServiceStub))


class EngineClient(EngineEntities):
    """The client of one task hub of another engine. A request has reached the engine when its method returns.

    It has the methods of `Client` that the protocol can carry; the others raise UsageError.
    """

    # ── start ──────────────────────────────────────────────────────────────────────────────────────────────────

    def start_new(
        self,
        orchestration_function_name: str | Callable[..., Any],
        instance_id: str | None = None,
        client_input: Any = None,
        version: str | None = None,
        *,
        if_exists: str = "fail_if_running",
        start_at: datetime | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Start an orchestration and return its instance id; `if_exists` is as in `Client.start_new`."""
        if if_exists not in IF_EXISTS_POLICIES:
            raise UsageError(f"invalid if_exists {if_exists!r}; use one of {', '.join(IF_EXISTS_POLICIES)}")
        instance = new_id() if instance_id is None else check_instance_id(instance_id)
        request = pb.CreateInstanceRequest(
            instanceId=instance,
            name=function_name(orchestration_function_name, "orchestrator"),
            version=make_text(check_version(version)),
            input=make_payload(encode(client_input)),
            scheduledStartTimestamp=None if start_at is None else make_time(check_time(start_at, "a time")),
            orchestrationIdReusePolicy=pb.OrchestrationIdReusePolicy(
                replaceableStatus=to_status_numbers(_REPLACED_STATUSES[if_exists])
            ),
            tags=check_tags(tags),
            parentTraceContext=_make_trace_context(),
        )
        if instance_id is not None and if_exists in ("fail", "skip") and (current := self.get_status(instance)):
            if if_exists == "skip":
                return instance
            raise Conflict(f"instance id '{instance}' already exists and is {current.status_name}")
        try:
            return str(self._calls.send("StartInstance", request).instanceId)
        except Conflict:
            if if_exists == "skip":
                return instance
            raise Conflict(f"instance id '{instance}' already exists in {self.location}") from None

    def start_many(
        self,
        orchestration_function_name: str | Callable[..., Any],
        inputs: Iterable[Any],
        version: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Start one instance per input, one after another; return their ids, `<batch>-<index>`.

        The protocol has no batches: if one fails, those before it are started, and the error counts them.
        """
        values, batch = list(inputs), new_id()
        started: list[str] = []
        for at, value in enumerate(values):
            try:
                started.append(self.start_new(orchestration_function_name, f"{batch}-{at}", value, version, tags=tags))
            except DurableError as error:
                done = f"{len(started):,} of {len(values):,} instances were started, with the ids {batch}-…"
                raise type(error)(f"{error}; {done}") from None
        return started

    def restart(
        self, instance_id: str, restart_with_new_instance_id: bool = True, *, client_input: Any = SAME_INPUT
    ) -> str:
        """Start an ended instance again with the same name and input; return the id of the new run."""
        if client_input is not SAME_INPUT:
            raise self.unsupported_error("restart an instance with another input")
        current = self._get_existing(instance_id)
        if not current.ended:
            raise WrongState(f"{instance_id} is {current.status_name}: terminate it first")
        request = pb.RestartInstanceRequest(
            instanceId=instance_id, restartWithNewInstanceId=restart_with_new_instance_id
        )
        return str(self._calls.send("RestartInstance", request).instanceId)

    # ── send ───────────────────────────────────────────────────────────────────────────────────────────────────

    def raise_event(self, instance_id: str, event_name: str, event_data: Any = None) -> None:
        """Send an external event. Raises NotFound, or WrongState for an ended instance."""
        name, data = check_name(event_name, "an event"), encode(event_data)
        current = self._get_existing(instance_id)
        if current.ended:
            raise WrongState(f"{instance_id} {describe_status(current)}: it accepts no more events")
        request = pb.RaiseEventRequest(instanceId=instance_id, name=name, input=make_payload(data))
        self._calls.send("RaiseEvent", request)

    def terminate(self, instance_id: str, reason: str = "", *, recursive: bool = True) -> None:
        """Terminate an instance, and its sub-orchestrations unless `recursive` is false."""
        self._submit("terminate", MessageItem(instance_id, reason=check_reason(reason), recursive=recursive))

    def suspend(self, instance_id: str, reason: str = "") -> None:
        """Pause an instance; arriving messages are kept until it is resumed."""
        self._submit("suspend", MessageItem(instance_id, reason=check_reason(reason)))

    def resume(self, instance_id: str, reason: str = "") -> None:
        """Resume a suspended instance."""
        self._submit("resume", MessageItem(instance_id, reason=check_reason(reason)))

    def rewind(self, instance_id: str, reason: str = "") -> None:
        """Retry the failed work of an instance, keeping completed results. Raises WrongState unless it has failed."""
        self._submit("rewind", MessageItem(instance_id, reason=check_reason(reason)))

    def fork(self, instance_id: str, before: int, new_instance_id: str | None = None) -> str:
        """Raise UsageError: the protocol has no fork."""
        raise self.unsupported_error("fork an instance")

    def fork_preview(self, instance_id: str, before: int) -> list[str]:
        """Raise UsageError: the protocol has no fork."""
        raise self.unsupported_error("fork an instance")

    def rewind_preview(self, instance_id: str, *, to: int = 0, failed_activities: bool = False) -> list[str]:
        """Raise UsageError: the protocol has no preview of a rewind."""
        raise self.unsupported_error("tell what a rewind would retry")

    def purge_instance_history(self, instance_id: str, *, force: bool = False) -> PurgeHistoryResult:
        """Delete an ended instance and its ended children. Raises WrongState for a live one."""
        try:
            self._submit("purge", MessageItem(instance_id, force=force))
        except NotFound:
            return PurgeHistoryResult(0)
        return PurgeHistoryResult(1)

    def purge_instance_history_by(
        self,
        created_time_from: datetime | None = None,
        created_time_to: datetime | None = None,
        runtime_status: Iterable[OrchestrationRuntimeStatus | str] | None = None,
    ) -> PurgeHistoryResult:
        """Delete the ended instances that match, and their ended children. Each limit in time is optional."""
        wanted = runtime_status or sorted(ENDED_STATUSES - {"Canceled"})
        names = tuple(each.value if isinstance(each, OrchestrationRuntimeStatus) else each for each in wanted)
        request = pb.PurgeInstancesRequest(
            purgeInstanceFilter=pb.PurgeInstanceFilter(
                createdTimeFrom=make_time(created_time_from),
                createdTimeTo=make_time(created_time_to),
                runtimeStatus=to_status_numbers(names),
            ),
            recursive=True,
            isOrchestration=True,
        )
        deleted = 0
        while True:
            answer = self._calls.send("PurgeInstances", request)
            deleted += answer.deletedInstanceCount
            is_complete = not answer.HasField("isComplete") or answer.isComplete.value
            if is_complete or not answer.deletedInstanceCount:
                return PurgeHistoryResult(deleted)

    def control(self, kind: str, items: Sequence[MessageItem]) -> dict[str, DurableError | None]:
        """Terminate, suspend, resume, rewind or purge several instances, one after another.

        Return the error of each, or None if the engine has accepted it.
        """
        results: dict[str, DurableError | None] = {}
        for item in items:
            try:
                self._submit(kind, item)
                results[item.instance] = None
            except DurableError as error:
                results[item.instance] = error
        return results

    def check_allowed(self, kind: str, item: MessageItem) -> DurableOrchestrationStatus:
        """Return the status of an instance that allows the verb; raises NotFound or WrongState for others."""
        if kind == "purge" and item.force:
            raise self.unsupported_error("purge instances that haven't ended; terminate them first")
        current = self._get_existing(item.instance)
        if refusal := why_not_allowed(kind, current, item):
            # An engine purges no live instance, so that there is no use for --force.
            raise WrongState(f"{item.instance} {describe_status(current)}: {refusal.removesuffix(', or use --force')}")
        return current

    def _submit(self, kind: str, item: MessageItem) -> None:
        """Send a verb for one instance; raise the error if it isn't allowed."""
        if is_entity_id(item.instance):
            self.check_entity_allowed(kind, item)
        self.check_allowed(kind, item)
        method, make_request = _REQUESTS[kind]
        answer = self._calls.send(method, make_request(item))
        if kind == "purge" and not answer.deletedInstanceCount:
            raise WrongState(f"{item.instance}: {self._calls.address.target} has not purged it")


def _make_termination(item: MessageItem) -> pb.TerminateRequest:
    output = make_text(msgspec.json.encode(item.reason).decode()) if item.reason else None
    return pb.TerminateRequest(instanceId=item.instance, output=output, recursive=item.recursive)


def _make_purge(item: MessageItem) -> pb.PurgeInstancesRequest:
    return pb.PurgeInstancesRequest(instanceId=item.instance, recursive=True, isOrchestration=True)


_REQUESTS: dict[str, tuple[str, Callable[[MessageItem], Any]]] = {
    "terminate": ("TerminateInstance", _make_termination),
    "suspend": (
        "SuspendInstance",
        lambda item: pb.SuspendRequest(instanceId=item.instance, reason=make_text(item.reason or None)),
    ),
    "resume": (
        "ResumeInstance",
        lambda item: pb.ResumeRequest(instanceId=item.instance, reason=make_text(item.reason or None)),
    ),
    "rewind": (
        "RewindInstance",
        lambda item: pb.RewindInstanceRequest(instanceId=item.instance, reason=make_text(item.reason or None)),
    ),
    "purge": ("PurgeInstances", _make_purge),
}


def _make_trace_context() -> pb.TraceContext | None:
    """Return the trace of the calling code, if it has one."""
    trace = read_current_trace()
    if trace is None:
        return None
    span = trace.traceparent.split("-")[2]
    return pb.TraceContext(traceParent=trace.traceparent, spanID=span, traceState=make_text(trace.tracestate or None))
