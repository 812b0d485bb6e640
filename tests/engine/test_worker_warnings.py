"""The line about remote work that no connected worker runs."""

from __future__ import annotations

from durablecli.engine.remote_queues import TurnOffer, WorkerLimits, WorkFilters
from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.engine.worker_warnings import WorkerWarnings


class Watch:
    """Warnings about one pool, under a clock that is set."""

    def __init__(self) -> None:
        self.pool, self.now, self.lines = RemoteWorkPool(), 0.0, list[str]()
        self._warnings = WorkerWarnings(self.lines.append, lambda: self.now)

    def check_at(self, *times: float) -> list[str]:
        self.lines.clear()
        for self.now in times:
            self._warnings.check(self.pool)
        return list(self.lines)


def test_it_comes_after_some_seconds_and_again_only_after_minutes() -> None:
    watch = Watch()
    watch.pool.turns.offer([TurnOffer("a", "1", "Order", "2"), TurnOffer("b", "1", "Order", "2")])
    assert watch.check_at(1, 3, 5.5) == []
    line = "waiting for a worker that runs orchestrator 'Order', version 2 (no worker connected)"
    assert watch.check_at(7, 8, 200) == [line]
    assert watch.check_at(310) == [line]


def test_what_a_connected_worker_runs_is_only_busy() -> None:
    watch = Watch()
    names = {"Order": frozenset[str](), "Bill": frozenset({"1"})}
    watch.pool.connect(WorkFilters(names, {}, {}), WorkerLimits(turns=1), lambda: None)
    offers = [TurnOffer(name, "1", name, None) for name in ("Order", "Bill", "e1", "e2", "e3", "e4", "e5")]
    watch.pool.turns.offer(offers)
    (line,) = watch.check_at(1, 7)
    assert line == (
        "waiting for a worker that runs orchestrator 'Bill', orchestrator 'e1', orchestrator 'e2', "
        "orchestrator 'e3', orchestrator 'e4' and 1 more (1 worker connected)"
    )


def test_what_was_taken_in_time_is_not_mentioned() -> None:
    watch = Watch()
    watch.pool.turns.offer([TurnOffer("a", "1", "Order", None)])
    assert watch.check_at(1, 4) == []
    connection = watch.pool.connect(None, WorkerLimits(), lambda: None)
    assert watch.check_at(7) == []
    connection.close()
    assert watch.check_at(8, 12) == []
