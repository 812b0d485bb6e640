"""Time-outs of remote activities: the call is withdrawn from its worker, and a late answer has no effect."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import durablecli as df
from durablecli.replay.remote_work import RemoteActivity
from tests.support.remote_workers import RemoteWorker, ServingEnvironment, only, serve


@df.orchestrator
def local(context: df.DurableOrchestrationContext) -> Any:
    try:
        return (yield context.call_activity("Hello", "x", timeout=0.1, heartbeat_timeout=0.01))
    except df.ActivityTimedOut as error:
        yield context.wait_for_external_event("go")
        return str(error)


def greet(city: str) -> str:
    return f"hello {city}"


def run_until_timed_out(hub: ServingEnvironment, id: str) -> None:
    hub.advance(timedelta(seconds=0.2))
    assert [each.kind for each in hub.client.get_status(id).waiting_for] == ["event"]


def test_a_remote_activity_is_withdrawn_when_it_times_out() -> None:
    with serve(local) as hub:
        worker = RemoteWorker(hub.remote_pool, {}, {"Hello": greet}, filters=only("Hello"))
        id = hub.client.start_new("local")
        hub.run()
        work = worker.connection.take()
        assert isinstance(work, RemoteActivity)
        run_until_timed_out(hub, id)
        assert not hub.remote_pool.is_busy
        hub.remote_pool.answer(worker.run(work), worker.told.append)
        hub.run()
        assert worker.told == ["nothing waits for this result any more"]
        hub.client.raise_event(id, "go", None)
        assert hub.finish(id).output == "Activity function 'Hello' failed: ActivityTimedOut: ran longer than 0.1 s"


def test_its_time_counts_only_while_a_worker_has_it() -> None:
    with serve(local) as hub:
        id = hub.client.start_new("local")
        hub.run()
        [call] = hub.engine.dispatcher.iter_in_flight() if hub.engine.dispatcher is not None else []
        assert call.cancellation.timer is not None
        first = RemoteWorker(hub.remote_pool, {}, {"Hello": greet}, filters=only("Hello"))
        assert first.connection.take() is not None
        first.connection.close()
        assert call.cancellation.timer.suspend()
        second = RemoteWorker(hub.remote_pool, {}, {"Hello": greet}, filters=only("Hello"))
        work = second.connection.take()
        assert work is not None
        hub.remote_pool.answer(second.run(work), second.told.append)
        assert hub.finish(id).output == "hello x"
