"""A hub as the Python SDK sees it: a client, and workers that run functions."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from durabletask import task
from durabletask.client import OrchestrationState, OrchestrationStatus, TaskHubGrpcClient
from durabletask.entities import EntityInstanceId
from durabletask.worker import TaskHubGrpcWorker, VersioningOptions, WorkItemFilters

from tests.support.waiting import wait_until

Context = task.OrchestrationContext
Turns = Generator[task.Task[Any], Any, Any]

SECONDS = 20
QUIET = logging.getLogger("tests.sdk")
QUIET.setLevel(logging.ERROR)


class SdkHub:
    """The client of one backend, with shorthands for what most tests do."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client = TaskHubGrpcClient(host_address=address, logger=QUIET)
        self._stops: list[threading.Thread] = []

    def __enter__(self) -> SdkHub:
        return self

    def __exit__(self, *error: object) -> None:
        for thread in self._stops:
            thread.join()
        self.client.close()

    # Workers

    def make_worker(self, *functions: Callable[..., Any] | type, **options: Any) -> TaskHubGrpcWorker:
        """A worker that knows the functions, not started: generator functions and those named `orchestrate…` are
        orchestrators, classes and functions named `entity…` are entities, all others are activities."""
        worker = TaskHubGrpcWorker(host_address=self.address, logger=QUIET, **options)
        for function in functions:
            name = function.__name__
            if isinstance(function, type) or name.startswith("entity"):
                worker.add_entity(function)
            elif inspect.isgeneratorfunction(function) or name.startswith("orchestrate"):
                worker.add_orchestrator(function)
            else:
                worker.add_activity(function)
        return worker

    @contextmanager
    def worker(
        self,
        *functions: Callable[..., Any] | type,
        versioning: VersioningOptions | None = None,
        filters: WorkItemFilters | bool = False,
        **options: Any,
    ) -> Iterator[TaskHubGrpcWorker]:
        """A running worker; `filters=True` tells the backend what it has registered."""
        worker = self.make_worker(*functions, **options)
        if versioning is not None:
            worker.use_versioning(versioning)
        if filters is True:
            worker.use_work_item_filters()
        elif filters:
            worker.use_work_item_filters(filters)
        worker.start()
        try:
            yield worker
        finally:  # it closes its stream at once, and then waits for up to a second for its own threads
            thread = threading.Thread(target=worker.stop)
            thread.start()
            self._stops.append(thread)

    # Instances

    def start(self, orchestrator: Callable[..., Any] | str, input: Any = None, **options: Any) -> str:
        return self.client.schedule_new_orchestration(orchestrator, input=input, **options)

    def wait(self, instance: str, seconds: float = SECONDS) -> OrchestrationState:
        """Its state when it has ended."""
        state = self.client.wait_for_orchestration_completion(instance, timeout=seconds)
        assert state is not None, f"{instance} doesn't exist"
        return state

    def run(self, orchestrator: Callable[..., Any] | str, input: Any = None, **options: Any) -> Any:
        """The output of an instance that must succeed."""
        state = self.wait(self.start(orchestrator, input, **options))
        assert state.runtime_status is OrchestrationStatus.COMPLETED, state
        return state.get_output()

    def state(self, instance: str) -> OrchestrationState:
        state = self.client.get_orchestration_state(instance)
        assert state is not None, f"{instance} doesn't exist"
        return state

    def wait_for_status(self, instance: str, status: OrchestrationStatus) -> OrchestrationState:
        return self.wait_for_state(instance, lambda state: state.runtime_status is status, str(status))

    def wait_for_custom_status(self, instance: str, value: Any) -> OrchestrationState:
        return self.wait_for_state(instance, lambda state: state.get_custom_status() == value, f"status {value!r}")

    def wait_for_state(
        self, instance: str, condition: Callable[[OrchestrationState], bool], description: str
    ) -> OrchestrationState:
        """Ask until the state meets the condition."""

        def look() -> OrchestrationState | None:
            state = self.state(instance)
            return state if condition(state) else None

        found: OrchestrationState = wait_until(look, SECONDS, f"{description} of {instance}", 0.02)
        return found

    # Entities

    def entity_state(self, entity: EntityInstanceId) -> Any:
        """The decoded state, None without one."""
        found = self.client.get_entity(entity)
        return found.get_typed_state() if found is not None and found.get_state() else None

    def wait_for_entity_state(self, entity: EntityInstanceId, value: Any) -> None:
        wait_until(lambda: self.entity_state(entity) == value, SECONDS, f"state {value!r} of {entity}", 0.02)


def new_key() -> str:
    """A key that no other test uses."""
    return uuid4().hex


def entity_id(entity: type | str) -> EntityInstanceId:
    """An entity of this class that no other test uses."""
    return EntityInstanceId(entity if isinstance(entity, str) else entity.__name__, new_key())
