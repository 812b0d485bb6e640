"""Tasks of the `durabletask` SDK that tasks of this engine complete, and the task that waits for one of the SDK's.

The SDK's `when_all` and `when_any` then work as they are: arrivals complete their children in the recorded order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from durabletask import task as sdk
from durabletask.entities import EntityInstanceId, EntityLock, EntityOperationFailedException

from durablecli.durabletask.sdk_payloads import PayloadCodec
from durablecli.model.failures import Failure
from durablecli.protocol.values import make_failure
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.replay.raised_failures import attach_outcomes
from durablecli.replay.tasks import EventTask, Task, TimerTask, get_value, has_failed, is_done

Describe = Callable[[Failure], tuple[str, Any]]
"""Makes the text and the details of a failure."""


class SourcedTask:
    """A task of the SDK that completes when `source`, a task of the engine, does."""

    tasks: SdkTasks
    source: Task[Any]

    def connect(self, tasks: SdkTasks, source: Task[Any]) -> None:
        """Complete with the source, now if it is complete."""
        self.tasks = tasks
        self.source = source
        if is_done(source):
            self.settle(source)
        else:
            tasks.executor.waiters.add(source, self)

    def on_child_completed(self, child: Task[Any]) -> None:
        """Complete, unless the function has cancelled the task.

        A composite task of the SDK raises if it completes with a cancelled child: the function gets the error.
        """
        if self.is_settled:
            return
        try:
            self.settle(child)
        except Exception as error:  # noqa: BLE001 - it belongs to the orchestrator
            self.tasks.report_error(error)

    @property
    def is_settled(self) -> bool:
        """Whether it is complete; each class says so."""
        raise NotImplementedError

    def settle(self, source: Task[Any]) -> None:
        """Take over the outcome; each class does."""
        raise NotImplementedError


class SdkCall(SourcedTask, sdk.CompletableTask[Any]):
    """A call of an activity, a sub-orchestration or an entity."""

    def __init__(self, describe: Describe, return_type: Any) -> None:
        super().__init__(expected_type=return_type)
        self._describe = describe

    @property
    def is_settled(self) -> bool:
        return self._is_complete

    def settle(self, source: Task[Any]) -> None:
        if not has_failed(source):
            self.complete(self.tasks.codec.decode(get_value(source), self._expected_type))
            return
        failure = get_value(source)
        self._exception = _make_error(*self._describe(failure), failure)
        self._is_complete = True
        self._notify_parent()


class SdkLockRequest(SourcedTask, sdk.CompletableTask[EntityLock]):
    """A request for the locks of entities."""

    def __init__(self, context: sdk.OrchestrationContext) -> None:
        super().__init__()
        self._context = context

    @property
    def is_settled(self) -> bool:
        return self._is_complete

    def settle(self, source: Task[Any]) -> None:
        self.complete(EntityLock(self._context))


class SdkTimer(SourcedTask, sdk.TimerTask):
    """A durable timer, which can be cancelled."""

    @property
    def is_settled(self) -> bool:
        return self._is_complete

    def settle(self, source: Task[Any]) -> None:
        self.complete(None)


class SdkEventWait(SourcedTask, sdk.CancellableTask[Any]):
    """A wait for an external event. It takes one also if it has lost a race, unless it is cancelled."""

    @property
    def is_settled(self) -> bool:
        return self._is_complete

    def settle(self, source: Task[Any]) -> None:
        self.complete(self.tasks.codec.decode(get_value(source), self._expected_type))


class SdkTasks:
    """Makes the SDK's tasks of one execution."""

    def __init__(self, executor: OrchestrationExecutor, codec: PayloadCodec) -> None:
        self.executor = executor
        self.codec = codec
        self._wait: SdkWait | None = None

    def make_call(self, source: Task[Any], describe: Describe, return_type: Any) -> SdkCall:
        """Make the task for a call of which `source` is the engine's."""
        call = SdkCall(describe, return_type)
        call.connect(self, source)
        return call

    def make_lock_request(self, source: Task[Any], context: sdk.OrchestrationContext) -> SdkLockRequest:
        """Make the task for a request for locks."""
        request = SdkLockRequest(context)
        request.connect(self, source)
        return request

    def make_timer(self, source: TimerTask) -> SdkTimer:
        """Make the task for a timer."""
        timer = SdkTimer()
        timer.set_cancel_handler(source.cancel)
        timer.connect(self, source)
        return timer

    def make_event_wait(self, source: EventTask[Any], data_type: Any) -> SdkEventWait:
        """Make the task for a wait."""
        wait = SdkEventWait(expected_type=data_type)
        wait.set_cancel_handler(lambda: self.executor.deactivate(source))
        wait.connect(self, source)
        return wait

    def wait_for(self, awaited: sdk.Task[Any]) -> SdkWait:
        """Make the engine's task for one that the function has yielded."""
        wait = SdkWait(self.executor, awaited)
        self._wait = None if is_done(wait) else wait
        return wait

    def report_error(self, error: Exception) -> None:
        """Raise an error where the function waits."""
        if self._wait is not None:
            self._wait.break_off(error)

    def stop_waiting(self) -> None:
        """Forget the task that the function waited for."""
        if self._wait is not None:
            self._wait.detach()
            self._wait = None


