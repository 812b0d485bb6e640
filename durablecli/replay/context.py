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

from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId
from durablecli.model.http_messages import DurableHttpResponse, make_request
from durablecli.model.ids import check_instance_id
from durablecli.model.payloads import decode
from durablecli.model.retries import RetryPolicy
from durablecli.model.validation import check_due_time, check_name, check_operation_name
from durablecli.replay.call_scheduler import CallScheduler
from durablecli.replay.composite_tasks import WhenAll, WhenAny
from durablecli.replay.critical_section import LockTask, to_entity_id_text, to_lock_order
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.replay.tasks import EventTask, Task, TimerTask
from durablecli.replay.turn_log import TurnLogger

_UUID_NAMESPACE = uuid5(NAMESPACE_OID, "9e952958-5e33-4daf-827f-2fa12937b875")


class DurableOrchestrationContext:
    """The orchestration's window to the world. Every call makes a task at once; yield it for the result."""

    def __init__(self, executor: OrchestrationExecutor) -> None:
        self._executor = executor
        self._started = executor.started
        self._calls = CallScheduler(executor)

    # ── calls ──────────────────────────────────────────────────────────────────────────────────────────────────

    def call_activity(self, name: str | Callable[..., Any], input_: Any = None, expected_type: Any = None) -> Task[Any]:
        """Schedule an activity. The result is decoded by `expected_type`, else by the activity's return annotation."""
        return self._calls.call_activity(name, None, input_, expected_type)

    def call_activity_with_retry(
        self,
        name: str | Callable[..., Any],
        retry_options: RetryPolicy,
        input_: Any = None,
        expected_type: Any = None,
    ) -> Task[Any]:
        """Schedule an activity that is tried again after a failure, as `retry_options` says."""
        return self._calls.call_activity(name, retry_options, input_, expected_type)

    def call_sub_orchestrator(
        self,
        name: str | Callable[..., Any],
        input_: Any = None,
        instance_id: str | None = None,
        version: str | None = None,
        expected_type: Any = None,
    ) -> Task[Any]:
        """Start another orchestration and wait for its end. Without `version` it gets this one's."""
        return self._calls.call_sub_orchestrator(name, None, input_, instance_id, version, expected_type)

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
        return self._calls.call_sub_orchestrator(name, retry_options, input_, instance_id, version, expected_type)

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
        request = make_request(self._executor.encode, method, uri, content, headers, token_source, is_raw_str)
        return self._calls.call_http(request)

    def call_entity(
        self,
        entityId: EntityId | str,  # noqa: N803 - the name that Azure's context has
        operationName: str,  # noqa: N803
        operationInput: Any = None,  # noqa: N803
        expected_type: Any = None,
    ) -> Task[Any]:
        """Run an operation of an entity and wait for its outcome. Entities are named by EntityId or as `@name@key`."""
        return self._calls.call_entity(entityId, operationName, operationInput, expected_type)

    # ── waits ──────────────────────────────────────────────────────────────────────────────────────────────────

    def create_timer(self, fire_at: datetime | timedelta) -> TimerTask:
        """A durable timer: due at a time (naive ones are UTC) or after a while, however long."""
        return self._executor.create_timer(check_due_time(fire_at, "fire_at", self._executor.now))

    def wait_for_external_event(self, name: str, expected_type: Any = None) -> EventTask[Any]:
        """Wait for an event of this name, without case. Events that come early are kept, in order."""
        return self._executor.wait_for_event(
            check_name(name, "an event"), Any if expected_type is None else expected_type
        )

    def lock_entities(self, entities: Iterable[EntityId | str]) -> LockTask:
        """Wait for the locks of these entities, 1 to 100: `with (yield context.lock_entities([a, b])):`.

        All others' operations and locks wait until the block is left. Inside, only the locked entities may be called,
        one call each at a time; only others may be signaled; sub-orchestrations may not be called.
        """
        return self._executor.request_locks(to_lock_order(entities))

    def task_all(
        self, tasks: Iterable[Task[Any]] | None = None, *, activities: Iterable[Task[Any]] | None = None
    ) -> WhenAll:
        """Wait for all; then the results in input order, or the first failure in time. `[]` gives `[]`.

        `activities` is the name that Azure's SDK has for `tasks`.
        """
        return WhenAll(self._executor, _select_tasks("task_all", tasks, activities))

    def task_any(
        self, tasks: Iterable[Task[Any]] | None = None, *, activities: Iterable[Task[Any]] | None = None
    ) -> WhenAny:
        """Wait for the first; the result is that task, failed or not. The others go on and can be awaited later.

        `[]` gives None. `activities` is the name that Azure's SDK has for `tasks`.
        """
        return WhenAny(self._executor, _select_tasks("task_any", tasks, activities))

    # ── effects ────────────────────────────────────────────────────────────────────────────────────────────────

    def send_event(self, instance_id: str, name: str, data: Any = None) -> None:
        """Raise an event in another orchestration, without waiting; that it isn't there is no error."""
        event = check_name(name, "an event")
        self._executor.decide(ev.EventSent(check_instance_id(instance_id), event, self._executor.encode(data)))

    def signal_entity(
        self,
        entityId: EntityId | str,  # noqa: N803 - the name that Azure's context has
        operationName: str,  # noqa: N803
        operationInput: Any = None,  # noqa: N803
        at: datetime | timedelta | None = None,
    ) -> None:
        """Have an entity run an operation, without waiting: now, at a time (naive ones are UTC), or after a while."""
        executor = self._executor
        entity = to_entity_id_text(entityId)
        if executor.section is not None:
            executor.section.check_signal(entity)
        operation = check_operation_name(operationName)
        due = None if at is None else check_due_time(at, "at", executor.now)
        executor.decide(ev.EntityOperationSignaled(entity, operation, executor.encode(operationInput), due))

    def continue_as_new(self, input_: Any, save_events: bool = True) -> None:
        """Start over with `input_` and an empty history when the function ends. Unread events move on by default."""
        self._executor.continue_as_new(self._executor.encode(input_), save_events)

    def set_custom_status(self, status: Any) -> None:
        """Show any JSON value in this instance's status."""
        self._executor.set_custom_status(status)

    # ── facts ──────────────────────────────────────────────────────────────────────────────────────────────────

    def get_input(self, expected_type: Any = None) -> Any:
        """The input, decoded; by `expected_type` where one is given."""
        return decode(self._started.input, Any if expected_type is None else expected_type)

    def new_uuid(self) -> str:
        """A UUID that is the same in every replay, as a string."""
        return str(uuid5(_UUID_NAMESPACE, self._next_uuid_name()))

    def new_guid(self) -> UUID:
        """A UUID that is the same in every replay."""
        return uuid5(NAMESPACE_URL, self._next_uuid_name())

    def _next_uuid_name(self) -> str:
        return f"{self._started.instance}_{self._started.execution}_{self._executor.next_id()}"

    @cached_property
    def logger(self) -> TurnLogger:
        """Logs under `durablecli.orchestrator.NAME`, once: not in replays, and not before the turn is on disk."""
        return TurnLogger(self._executor, self._started.name)

    @property
    def current_utc_datetime(self) -> datetime:
        """The time of this turn, aware, UTC. It stands still within a turn and never goes back."""
        return self._executor.now

    @property
    def is_replaying(self) -> bool:
        """Whether this turn was lived through before."""
        return self._executor.is_replaying

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
        return self._executor.custom_status

    @property
    def will_continue_as_new(self) -> bool:
        """Whether continue_as_new has been called in this execution."""
        return self._executor.will_continue_as_new

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


def _select_tasks(
    verb: str, tasks: Iterable[Task[Any]] | None, activities: Iterable[Task[Any]] | None
) -> Iterable[Task[Any]]:
    if (tasks is None) == (activities is None):
        raise TypeError(f"{verb} takes one list of tasks")
    return tasks if tasks is not None else activities or ()
