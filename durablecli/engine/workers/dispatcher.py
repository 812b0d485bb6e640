"""All the executors, and what runs in them: from a committed decision to the outcome that answers it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from durablecli.app import Registry
from durablecli.config import ConcurrencyConfig
from durablecli.engine.commit_builder import BatchJob, Job
from durablecli.engine.workers.activity import Call, Outcome
from durablecli.engine.workers.activity_context import Cancellation
from durablecli.engine.workers.entity_batch import Batch, BatchOutcome
from durablecli.engine.workers.thread_pool import Executor, Gate, Key, Report, Threads, Work
from durablecli.model.entity_id import parse_entity_name
from durablecli.model.payloads import PAYLOAD_LIMIT

_ENTITY = "entity"


class Crew:
    """Starts each owed activity once. What is in flight isn't started a second time, whoever asks.

    Batches of entities have executors of their own: neither they nor activities ever wait for the others.
    """

    def __init__(
        self,
        registry: Registry,
        report: Report,
        limits: ConcurrencyConfig,
        targets: Sequence[str] = (),
        base: str = ".",
        payload_limit: int = PAYLOAD_LIMIT,
        make: Callable[[str], Executor] | None = None,
        folder: str = ".",
    ) -> None:
        self._registry = registry
        self._payload_limit = payload_limit
        self._report = report
        self._limits = limits
        self._targets = targets
        self._base = base
        self._folder = folder
        self._make = make or self._made
        self._executors: dict[str, Executor] = {}
        self._gate = Gate()
        self._calls: dict[Key, Work] = {}
        self._by_execution: dict[tuple[str, str], dict[Key, Work]] = {}
        self._again: dict[Key, Job] = {}
        """Work that is needed again while an earlier call of it, whose outcome doesn't count, hasn't come back yet."""
        self._dropped = 0
        self._held_back = False

    @property
    def running(self) -> int:
        """How many calls and batches haven't come back."""
        return 0 if self._held_back and not self._begun() else len(self._calls)

    @property
    def awaited(self) -> int:
        """How many of them have an outcome that counts."""
        return max(0, self.running - self._dropped + len(self._again))

    def _begun(self) -> bool:
        return any(executor.busy for executor in self._executors.values())

    @property
    def executors(self) -> Mapping[str, Executor]:
        """Those that were needed so far: thread, async, process, entity."""
        return self._executors

    def began(self) -> dict[Key, float]:
        """The calls and batches that run, with the monotonic time at which each began; the others are queued."""
        found: dict[Key, float] = {}
        for executor in self._executors.values():
            found |= executor.running()
        return found

    def calls(self) -> Iterator[Work]:
        """What is in flight."""
        return iter(self._calls.values())

    def find(self, key: Key) -> Work | None:
        """One call or batch; None where it isn't in flight."""
        return self._calls.get(key)

    def start(self, jobs: Iterable[Job]) -> None:
        """Run what a commit has decided."""
        batches: dict[str, list[Call]] = {}
        for job in jobs:
            key = (job.instance, job.execution, job.n)
            function = self._registry.find_activity(job.task.name)
            if function is None:
                continue
            if (earlier := self._calls.get(key)) is not None:
                if earlier.cancellation.asked:
                    self._again[key] = job._replace(redelivered=True)
                continue
            first = job.task.retry_of or job.n
            task, limit = job.task, self._payload_limit
            call = Call(key, function, task.input, task.attempt, job.redelivered, first, limit, Cancellation())
            self._note(call)
            if not self._held_back and self._gate.enter(call):
                batches.setdefault(function.executor, []).append(call)
        for kind, calls in batches.items():
            self._executor(kind).start(calls)

    def run_batches(self, jobs: Iterable[BatchJob]) -> None:
        """Run operations that a commit holds. An entity has one batch in flight at most: who asks sees to that."""
        batches: list[Batch] = []
        for job in jobs:
            key = (job.entity, job.execution, job.operations[-1].n)
            function = self._registry.find_entity(parse_entity_name(job.entity))
            if key in self._calls or function is None:
                continue
            batch = Batch(key, function, job.state, job.operations, self._payload_limit, Cancellation(), job.at)
            self._note(batch)
            if not self._held_back:
                batches.append(batch)
        if batches:
            self._executor(_ENTITY).start(batches)

    def _note(self, work: Work) -> None:
        self._calls[work.key] = work
        self._by_execution.setdefault(work.key[:2], {})[work.key] = work

    def settled(self, outcome: Outcome | BatchOutcome) -> Work | None:
        """An outcome has come in: what it belongs to, or None when nobody waits for it any more."""
        call = self._forget(outcome.key)
        if call is None:
            return None
        following = self._gate.leave(call.function)
        if following is not None and not self._held_back:
            self._executor(following.function.executor).start([following])
        again = self._again.pop(outcome.key, None)
        if call.cancellation.counts:
            return call
        if again is not None:
            self.start([again])
        return None

    def drop(self, keys: Iterable[Key]) -> None:
        """Wait for these batches no more: their outcomes don't count, whether they come or not."""
        for key in keys:
            batch = self._forget(key)
            if batch is not None:
                self._stop(batch)

    def _forget(self, key: Key) -> Work | None:
        call = self._calls.pop(key, None)
        if call is not None:
            self._dropped -= call.cancellation.dropped
            siblings = self._by_execution[key[:2]]
            del siblings[key]
            if not siblings:
                del self._by_execution[key[:2]]
        return call

    def _stop(self, call: Work) -> None:
        if call.key in self._calls and not call.cancellation.dropped:
            self._dropped += 1
        call.cancellation.drop()
        executor = self._executors.get(kind_of(call))
        if executor is not None:
            executor.cancel(call.key)

    def cancel(self, instance: str, execution: str) -> None:
        """Tell every call of one execution to stop; their outcomes are dropped."""
        for call in self._by_execution.get((instance, execution), {}).values():
            self._stop(call)

    def end(self, instance: str, execution: str, abandoned: frozenset[int]) -> None:
        """An execution has ended: all its calls see that, and those that lost a race are stopped."""
        for call in self._by_execution.get((instance, execution), {}).values():
            if call.key[2] in abandoned:
                self._stop(call)
            elif not call.cancellation.asked:
                call.cancellation.ask()
                executor = self._executors.get(kind_of(call))
                if executor is not None:
                    executor.tell(call.key)

    def hold_back(self) -> None:
        """Start nothing more, and let what runs know: the engine is stopping."""
        self._held_back = True
        for call in self._calls.values():
            call.cancellation.ask()
        for executor in self._executors.values():
            executor.hold_back()

    def stop(self) -> None:
        for call in self._calls.values():
            call.cancellation.drop()
        for executor in self._executors.values():
            executor.stop()

    def tend(self) -> None:
        """Go on with what couldn't be started for want of threads."""
        for executor in self._executors.values():
            executor.tend()

    def _executor(self, kind: str) -> Executor:
        executor = self._executors.get(kind)
        if executor is None:
            executor = self._executors[kind] = self._make(kind)
        return executor

    def _made(self, kind: str) -> Executor:
        if kind == "async":
            from durablecli.engine.workers.async_pool import Loop

            return Loop(self._limits.async_activities, self._report)
        if kind == "process":
            from durablecli.engine.workers.process_pool import Workers

            return Workers(self._limits.process_workers, self._report, self._targets, self._base, self._folder)
        if kind == _ENTITY:
            return Threads(self._limits.entities, self._report, "entity")
        return Threads(self._limits.activities, self._report)


def kind_of(work: Work) -> str:
    """The executor that runs it: thread, async, process or entity."""
    return work.function.executor if isinstance(work, Call) else _ENTITY
