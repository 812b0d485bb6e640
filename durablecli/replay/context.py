"""What an orchestrator function is called with: all that it can do, and nothing that differs from replay to replay.

Names and signatures are those of `azure.durable_functions.DurableOrchestrationContext`; functions are named by string
or by the decorated function itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal, NoReturn
from uuid import NAMESPACE_OID, NAMESPACE_URL, UUID, uuid5

from durablecli.model import events as ev
from durablecli.model.activity_options import check_retry, make_call_options
from durablecli.model.annotations import check_expected_type
from durablecli.model.boxed_text import unbox
from durablecli.model.entity_id import EntityId
from durablecli.model.http_messages import DurableHttpResponse, make_request
from durablecli.model.ids import check_instance_id
from durablecli.model.payloads import decode
from durablecli.model.retries import RetryPolicy
from durablecli.model.schedule_options import read_scheduled_time
from durablecli.model.time_spans import Duration
from durablecli.model.validation import check_due_time, check_label, check_name, check_operation_name
from durablecli.replay.call_scheduler import CallScheduler
from durablecli.replay.composite_tasks import WhenAll, WhenAny
from durablecli.replay.critical_section import LockTask, to_entity_id_text, to_lock_order
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.replay.function_marks import INPUT_TYPE_ATTRIBUTE
from durablecli.replay.tasks import CallTask, EventTask, Task, TimerTask
from durablecli.replay.turn_log import TurnLogger

Function = str | Callable[..., Any]
"""A function to call: decorated, or its name."""
_UUID_NAMESPACE = uuid5(NAMESPACE_OID, "9e952958-5e33-4daf-827f-2fa12937b875")


def _read_scheduled_time(context: DurableOrchestrationContext) -> datetime | None:
    """The due time for which a schedule has started this run, or the time of its trigger; None if none has."""
    return read_scheduled_time(context._started.tags)


class DurableOrchestrationContext:
    """The context of one orchestration. Each call schedules a task at once; yield (or await) it for the result."""

    def __init__(self, executor: OrchestrationExecutor) -> None:
        self._executor = executor
        self._started = executor.started
        self._calls = CallScheduler(executor)

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────

    # Without a first argument `name=` is the function, as in Azure's SDK; else it names the call.

    def call_activity(
        self,
        function: Function | None = None,
        /,
        input_: Any = None,
        expected_type: Any = None,
        *,
        name: Function | None = None,
        retry: RetryPolicy | Literal[False] | None = None,
        timeout: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        priority: int = 0,
    ) -> CallTask[Any]:
        """Schedule an activity. The result is decoded by `expected_type`, else by the activity's return annotation.

        `name` is a name for this call, such as `invoice 17`, which the status and the history show. `retry`, `timeout`
        and `heartbeat_timeout` replace those of the activity; `retry=False` switches its policy off. Of waiting calls,
        those with the highest `priority` begin first.
        """
        if retry is not None:
            check_retry(retry)
        options = None
        if timeout is not None or heartbeat_timeout is not None or priority:
            options = make_call_options(timeout, heartbeat_timeout, priority)
        if function is not None and name is None:
            return self._calls.call_activity(function, retry, input_, expected_type, options=options)
        function, label = _split_name("call_activity", function, name)
        return self._calls.call_activity(function, retry, input_, expected_type, label, options=options)

    def call_activity_with_retry(
        self,
        function: Function | None = None,
        /,
        retry_options: RetryPolicy | None = None,
        input_: Any = None,
        expected_type: Any = None,
        *,
        name: Function | None = None,
        timeout: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        priority: int = 0,
    ) -> CallTask[Any]:
        """Schedule an activity with retries, by `retry_options`. The rest as in call_activity."""
        policy = _check_policy("call_activity_with_retry", retry_options)
        function, label = _split_name("call_activity_with_retry", function, name)
        options = make_call_options(timeout, heartbeat_timeout, priority)
        return self._calls.call_activity(function, policy, input_, expected_type, label, options=options)

    def call_sub_orchestrator(
        self,
        function: Function | None = None,
        /,
        input_: Any = None,
        instance_id: str | None = None,
        version: str | None = None,
        expected_type: Any = None,
        *,
        name: Function | None = None,
    ) -> CallTask[Any]:
        """Start another orchestration and wait for its result. The default for `version` is this one's.

        `name` is a name for this call, as in call_activity.
        """
        function, label = _split_name("call_sub_orchestrator", function, name)
        return self._calls.call_sub_orchestrator(function, None, input_, instance_id, version, expected_type, label)

    def call_sub_orchestrator_with_retry(
        self,
        function: Function | None = None,
        /,
        retry_options: RetryPolicy | None = None,
        input_: Any = None,
        instance_id: str | None = None,
        version: str | None = None,
        expected_type: Any = None,
        *,
        name: Function | None = None,
    ) -> CallTask[Any]:
        """Call a sub-orchestrator with retries; each attempt is a new instance unless an id is given."""
        policy = _check_policy("call_sub_orchestrator_with_retry", retry_options)
        function, label = _split_name("call_sub_orchestrator_with_retry", function, name)
        return self._calls.call_sub_orchestrator(function, policy, input_, instance_id, version, expected_type, label)

    def call_http(
        self,
        method: str,
        uri: str,
        content: Any = None,
        headers: Mapping[str, Any] | None = None,
        token_source: Any = None,
        is_raw_str: bool = False,
    ) -> CallTask[DurableHttpResponse]:
        """Send an HTTP request and wait for its response, whatever its status; a 202 with a Location is polled durably.

        `content` is sent as JSON, or unchanged with `is_raw_str`. The task fails with a TimeoutError or a
        ConnectionError if there is no response. A request that was under way at a crash is sent again.

        Headers are written to the history in clear, except credentials: of `df.secret("API_TOKEN")` only the name of
        the environment variable is written.
        """
        request = make_request(self._executor.encode, method, uri, content, headers, token_source, is_raw_str)
        return self._calls.call_http(request)

    def call_entity(
        self,
        entityId: EntityId | str,  # noqa: N803 - the name that Azure's context has
        operationName: str,  # noqa: N803
        operationInput: Any = None,  # noqa: N803
        expected_type: Any = None,
    ) -> CallTask[Any]:
        """Call an operation of an entity and wait for its result. Name the entity by EntityId or as `@name@key`."""
        return self._calls.call_entity(entityId, operationName, operationInput, expected_type)

    # ── waits ────────────────────────────────────────────────────────────────────────────────────────────────────

    def create_timer(self, fire_at: datetime | timedelta) -> TimerTask:
        """Start a durable timer that fires at a time (naive ones are UTC) or after a duration of any length."""
        return self._executor.create_timer(check_due_time(fire_at, "fire_at", self._executor.now))

    def wait_for_external_event(self, name: str, expected_type: Any = None) -> EventTask[Any]:
        """Wait for an event of this name, ignoring case. Events that arrive early are kept, in order."""
        return self._executor.wait_for_event(
            check_name(name, "an event"), Any if check_expected_type(expected_type) is None else expected_type
        )

    def lock_entities(self, entities: Iterable[EntityId | str]) -> LockTask:
        """Wait for the locks of these entities, 1 to 100: `with (yield context.lock_entities([a, b])):`.

        Operations and locks of others wait until the block ends. Inside it only the locked entities can be called, one
        call each at a time, and only others can be signaled; sub-orchestrations can't be called.
        """
        return self._executor.request_locks(to_lock_order(entities))

    def task_all(
        self,
        tasks: Iterable[Task[Any]] | None = None,
        *,
        activities: Iterable[Task[Any]] | None = None,
        fail_fast: bool = False,
    ) -> WhenAll:
        """Wait for all tasks. The result is a list in input order; if any failed, the first failure in time is raised:
        with `fail_fast` at once, and open calls and timers among the tasks are cancelled."""
        return WhenAll(self._executor, _select_tasks("task_all", tasks, activities), fail_fast=fail_fast)

    def task_any(
        self, tasks: Iterable[Task[Any]] | None = None, *, activities: Iterable[Task[Any]] | None = None
    ) -> WhenAny:
        """Wait for the first task; the result is that task, failed or not. The others can be awaited later.

        `[]` gives None. `activities` is the name that Azure's SDK has for `tasks`, as in task_all."""
        return WhenAny(self._executor, _select_tasks("task_any", tasks, activities))

    # ── effects ──────────────────────────────────────────────────────────────────────────────────────────────────

    def send_event(self, instance_id: str, name: str, data: Any = None) -> None:
        """Raise an event in another orchestration, without waiting. It is no error if that doesn't exist."""
        event = check_name(name, "an event")
        self._executor.decide(ev.EventSent(check_instance_id(instance_id), event, self._executor.encode(data)))

    def signal_entity(
        self,
        entityId: EntityId | str,  # noqa: N803 - the name that Azure's context has
        operationName: str,  # noqa: N803
        operationInput: Any = None,  # noqa: N803
        at: datetime | timedelta | None = None,
    ) -> None:
        """Signal an entity, without waiting: now, at a time (naive ones are UTC) or after a duration."""
        executor = self._executor
        entity = to_entity_id_text(entityId)
        if executor.section is not None:
            executor.section.check_signal(entity)
        operation = check_operation_name(operationName)
        due = None if at is None else check_due_time(at, "at", executor.now)
        executor.decide(ev.EntityOperationSignaled(entity, operation, executor.encode(operationInput), due))

    def continue_as_new(self, input_: Any, save_events: bool = True, *, version: str | None = None) -> None:
        """Restart with `input_` and an empty history when the function returns. By default unread events are kept.

        The next execution has this version, or that of the current one.
        """
        if version is not None and not isinstance(version, str):
            raise TypeError(f"a version is a string, not {type(version).__name__}")
        self._executor.continue_as_new(self._executor.encode(input_), save_events, version)

    def set_custom_status(self, status: Any) -> None:
        """Set the custom status, any JSON value, that this instance's status shows."""
        self._executor.set_custom_status(status)

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Report how much is done, of `total` if that is known. The status shows it while an engine runs.

        It is shown once the turn is on disk, and never recorded: what a replay reports is dropped.
        """
        self._executor.report_progress(done, total, message)

    # ── the instance and the turn ────────────────────────────────────────────────────────────────────────────────

    def get_input(self, expected_type: Any = None) -> Any:
        """Return the input, decoded by `expected_type` if given."""
        if expected_type is None:
            expected_type = getattr(self._executor.function, INPUT_TYPE_ATTRIBUTE, Any)
        return decode(self._started.input, check_expected_type(expected_type))

    def new_uuid(self) -> str:
        """Make a UUID that is the same in every replay, as a string."""
        return str(uuid5(_UUID_NAMESPACE, self._next_uuid_name()))

    def new_guid(self) -> UUID:
        """Make a UUID that is the same in every replay."""
        return uuid5(NAMESPACE_URL, self._next_uuid_name())

    def _next_uuid_name(self) -> str:
        return f"{self._started.instance}_{self._started.execution}_{self._executor.next_id()}"

    @cached_property
    def logger(self) -> TurnLogger:
        """The logger `durablecli.orchestrator.NAME`. A line appears once, when its turn is on disk."""
        return TurnLogger(self._executor, self._started.name)

    @property
    def current_utc_datetime(self) -> datetime:
        """The time of this turn, aware, in UTC. It is constant within a turn and never decreases."""
        return self._executor.now

    @property
    def is_replaying(self) -> bool:
        """Whether this turn is replayed from the history."""
        return self._executor.is_replaying

    @property
    def instance_id(self) -> str:
        return self._started.instance

    @property
    def parent_instance_id(self) -> str | None:
        return self._started.parent.instance if self._started.parent else None

    @property
    def version(self) -> str | None:
        """The version with which this instance was started; None if there was none."""
        return self._started.version

    @property
    def custom_status(self) -> Any:
        return self._executor.custom_status

    @property
    def will_continue_as_new(self) -> bool:
        """Whether continue_as_new has been called in this execution."""
        return self._executor.will_continue_as_new

    scheduled_time = property(_read_scheduled_time)
    # ── private names of Azure's SDK that apps use ───────────────────────────────────────────────────────────────

    @property
    def _input(self) -> str | None:
        """The input as JSON text; None if there is none."""
        raw = bytes(unbox(self._started.input))
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
        """Azure's host fields: empty here."""
        return {}

    @property
    def histories(self) -> NoReturn:
        raise NotImplementedError("an orchestrator can't read its own history; show it with `durable history`")


def get_executor(context: DurableOrchestrationContext) -> OrchestrationExecutor:
    """Return what runs the orchestration of a context: for contexts in the style of another SDK."""
    return context._executor


def _split_name(verb: str, function: Function | None, name: Function | None) -> tuple[Function, str | None]:
    """Return the function to call, and the name of the call."""
    if function is not None:
        return function, check_label(name)
    if name is None:
        raise TypeError(f"{verb} needs a function, or the name of one, as its first argument")
    return name, None


def _check_policy(verb: str, policy: RetryPolicy | None) -> RetryPolicy:
    if policy is None:
        raise TypeError(f"{verb} needs retry_options")
    return policy


def _select_tasks(
    verb: str, tasks: Iterable[Task[Any]] | None, activities: Iterable[Task[Any]] | None
) -> Iterable[Task[Any]]:
    if (tasks is None) == (activities is None):
        raise TypeError(f"{verb} takes one list of tasks")
    return tasks if tasks is not None else activities or ()
