"""The calls of clients for one instance: start, read, raise events, and the verbs that change its life."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from google.protobuf.empty_pb2 import Empty

from durablecli.client import Client, MessageItem
from durablecli.errors import Conflict, NotFound, UsageError, WrongState
from durablecli.grpc.call_errors import instance_not_found
from durablecli.grpc.engine_calls import EngineCalls
from durablecli.grpc.rpc_router import Calls
from durablecli.grpc.state_messages import make_state
from durablecli.model.ids import check_instance_id, new_id
from durablecli.model.payloads import encode
from durablecli.model.trace_context import TraceContext, parse_traceparent
from durablecli.model.validation import check_name, check_reason, check_tags, check_version
from durablecli.protocol.generated import pb
from durablecli.protocol.values import STATUS_NAMES, field_payload, field_text, field_time

_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_LIVE_STATUSES = frozenset({"Running", "Pending", "Suspended"})


class InstanceCalls:
    """The handlers. Ids of instances that don't exist are NOT_FOUND, except where the protocol says `exists: false`."""

    def __init__(self, engine: EngineCalls) -> None:
        self._engine = engine

    @property
    def calls(self) -> Calls:
        return Calls(
            {
                "Hello": self.hello,
                "StartInstance": self.start,
                "GetInstance": self.get,
                "RaiseEvent": self.raise_event,
                "TerminateInstance": self.terminate,
                "SuspendInstance": self.suspend,
                "ResumeInstance": self.resume,
                "RewindInstance": self.rewind,
                "RestartInstance": self.restart,
            }
        )

    async def hello(self, request: Any, context: Any) -> Any:
        """Tell a client that the server is there."""
        return Empty()

    async def start(self, request: Any, context: Any) -> Any:
        """Start an instance. The function needn't be known here: a worker may bring it later."""
        item = _make_start(request)
        try:
            await self._engine.submit_for(item.instance, lambda client: client.post_start(item))
        except Conflict:
            raise Conflict(f"an orchestration instance with the id {item.instance!r} already exists") from None
        return pb.CreateInstanceResponse(instanceId=item.instance)

    async def get(self, request: Any, context: Any) -> Any:
        """Return the state of an instance."""
        state = await self._engine.read_state(request.instanceId)
        if state is None:
            return pb.GetInstanceResponse(exists=False)
        found = make_state(state, payloads=request.getInputsAndOutputs)
        return pb.GetInstanceResponse(exists=True, orchestrationState=found)

    async def raise_event(self, request: Any, context: Any) -> Any:
        """Send an event. One for an instance that has ended has no effect."""
        instance, name, data = request.instanceId, request.name, field_payload(request, "input")
        check_name(name, "an event")
        await self._run(instance, lambda client: client.raise_event(instance, name, data), ignore_ended=True)
        return pb.RaiseEventResponse()

    async def terminate(self, request: Any, context: Any) -> Any:
        """End an instance with an output. One that has ended stays as it is."""
        item = MessageItem(
            request.instanceId, output=encode(field_payload(request, "output")), reason="", recursive=request.recursive
        )
        await self._submit("terminate", item)
        return pb.TerminateResponse()

    async def suspend(self, request: Any, context: Any) -> Any:
        """Pause an instance. One that has ended stays as it is."""
        await self._submit("suspend", MessageItem(request.instanceId, reason=_get_reason(request)))
        return pb.SuspendResponse()

    async def resume(self, request: Any, context: Any) -> Any:
        """Resume an instance. One that has ended stays as it is."""
        await self._submit("resume", MessageItem(request.instanceId, reason=_get_reason(request)))
        return pb.ResumeResponse()

    async def rewind(self, request: Any, context: Any) -> Any:
        """Retry the failed work of an instance that has failed."""
        instance, reason = request.instanceId, _get_reason(request)

        def rewind(client: Client) -> None:
            current = client.get_status(instance, show_input=False, explain_waits=False)
            if current and current.status_name != "Failed":
                raise _make_wrong_state(instance, "failed", current.status_name)
            client.rewind(instance, reason)

        await self._run(instance, rewind)
        return pb.RewindInstanceResponse()

    async def restart(self, request: Any, context: Any) -> Any:
        """Start an instance again: under its own id one that has ended, or any under a new id."""
        instance, with_new_id = request.instanceId, request.restartWithNewInstanceId

        def restart(client: Client) -> str:
            current = client.get_status(instance, show_input=False, explain_waits=False)
            if current and not (with_new_id or current.ended or current.ends):
                raise _make_wrong_state(instance, "terminal", current.status_name)
            return client.restart(instance, with_new_id)

        return pb.RestartInstanceResponse(instanceId=await self._run(instance, restart))

    async def _submit(self, kind: str, item: MessageItem) -> None:
        def submit(client: Client) -> None:
            error = client.control(kind, [item])[item.instance]
            if error is not None:
                raise error

        await self._run(item.instance, submit, ignore_ended=True)

    async def _run(self, instance: str, operation: Any, *, ignore_ended: bool = False) -> Any:
        check_instance_id(instance)
        try:
            return await self._engine.submit_for(instance, operation)
        except NotFound:
            raise instance_not_found(instance) from None
        except WrongState:
            if not ignore_ended:
                raise
            return None


def _make_start(request: Any) -> MessageItem:
    instance = check_instance_id(request.instanceId or new_id())
    statuses = tuple(STATUS_NAMES.get(number, "") for number in request.orchestrationIdReusePolicy.replaceableStatus)
    replaceable = tuple(dict.fromkeys(name for name in statuses if name))
    if not _LIVE_STATUSES.isdisjoint(replaceable) and "Terminated" not in replaceable:
        raise UsageError(
            "invalid orchestrationIdReusePolicy: it cannot exclude 'Terminated' while also allowing reuse of running "
            "instances, because these are terminated first"
        )
    return MessageItem(
        instance,
        check_name(request.name, "an orchestrator"),
        encode(field_payload(request, "input")),
        check_version(field_text(request, "version")),
        _read_start_time(request),
        "replace_if" if replaceable else "fail",
        replaceable=replaceable,
        tags=check_tags(dict(request.tags)),
        trace=read_trace(request),
    )


def _read_start_time(request: Any) -> datetime | None:
    """Return the time of a delayed start; None for the beginning of 1970, which the JavaScript SDK sends for none."""
    start_at = field_time(request, "scheduledStartTimestamp")
    return None if start_at == _NO_TIME else start_at


def read_trace(request: Any) -> TraceContext | None:
    """Return the trace that a request belongs to; None if it names none, or an invalid one."""
    if not request.HasField("parentTraceContext"):
        return None
    given = request.parentTraceContext
    if parse_traceparent(given.traceParent) is None:
        return None
    return TraceContext(given.traceParent, given.traceState.value)


def _make_wrong_state(instance: str, needed: str, status: str) -> WrongState:
    return WrongState(f"orchestration instance {instance!r} is not in a {needed} state: it is {status}")


def _get_reason(request: Any) -> str:
    return check_reason(field_text(request, "reason") or "")
