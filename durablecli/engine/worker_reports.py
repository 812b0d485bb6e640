"""The connected workers, as engine.json has them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice
from time import monotonic

from durablecli.engine.remote_queues import ConnectedWorker, NameFilter
from durablecli.replay.remote_work import ActivityKey, EntityBatchKey, RemoteWorkKey, TurnKey
from durablecli.store.engine_info import RemoteWorkItem, WorkerInfo

_MAX_ITEMS = 1_000
"""The work in flight that is reported of one worker."""


class WorkerReports:
    """Makes the reports. A time that was reported once is reported the same again, although the clocks drift."""

    def __init__(self) -> None:
        self._times: dict[float, datetime] = {}

    def make(self, workers: Iterable[ConnectedWorker], now: datetime) -> tuple[WorkerInfo, ...]:
        """Return the reports of these workers."""
        known, clock = self._times, monotonic()
        times: dict[float, datetime] = {}

        def to_time(since: float) -> datetime:
            if since not in times:
                times[since] = known.get(since) or now - timedelta(seconds=max(0.0, clock - since))
            return times[since]

        reports = tuple(
            WorkerInfo(
                each.label or "(unnamed)",
                each.since,
                _list_versions(each.filters.orchestrators),
                _list_versions(each.filters.activities),
                _list_versions(each.filters.entities),
                tuple(_make_item(key, to_time(since)) for key, since in islice(each.in_flight.items(), _MAX_ITEMS)),
            )
            for each in workers
        )
        self._times = times
        return reports


def _list_versions(names: NameFilter) -> dict[str, tuple[str, ...]] | None:
    return None if names is None else {name: tuple(sorted(versions)) for name, versions in names.items()}


def _make_item(key: RemoteWorkKey, since: datetime) -> RemoteWorkItem:
    match key:
        case TurnKey():
            return RemoteWorkItem("turn", key.instance, key.execution, since)
        case ActivityKey():
            return RemoteWorkItem("activity", key.instance, key.execution, since, key.n)
        case EntityBatchKey():
            return RemoteWorkItem("entity", key.entity, key.execution, since, key.upto)
