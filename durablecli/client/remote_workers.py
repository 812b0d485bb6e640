"""The workers that are connected to an engine which serves remote code: their functions, and their work in flight."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from durablecli.store.engine_info import EngineInfo, FunctionInfo, WorkerInfo

KINDS = ("orchestrator", "activity", "entity")
_BUILT_IN_PREFIX = "builtin__"


class WorkerWait(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What remote work waits for: a worker that runs the function `name`.

    `connected` counts the workers, `fitting` those of them that run it. `worker` has had it in flight since `since`; it
    is None if none has.
    """

    name: str
    connected: int = 0
    fitting: int = 0
    worker: str | None = None
    since: datetime | None = None


class RemoteFunction(msgspec.Struct, frozen=True):
    """A function that connected workers name: in which versions (none: in any), and their labels."""

    name: str
    kind: str
    versions: tuple[str, ...]
    workers: tuple[str, ...]


class RemoteWorkers:
    """The connected workers of one engine. Functions that the engine has loaded aren't remote."""

    def __init__(self, workers: Iterable[WorkerInfo], functions: Iterable[FunctionInfo]) -> None:
        self.workers = tuple(workers)
        self._loaded = {(each.kind, each.name.casefold()) for each in functions}
        self._work = {
            (work.kind, work.instance, work.execution, work.id): (worker.label, work.since)
            for worker in self.workers
            for work in worker.work
        }

    def is_remote(self, kind: str, name: str) -> bool:
        """Whether a function of this kind and name is left to workers."""
        folded = name.casefold()
        return (kind, folded) not in self._loaded and not folded.startswith(_BUILT_IN_PREFIX)

    def explain_turn(self, instance: str, execution: str, name: str, version: str | None) -> WorkerWait:
        """Return what the next turn of an instance waits for."""
        return self._explain(("turn", instance, execution, 0), "orchestrator", name, version)

    def explain_activity(
        self, instance: str, execution: str, id: int, name: str, version: str | None = None
    ) -> WorkerWait:
        """Return what an activity waits for."""
        return self._explain(("activity", instance, execution, id), "activity", name, version)

    def explain_batch(self, entity: str, execution: str, id: int, name: str) -> WorkerWait:
        """Return what the operations of an entity wait for; `id` is the `n` of the last one in a batch, if one runs."""
        return self._explain(("entity", entity, execution, id), "entity", name, None)

    def _explain(self, key: tuple[str, str, str, int], kind: str, name: str, version: str | None) -> WorkerWait:
        worker, since = self._work.get(key, (None, None))
        fitting = sum(_runs(each, kind, name, version) for each in self.workers)
        return WorkerWait(name, len(self.workers), fitting, worker, since)

    def has_worker_for(self, kind: str, name: str) -> bool:
        """Whether a connected worker runs the function, in whatever version."""
        return any(_runs(each, kind, name, None, any_version=True) for each in self.workers)

    def functions(self) -> list[RemoteFunction]:
        """Return the functions that the workers name and that aren't loaded in the engine, sorted by kind and name."""
        versions: dict[tuple[str, str], set[str] | None] = {}
        labels: dict[tuple[str, str], list[str]] = {}
        for worker in self.workers:
            for kind, name, named in _iter_names(worker):
                known = versions.setdefault((kind, name), set())
                versions[kind, name] = None if known is None or not named else known | set(named)
                labels.setdefault((kind, name), []).append(worker.label)
        keys = sorted(versions, key=lambda key: (key[1].casefold(), key[1], KINDS.index(key[0])))
        return [
            RemoteFunction(
                name, kind, tuple(sorted(versions[kind, name] or ())), tuple(dict.fromkeys(labels[kind, name]))
            )
            for kind, name in keys
            if self.is_remote(kind, name)
        ]


def _filter(worker: WorkerInfo, kind: str) -> Mapping[str, tuple[str, ...]] | None:
    match kind:
        case "orchestrator":
            return worker.orchestrators
        case "activity":
            return worker.activities
        case _:
            return worker.entities


def unnamed_kinds(worker: WorkerInfo) -> list[str]:
    """Return the kinds of functions that a worker runs whatever their name."""
    return [kind for kind in KINDS if _filter(worker, kind) is None]


def _runs(worker: WorkerInfo, kind: str, name: str, version: str | None, *, any_version: bool = False) -> bool:
    names = _filter(worker, kind)
    if names is None:
        return True
    versions = names.get(name.lower() if kind == "entity" else name)
    return versions is not None and (any_version or not versions or (version or "") in versions)


def _iter_names(worker: WorkerInfo) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for kind in KINDS:
        for name, versions in (_filter(worker, kind) or {}).items():
            yield kind, name, versions


def remote_workers(info: EngineInfo | None) -> RemoteWorkers | None:
    """Return the workers that a report names; None if its engine serves no remote code."""
    if info is None or isinstance(info.workers, msgspec.UnsetType):
        return None
    return RemoteWorkers(info.workers, info.functions or ())
