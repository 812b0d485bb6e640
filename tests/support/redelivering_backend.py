"""The backend in memory, with what it lacks of an engine: what a lost worker had goes to another one, with its tags."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from durabletask.testing.in_memory_backend import ActivityWorkItem, InMemoryOrchestrationBackend

from durablecli.protocol.generated import pb
from tests.support.foreign_engine import ForeignEngine
from tests.support.ports import find_free_port


class RedeliveringBackend(InMemoryOrchestrationBackend):
    """Remembers what each stream was handed, and hands out again what hasn't been answered when the stream ends."""

    def __init__(self, port: int) -> None:
        super().__init__(port=port)
        self._answered: set[Any] = set()
        self._tags: dict[tuple[str, int], dict[str, str]] = {}
        self.redelivered = 0

    def GetWorkItems(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802 - the name of the call
        handed_out: list[Any] = []
        try:
            for item in super().GetWorkItems(request, context):
                if item.HasField("activityRequest"):
                    key = item.activityRequest.orchestrationInstance.instanceId, item.activityRequest.taskId
                    item.activityRequest.tags.update(self._tags.get(key, {}))
                    self._answered.discard(key)
                handed_out.append(item)
                yield item
        finally:
            for item in handed_out:
                self._give_back(item)

    def _give_back(self, item: Any) -> None:
        token = item.completionToken
        with self._lock:
            if item.HasField("orchestratorRequest"):
                if (instance := item.orchestratorRequest.instanceId) in self._orchestration_in_flight:
                    found = self._instances.get(instance)
                    self.redelivered += found is not None and str(found.completion_token) == token
                self.AbandonTaskOrchestratorWorkItem(pb.AbandonOrchestrationTaskRequest(completionToken=token), None)
            elif item.HasField("activityRequest"):
                request = item.activityRequest
                instance, task = request.orchestrationInstance.instanceId, request.taskId
                if (instance, task) not in self._answered:
                    self.redelivered += 1
                    given = request.input.value if request.HasField("input") else None
                    self._activity_queue.append(ActivityWorkItem(instance, request.name, task, given, int(token)))
                    self._work_available.set()
            else:
                self.AbandonTaskEntityWorkItem(pb.AbandonEntityTaskRequest(completionToken=token), None)

    def CompleteActivityTask(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name of the call
        with self._lock:
            key = request.instanceId, request.taskId
            if key in self._answered:  # by another worker
                return pb.CompleteTaskResponse()
            self._answered.add(key)
            return super().CompleteActivityTask(request, context)

    def AbandonTaskActivityWorkItem(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name of the call
        return pb.AbandonActivityTaskResponse()  # the end of the stream gives it back

    def _process_schedule_task_action(self, instance: Any, action: Any) -> None:
        self._tags[instance.instance_id, action.id] = dict(action.scheduleTask.tags)
        super()._process_schedule_task_action(instance, action)


@contextmanager
def redelivering_backend(port: int | None = None) -> Iterator[tuple[ForeignEngine, RedeliveringBackend]]:
    """Such a backend, and how tests reach it."""
    port = port or find_free_port()
    backend = RedeliveringBackend(port)
    backend.start()
    engine = ForeignEngine(port)
    try:
        yield engine, backend
    finally:
        engine.close()
        backend.stop()