def describe_call(prefix: str) -> Describe:
    """Return what makes the text and the details of a failed call, whose text begins with `prefix`."""
    return lambda failure: (f"{prefix} failed: {failure.message}", make_failure(failure))


def describe_operation(entity: EntityInstanceId, operation: str) -> Describe:
    """Return what makes the text and the details of a failed operation of an entity."""

    def describe(failure: Failure) -> tuple[str, Any]:
        details = make_failure(failure)
        assert details is not None
        error = EntityOperationFailedException(entity, operation, details)
        return str(error), error

    return describe


class SdkWait(Task[Any]):
    """The engine's task for one of the SDK's that an orchestrator has yielded: complete when that is."""

    __slots__ = ("_awaited", "_broken_by")

    def __init__(self, executor: OrchestrationExecutor, awaited: sdk.Task[Any]) -> None:
        super().__init__(executor)
        self._awaited = awaited
        self._broken_by: Exception | None = None
        if isinstance(awaited, sdk.CompositeTask):
            _complete_empty(awaited)
            for source in _list_sources(awaited):
                source.is_joined = True
        if awaited.is_complete:
            self.finish()
        else:
            _Observer(awaited, self)

    def break_off(self, error: Exception) -> None:
        """Fail with an error of the SDK's tasks, in place of their outcome."""
        if not self._done:
            self._broken_by = error.with_traceback(None)  # it refers to frames that hold this task
            self._fail()

    def detach(self) -> None:
        """Have no task call this one any more, or another: parents and children refer to each other until then."""
        if not self._done:
            _detach(self._awaited)

    def finish(self) -> None:
        """Complete with the outcome of the SDK's task."""
        if self._awaited.is_failed:
            self.outcomes = tuple(sorted({n for source in _list_sources(self._awaited) for n in source.outcomes}))
            self._fail()
            return
        try:
            value = self._awaited.get_result()
        except Exception:  # noqa: BLE001 - the task is cancelled, or of a class of the author's
            self._fail()
        else:
            self._complete(value)

    def _make_error(self) -> BaseException:
        if self._broken_by is not None:
            return self._broken_by
        if self._awaited.is_failed:
            # A copy, for its traceback will refer to frames that hold the task, which holds the original.
            error = _copy_error(self._awaited.get_exception())
            attach_outcomes(error, self.outcomes)
            return error
        try:
            self._awaited.get_result()
        except Exception as error:  # noqa: BLE001 - as in `finish`
            return error
        raise AssertionError("a task of the SDK that has failed has a result")


class _Observer(sdk.CompositeTask[None]):
    """Tells the engine's task that the SDK's is complete."""

    def __init__(self, awaited: sdk.Task[Any], wait: SdkWait) -> None:
        self._wait = wait
        super().__init__([awaited])

    def on_child_completed(self, task: sdk.Task[Any]) -> None:
        self._pending_children.clear()
        self._is_complete = True
        self._wait.finish()


def _make_error(message: str, details: Any, failure: Failure | None) -> sdk.TaskFailedError:
    """Make an exception. Its failure is recorded again as the cause of whatever the exception ends in."""
    error = sdk.TaskFailedError(message, details)
    vars(error)["failure"] = failure
    return error


def _copy_error(error: Exception) -> Exception:
    if type(error) is not sdk.TaskFailedError:
        return error
    return _make_error(str(error), error._failure_details, vars(error).get("failure"))


def _complete_empty(composite: sdk.CompositeTask[Any]) -> None:
    """Complete a composite without tasks, which in the SDK waits forever: `when_all([])` with [], `when_any([])` with
    None."""
    if not composite.get_tasks() and not composite.is_complete:
        composite._result = [] if isinstance(composite, sdk.WhenAllTask) else None
        composite._is_complete = True


def _detach(task: sdk.Task[Any]) -> None:
    task._parents.clear()
    if isinstance(task, sdk.CompositeTask):
        task._pending_children.clear()
        for child in task.get_tasks():
            _detach(child)


def _list_sources(awaited: sdk.Task[Any]) -> Iterator[Task[Any]]:
    """Yield the engine's tasks below a task of the SDK."""
    if isinstance(awaited, sdk.CompositeTask):
        for child in awaited.get_tasks():
            yield from _list_sources(child)
    elif isinstance(awaited, SourcedTask):
        yield awaited.source
