"""The request for work: the functions of a worker, and how much it takes at the same time.

A request has one limit for all activities, but each executor has its own. So activities in worker processes and on the
event loop have streams of their own: one that waits here for a thread could run on another worker.
"""

from __future__ import annotations

from durablecli.config import Config
from durablecli.protocol.generated import pb
from durablecli.registry import Function, Registry

_MAX_TURNS = 20
"""Turns that the engine may hand out to this worker at the same time. They run one after another."""


def make_work_requests(registry: Registry, config: Config) -> list[pb.GetWorkItemsRequest]:
    """Return the requests, one for each stream. The first one also has the orchestrators and entities."""
    limits = config.concurrency
    capacities = {"async": limits.async_activities, "process": limits.process_workers}
    first = pb.GetWorkItemsRequest(
        maxConcurrentOrchestrationWorkItems=_MAX_TURNS,
        maxConcurrentActivityWorkItems=limits.activities,
        maxConcurrentEntityWorkItems=limits.entities,
        workItemFilters=pb.WorkItemFilters(),
    )
    others: dict[str, pb.GetWorkItemsRequest] = {}
    for function in [*registry, *registry.built_in]:
        if function.kind == "orchestrator":
            versions = [] if registry.is_built_in(function) else _accepted_versions(config)
            first.workItemFilters.orchestrations.add(name=function.name, versions=versions)
        elif function.kind == "entity" and not registry.is_built_in(function):  # schedules are those of a hub
            first.workItemFilters.entities.add(name=function.name.lower())
        elif function.kind == "activity":
            request = first
            if function.executor in capacities and not _stays_small(function, registry):
                request = others.setdefault(function.executor, pb.GetWorkItemsRequest())
                request.maxConcurrentActivityWorkItems = capacities[function.executor]
            request.workItemFilters.activities.add(name=function.name)
    return [first, *others.values()]


def _stays_small(function: Function, registry: Registry) -> bool:
    """Whether an activity needs no stream of its own: most apps call no HTTP, and would have a stream for it."""
    return registry.is_built_in(function)


def _accepted_versions(config: Config) -> list[str]:
    """The versions that the engine may send; none where it sends all, and the worker decides."""
    is_strict = config.version_match == "strict" and config.version_failure == "block"
    return [config.default_version or ""] if is_strict and config.default_version is not None else []
