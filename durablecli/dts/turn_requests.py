"""Answers the turns that another engine asks for: finds the orchestrator, replays its history, and runs the turn."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from google.protobuf.struct_pb2 import Value

from durablecli.dts.foreign_execution import ForeignExecution
from durablecli.dts.rewind_requests import make_rewind, read_plan
from durablecli.engine.instance_notes import InstanceNote
from durablecli.engine.watchdog import CurrentTurn
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.versions import VersionPolicy
from durablecli.protocol.actions import ActionSource, make_actions
from durablecli.protocol.foreign_history import ForeignArrival, ForeignHistory
from durablecli.protocol.generated import pb
from durablecli.protocol.work_items import CONTINUES_PROPERTY, SESSION_PROPERTY
from durablecli.registry import Registry
from durablecli.replay.errors import NonDeterminismError, TooManyDecisions
from durablecli.replay.turn_log import OutputLine


class TurnOutcome(NamedTuple):
    """The answer to a turn, and its printed lines; or the `reason` why there is no answer."""

    instance: str
    response: pb.OrchestratorResponse | None
    name: str = ""
    reason: str = ""
    log_lines: Sequence[OutputLine | InstanceNote] = ()
    end: ev.ExecutionCompleted | ev.ContinueAsNew | None = None


class _Session(NamedTuple):
    """An execution that is kept for the next turn, and the token of the turn that it has answered."""

    token: str
    execution: ForeignExecution


class TurnRequests:
    """Runs turns, one at a time. It keeps up to `sessions` executions for their next turns, if the engine asks for it.

    An execution is continued only by a request that names the turn before it; any other brings its whole history.
    """

    def __init__(
        self,
        registry: Registry,
        versions: VersionPolicy,
        payload_limit: int,
        current_turn: CurrentTurn,
        *,
        fail_on_nondeterminism: bool = False,
        sessions: int = 0,
    ) -> None:
        self._registry = registry
        self._versions = versions
        self._payload_limit = payload_limit
        self._current_turn = current_turn
        self._fail_on_nondeterminism = fail_on_nondeterminism
        self._session_count = sessions
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def run(self, request: pb.OrchestratorRequest, token: str) -> TurnOutcome:
        """Run one turn. The author's code can't make it raise; a request that can't be read raises UsageError."""
        instance = request.instanceId
        session = self._sessions.pop(instance, None)
        continues = (
            request.properties[CONTINUES_PROPERTY].string_value if CONTINUES_PROPERTY in request.properties else ""
        )
        if session is not None and session.token != continues:
            session.execution.close()
            session = None
        if session is None and continues:
            response = pb.OrchestratorResponse(instanceId=instance, completionToken=token, requiresHistory=True)
            return TurnOutcome(instance, response)
        if session is None:
            return self._start(request, token)
        arrivals = session.execution.history.read(request.newEvents)
        return self._run(request, token, session.execution, arrivals)

    def _start(self, request: pb.OrchestratorRequest, token: str) -> TurnOutcome:
        """Replay the history of a request, and run its turn."""
        instance = request.instanceId
        history = ForeignHistory(instance)
        past = history.read(request.pastEvents)
        was_ended, is_rewound = history.ended is not None, history.is_rewound
        new = history.read(request.newEvents)
        started = history.started
        if started is None:
            return TurnOutcome(instance, None, reason="its history has no start")
        if history.is_rewound and was_ended:
            return self._rewind(request, token, history)
        function = self._registry.find_orchestrator(started.name)
        if function is None:
            return TurnOutcome(instance, None, started.name, f"orchestrator '{started.name}' isn't loaded")
        unfit = None if self._registry.is_built_in(function) else self._versions.why_incompatible(started.version)
        if unfit is not None:
            kind = "durablecli.VersionMismatch" if self._versions.fail_on_mismatch else None
            return self._refuse(request, token, history, unfit, kind)
        self._current_turn.begin(instance, function.call)
        try:
            is_rewound = is_rewound or history.is_rewound
            execution = ForeignExecution(
                function, self._registry, history, past, self._payload_limit, is_rewound=is_rewound
            )
        except (NonDeterminismError, TooManyDecisions) as error:
            return self._on_nondeterminism(request, token, history, error)
        finally:
            self._current_turn.end()
        return self._run(request, token, execution, new)

    def _rewind(self, request: pb.OrchestratorRequest, token: str, history: ForeignHistory) -> TurnOutcome:
        """Return the new history of a failed execution."""
        started = history.started
        assert started is not None
        plan = read_plan(request.pastEvents)
        if plan.refusal:
            history.ended = None  # the engine has revived it
            return self._refuse(request, token, history, plan.refusal, "durablecli.WrongState")
        action = make_rewind(request, plan)
        response = pb.OrchestratorResponse(instanceId=request.instanceId, completionToken=token, actions=[action])
        return TurnOutcome(request.instanceId, response, started.name)

    def _run(
        self,
        request: pb.OrchestratorRequest,
        token: str,
        execution: ForeignExecution,
        arrivals: list[ForeignArrival],
    ) -> TurnOutcome:
        response = pb.OrchestratorResponse(instanceId=request.instanceId, completionToken=token)
        started = execution.history.started
        assert started is not None
        self._current_turn.begin(request.instanceId, execution.function)
        try:
            execution.run(arrivals, response)
        except (NonDeterminismError, TooManyDecisions) as error:
            execution.close()
            return self._on_nondeterminism(request, token, execution.history, error)
        finally:
            self._current_turn.end()
        lines, end = execution.take_log_lines(), execution.last_end
        if _property(request, SESSION_PROPERTY).bool_value and self._session_count and not execution.ended:
            self._sessions[request.instanceId] = _Session(token, execution)
            if len(self._sessions) > self._session_count:
                self._sessions.popitem(last=False)[1].execution.close()
        else:
            execution.close()
        return TurnOutcome(request.instanceId, response, started.name, "", lines, end)

    def _on_nondeterminism(
        self, request: pb.OrchestratorRequest, token: str, history: ForeignHistory, error: BaseException
    ) -> TurnOutcome:
        kind = "durablecli.NonDeterminism" if self._fail_on_nondeterminism else None
        return self._refuse(request, token, history, str(error), kind)

    def _refuse(
        self, request: pb.OrchestratorRequest, token: str, history: ForeignHistory, reason: str, kind: str | None
    ) -> TurnOutcome:
        """Leave a turn without an answer, or fail its instance. One that has ended already is left as it is."""
        started = history.started
        assert started is not None
        if history.ended is not None:
            response = pb.OrchestratorResponse(instanceId=request.instanceId, completionToken=token)
            return TurnOutcome(request.instanceId, response, started.name)
        if kind is None:
            return TurnOutcome(request.instanceId, None, started.name, reason)
        end = ev.ExecutionCompleted("Failed", failure=Failure(kind, reason))
        record = ev.Record(history.last_id + 1, history.time, end)
        actions = make_actions([record], ActionSource(started, lambda lock: ()))
        response = pb.OrchestratorResponse(instanceId=request.instanceId, completionToken=token, actions=actions)
        return TurnOutcome(request.instanceId, response, started.name, end=end)


def _property(request: pb.OrchestratorRequest, name: str) -> Value:
    return request.properties[name] if name in request.properties else Value()
