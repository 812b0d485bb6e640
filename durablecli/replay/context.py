"""What an orchestrator function is given: everything it may ask for, and nothing that depends on the moment.

Names and signatures are those of `azure.durable_functions.DurableOrchestrationContext`; functions are named by string
or by the decorated function itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NoReturn
from uuid import NAMESPACE_OID, NAMESPACE_URL, UUID, uuid5

from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId
from durablecli.model.http_messages import HTTP_ORCHESTRATOR, DurableHttpResponse, make_request
from durablecli.model.ids import check_instance_id, child_id
from durablecli.model.payloads import decode
from durablecli.model.retries import RetryPolicy
from durablecli.model.validation import due_of, name_of, operation_of, version_of
from durablecli.replay.critical_section import LockTask, entities_to_lock, entity_named
from durablecli.replay.executor import Machine
from durablecli.replay.function_marks import return_annotation, told_name
from durablecli.replay.tasks import EventTask, Task, TimerTask, WhenAll, WhenAny
from durablecli.replay.turn_log import TurnLogger

_UUID_SPACE = uuid5(NAMESPACE_OID, "9e952958-5e33-4daf-827f-2fa12937b875")


class DurableOrchestrationContext:
    """The orchestration's window to the world. Every call makes a task at once; yield it for the result."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._started = machine.started

    # ── calls ──────────────────────────────────────────────────────────────────────────────────────────────────

    def call_activity(self, name: str | Callable[..., Any], input_: Any = None, expected_type: Any = None) -> Task[Any]:
        """Schedule an activity. The result is decoded by `expected_type`, else by the activity's return annotation."""
        return self._activity(name, None, input_, expected_type)

    def call_activity_with_retry(
        self,
        name: str | Callable[..., Any],
        retry_options: RetryPolicy,
        input_: Any = None,
        expected_type: Any = None,
    ) -> Task[Any]:
        """Schedule an activity that is tried again after a failure, as `retry_options` says."""
        return self._activity(name, retry_options, input_, expected_type)

    def call_sub_orchestrator(
        self,
        name: str | Callable[..., Any],
        input_: Any = None,
        instance_id: str | None = None,
        version: str | None = None,
        expected_type: Any = None,
    ) -> Task[Any]:
        """Start another orchestration and wait for its end. Without `version` it gets this one's."""
        return self._child(name, None, input_, instance_id, version, expected_type)

    def call_sub_orchestrator_with_retry(
        self,
        name: str | Callable[..., Any],
        retry_options: RetryPolicy,
        input_: Any = None,
        instance_id: str | None = None,
        version: str | None = None,
        expected_type: Any = None,
    ) -> Task[Any]:
        """As call_sub_orchestrator, tried again after a failure; each attempt is a new instance unless given an id."""
        return self._child(name, retry_options, input_, instance_id, version, expected_type)

    def call_http(
        self,
        method: str,
        uri: str,
        content: Any = None,
        headers: Mapping[str, Any] | None = None,
        token_source: Any = None,
        is_raw_str: bool = False,
    ) -> Task[DurableHttpResponse]:
        """Send an HTTP request and wait for its answer, whatever its status; a 202 with a Location is polled, durably.

        `content` is sent as JSON, or as it stands where `is_raw_str`. The task fails with a TimeoutError or a
        ConnectionError when there is no answer. A request that was on its way at a crash is sent again.

        Headers are written to the history as they are given; of a credential given as `df.secret("API_TOKEN")` only the
        name of its environment variable is.
        """
        request = make_request(self._machine.encode, method, uri, content, headers, token_source, is_raw_str)
        raw = self._machine.encode(request)
        return self._start_child(HTTP_ORCHESTRATOR, request.label, DurableHttpResponse, None, raw, None, self.version)

    def call_entity(
        self,
        entityId: EntityId | str,  # noqa: N803 - the name that Azure's context has
        operationName: str,  # noqa: N803
        operationInput: Any = None,  # noqa: N803
        expected_type: Any = None,
    ) -> Task[Any]:
        """Run an operation of an entity and wait for its outcome. Entities are named by EntityId or as `@name@key`."""
        machine = self._machine
        entity = entity_named(entityId)
        section = machine.section
        if section is not None:
            section.check_call(entity)
        operation = operation_of(operationName)
        event = ev.EntityOperationCalled(entity, operation, machine.encode(operationInput))
        label = "" if machine.azure else f"Operation '{operation}' of entity {entity}"
        annotation = Any if expected_type is None else expected_type
        task = machine.call(label, annotation, None, lambda attempt, retry_of: machine.decide(event))
        if section is not None:
            section.called(entity, task)
        return task

    def _activity(
        self, name: str | Callable[..., Any], policy: RetryPolicy | None, value: Any, expected_type: Any
    ) -> Task[Any]:
        text = told_name(name, "activity")
        raw = self._machine.encode(value)
        decide = self._machine.decide

        def make(attempt: int, retry_of: int | None) -> int:
            return decide(ev.TaskScheduled(text, raw, attempt, retry_of))

        annotation = self._annotation(name, text, expected_type)
        return self._machine.call(f"Activity function '{text}'", annotation, policy, make)

    def _child(
        self,
        name: str | Callable[..., Any],
        policy: RetryPolicy | None,
        value: Any,
        instance_id: str | None,
        version: str | None,
        expected_type: Any,
    ) -> Task[Any]:
        text = told_name(name, "orchestrator")
        if self._machine.section is not None:
            self._machine.section.check_child()
        raw = self._machine.encode(value)
        version = self.version if version is None else version_of(version)
        given = None if instance_id is None else self._checked_child_id(instance_id)
        annotation, label = self._annotation(name, text, expected_type), f"Orchestrator function '{text}'"
        return self._start_child(text, label, annotation, policy, raw, given, version)

    def _start_child(
        self,
        name: str,
        label: str,
        annotation: Any,
        policy: RetryPolicy | None,
        raw: Raw,
        instance_id: str | None,
        version: str | None,
    ) -> Task[Any]:
        machine, started = self._machine, self._started

        def make(attempt: int, retry_of: int | None) -> int:
            child = instance_id or child_id(started.instance, started.execution, machine.following)
            created = ev.SubOrchestrationInstanceCreated(
                name, child, raw, version, attempt, retry_of, explicit=instance_id is not None
            )
            return machine.decide(created)

        return machine.call(label, annotation, policy, make)

    def _checked_child_id(self, instance_id: str) -> str:
        given = check_instance_id(instance_id)
        own = [self.instance_id, self.parent_instance_id or ""]
        if given.casefold() in [id.casefold() for id in own]:
            raise ValueError(
                "The instance ID of a sub-orchestration must be different than "
                "the instance ID of a parent orchestration."
            )
        return given

    def _annotation(self, name: str | Callable[..., Any], text: str, expected_type: Any) -> Any:
        if expected_type is not None:
            return expected_type
        return self._machine.signatures(text) if isinstance(name, str) else return_annotation(name)

    # ── waits ──────────────────────────────────────────────────────────────────────────────────────────────────

    def create_timer(self, fire_at: datetime | timedelta) -> TimerTask:
        """A durable timer: due at a time (naive ones are UTC) or after a while, however long."""
        return self._machine.timer(due_of(fire_at, "fire_at", self._machine.now))

    def wait_for_external_event(self, name: str, expected_type: Any = None) -> EventTask[Any]:
        """Wait for an event of this name, without case. Events that come early are kept, in order."""
        return self._machine.wait(name_of(name, "an event"), Any if expected_type is None else expected_type)

    def lock_entities(self, entities: Iterable[EntityId | str]) -> LockTask:
        """Wait for the locks of these entities, 1 to 100: `with (yield context.lock_entities([a, b])):`.

        All others' operations and locks wait until the block is left. Inside, only the locked entities may be called,
        one call each at a time; only others may be signaled; sub-orchestrations may not be called.
        """
        return self._machine.lock(entities_to_lock(entities))

    def task_all(
        self, tasks: Iterable[Task[Any]] | None = None, *, activities: Iterable[Task[Any]] | None = None
    ) -> WhenAll:
        """Wait for all; then the results in input order, or the first failure in time. `[]` gives `[]`.

        `activities` is the name that Azure's SDK has for `tasks`.
        """
        return WhenAll(self._machine, _one_of("task_all", tasks, activities))

    def task_any(
        self, tasks: Iterable[Task[Any]] | None = None, *, activities: Iterable[Task[Any]] | None = None
    ) -> WhenAny:
        """Wait for the first; the result is that task, failed or not. The others go on and can be awaited later.

        `[]` gives None. `activities` is the name that Azure's SDK has for `tasks`.
        """
        return WhenAny(self._machine, _one_of("task_any", tasks, activities))

    # ── effects ────────────────────────────────────────────────────────────────────────────────────────────────

    def send_event(self, instance_id: str, name: str, data: Any = None) -> None:
        """Raise an event in another orchestration, without waiting; that it isn't there is no error."""
        event = name_of(name, "an event")
        self._machine.decide(ev.EventSent(check_instance_id(instance_id), event, self._machine.encode(data)))

    def signal_entity(
        self,
        entityId: EntityId | str,  # noqa: N803 - the name that Azure's context has
        operationName: str,  # noqa: N803
        operationInput: Any = None,  # noqa: N803
        at: datetime | timedelta | None = None,
    ) -> None:
        """Have an entity run an operation, without waiting: now, at a time (naive ones are UTC), or after a while."""
        machine = self._machine
        entity = entity_named(entityId)
        if machine.section is not None:
            machine.section.check_signal(entity)
        operation = operation_of(operationName)
        due = None if at is None else due_of(at, "at", machine.now)
        machine.decide(ev.EntityOperationSignaled(entity, operation, machine.encode(operationInput), due))

    def continue_as_new(self, input_: Any, save_events: bool = True) -> None:
        """Start over with `input_` and an empty history when the function ends. Unread events move on by default."""
        self._machine.continue_as_new(self._machine.encode(input_), save_events)

    def set_custom_status(self, status: Any) -> None:
        """Show any JSON value in this instance's status."""
        self._machine.set_custom_status(status)

    # ── facts ──────────────────────────────────────────────────────────────────────────────────────────────────

    def get_input(self, expected_type: Any = None) -> Any:
        """The input, decoded; by `expected_type` where one is given."""
        return decode(self._started.input, Any if expected_type is None else expected_type)

    def new_uuid(self) -> str:
        """A UUID that is the same in every replay, as a string."""
        return str(uuid5(_UUID_SPACE, self._seed()))

    def new_guid(self) -> UUID:
        """A UUID that is the same in every replay."""
        return uuid5(NAMESPACE_URL, self._seed())

    def _seed(self) -> str:
        return f"{self._started.instance}_{self._started.execution}_{self._machine.next_id()}"

    @cached_property
    def logger(self) -> TurnLogger:
        """Logs under `durablecli.orchestrator.NAME`, once: not in replays, and not before the turn is on disk."""
        return TurnLogger(self._machine, self._started.name)

    @property
    def current_utc_datetime(self) -> datetime:
        """The time of this turn, aware, UTC. It stands still within a turn and never goes back."""
        return self._machine.now

    @property
    def is_replaying(self) -> bool:
        """Whether this turn was lived through before."""
        return self._machine.is_replaying

    @property
    def instance_id(self) -> str:
        return self._started.instance

    @property
    def parent_instance_id(self) -> str | None:
        return self._started.parent.instance if self._started.parent else None

    @property
    def version(self) -> str | None:
        """The version that this instance was started with; None when there was none."""
        return self._started.version

    @property
    def custom_status(self) -> Any:
        return self._machine.custom_status

    @property
    def will_continue_as_new(self) -> bool:
        """Whether continue_as_new has been called in this execution."""
        return self._machine.will_continue_as_new

    # ── private names of Azure's SDK that apps use all the same ────────────────────────────────────────────────

    @property
    def _input(self) -> str | None:
        """The input as its JSON text; None where there is none."""
        raw = bytes(self._started.input)
        return None if raw in (b"", b"null") else raw.decode()

    @property
    def _instance_id(self) -> str:
        return self.instance_id

    @property
    def _parent_instance_id(self) -> str | None:
        return self.parent_instance_id

    @property
    def _is_replaying(self) -> bool:
        return self.is_replaying

    @property
    def _custom_status(self) -> Any:
        return self.custom_status

    @_custom_status.setter
    def _custom_status(self, status: Any) -> None:
        self.set_custom_status(status)

    @property
    def function_context(self) -> dict[str, Any]:
        """Azure's bag of host fields: empty here."""
        return {}

    @property
    def histories(self) -> NoReturn:
        raise NotImplementedError("an orchestrator can't read its own history; `durable history` shows it")


def _one_of(
    verb: str, tasks: Iterable[Task[Any]] | None, activities: Iterable[Task[Any]] | None
) -> Iterable[Task[Any]]:
    if (tasks is None) == (activities is None):
        raise TypeError(f"{verb} takes one list of tasks")
    return tasks if tasks is not None else activities or ()
