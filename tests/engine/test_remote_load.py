"""What an engine measures of remote work, and that a worker's turns don't stay with it when it has gone."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from durablecli import testing
from durablecli.engine.metrics import RemoteLoad
from durablecli.engine.remote_queues import WorkFilters
from durablecli.http.dashboard.hub_page import make_queue_facts
from durablecli.http.exposition import Exposition
from durablecli.http.metrics_page import write_metrics
from durablecli.model import events as ev
from durablecli.model.trace_context import TraceContext, make_execution_context
from durablecli.replay.remote_work import RemoteActivity, RemoteEntityBatch, RemoteTurn
from durablecli.store.hub_health import read_hub_health
from durablecli.store.inbox.messages import MessageItem
from tests.support.remote_workers import Decisions, ServingEnvironment, call, completed, serve, value_of
from tests.support.waiting import wait_until


def twice(started: ev.ExecutionStarted) -> Generator[Decisions, Any, ev.Decision]:
    outcome = yield call("Double", 4)
    return completed(value_of(outcome))


def run_engine(hub: ServingEnvironment) -> None:
    """Let the engine work, and no worker."""
    testing.TestEnvironment.run(hub)


def read_load(hub: ServingEnvironment) -> RemoteLoad | None:
    return hub.engine.metrics.snapshot().remote


def test_workers_turns_and_calls_are_counted() -> None:
    with serve() as hub:
        assert read_load(hub) == RemoteLoad(0, 0, 0)
        ids = [hub.client.start_new("twice") for _ in range(3)]
        run_engine(hub)
        assert read_load(hub) == RemoteLoad(0, 0, 3)
        worker = hub.connect({"twice": twice}, {"Double": lambda value: 2 * value})
        assert worker.connection.take() is None
        run_engine(hub)
        assert worker.connection.take() is not None
        assert read_load(hub) == RemoteLoad(1, 3, 0)
        hub.restart_serving()
        hub.connect({"twice": twice}, filters=WorkFilters(None, {}, {}))
        for _ in range(3):
            run_engine(hub)
            hub.workers[0].work()
        run_engine(hub)
        snapshot = hub.engine.metrics.snapshot()
        assert (snapshot.remote, snapshot.pools["remote"].queued) == (RemoteLoad(1, 0, 0), 3)
        facts = {fact.label: fact.value for fact in make_queue_facts(snapshot, read_hub_health(hub.disk, "hub"))}
        assert (facts["Workers connected"], facts["Turns that wait for a worker"]) == ("1", "0")
        page = write_metrics(Exposition(), snapshot, {}, 0)
        assert "durable_connected_workers 1\n" in page
        assert 'durable_remote_turns{state="queued"} 0\n' in page
        assert 'durable_worker_calls{pool="remote",state="queued"} 3\n' in page
        hub.workers.clear()
        hub.connect({"twice": twice}, {"Double": lambda value: 2 * value})
        assert [hub.finish(id).output for id in ids] == [8, 8, 8]


def test_an_engine_that_serves_no_workers_has_no_such_metrics() -> None:
    with testing.hub() as hub:
        snapshot = hub.engine.metrics.snapshot()
        assert snapshot.remote is None
        assert "durable_connected_workers" not in write_metrics(Exposition(), snapshot, {}, 0)


def test_a_turn_of_a_worker_that_left_is_given_out_again_also_if_no_activity_is_remote() -> None:
    with serve() as hub:
        hub.client.start_new("twice", "t")
        run_engine(hub)
        lost = hub.connect({"twice": twice})
        assert lost.connection.take() is None
        run_engine(hub)
        assert lost.connection.take() is not None
        hub.workers.clear()
        lost.connection.close(0.01)
        other = hub.connect({"twice": twice}, {"Double": lambda value: 2 * value})

        def has_ended() -> bool:
            run_engine(hub)
            assert hub.engine.dispatcher is not None
            hub.engine.dispatcher.maintain()
            other.work()
            return hub.client.get_status("t").ended

        wait_until(has_ended)


def test_remote_calls_are_children_of_the_span_of_their_execution() -> None:
    trace = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    operation = ev.EntityOperationSignaled("@cart@a", "add")

    def shop(started: ev.ExecutionStarted) -> Generator[Decisions, Any, ev.Decision]:
        outcome = yield [operation, call("Double", 4)]
        return completed(value_of(outcome))

    with serve() as hub:
        worker = hub.connect({"shop": shop}, {"Double": lambda value: 2 * value}, {"cart": lambda *_: (1, None)})
        assert hub.client.mailbox is not None
        hub.client.mailbox.post("start", [MessageItem("s", "shop", trace=trace)])
        hub.run()
        execution = hub.client.get_status("s").execution
        assert execution is not None
        parent = make_execution_context(trace, "s", execution)
        (turn, *_) = [each for each in worker.taken if isinstance(each, RemoteTurn)]
        assert turn.started.trace == trace
        assert [each.trace for each in worker.taken if isinstance(each, RemoteActivity)] == [parent]
        (batch,) = [each for each in worker.taken if isinstance(each, RemoteEntityBatch)]
        assert [each.trace for each in batch.operations] == [parent]
