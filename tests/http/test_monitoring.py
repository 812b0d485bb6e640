"""/metrics, /health and /ready."""

from __future__ import annotations

import json
import math
from pathlib import Path

import httpx
import pytest

from durablecli.client import Client
from durablecli.config import HttpConfig
from durablecli.engine.metrics import Histogram
from durablecli.http.asgi_app import make_app
from durablecli.http.exposition import OPENMETRICS_TYPE, TEXT_TYPE, Exposition
from durablecli.serving.api_keys import ApiKeys
from tests.http.conftest import RunningServer, run_server


def read_samples(text: str) -> dict[str, float]:
    """The samples of a page, by their names with labels."""
    return {
        name: float(value)
        for line in text.splitlines()
        if not line.startswith("#")
        for name, _, value in [line.rpartition(" ")]
    }


def test_the_metrics_show_what_has_run(served: RunningServer) -> None:
    instance = served.start_instance("failing")
    served.wait_for_status(instance, "Failed")
    response = served.http.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"] == TEXT_TYPE
    samples = read_samples(response.text)
    assert samples['durable_orchestrations_started_total{orchestrator="failing"}'] >= 1
    assert samples['durable_orchestrations_ended_total{orchestrator="failing",outcome="Failed"}'] >= 1
    assert samples['durable_commit_duration_seconds_bucket{le="+Inf"}'] == samples["durable_commits_total"]
    assert samples["durable_turn_duration_seconds_sum"] > 0
    assert samples['durable_disk_bytes{part="journal"}'] > 0
    assert samples["durable_disk_free_bytes"] > 0
    assert samples['durable_queue_length{queue="timers"}'] == 0


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0"])
def test_prometheus_can_read_the_metrics(served: RunningServer, accept: str) -> None:
    served.wait_for_status(served.start_instance("echo"), "Completed")
    parser = pytest.importorskip("prometheus_client.openmetrics.parser" if accept else "prometheus_client.parser")
    response = served.http.get("/metrics", headers={"accept": accept})
    families = {family.name: family for family in parser.text_string_to_metric_families(response.text)}
    assert families["durable_orchestrations_started"].type == "counter"
    assert families["durable_commit_duration_seconds"].type == "histogram"
    assert families["durable_queue_length"].type == "gauge"


def test_a_page_escapes_labels_and_ends_as_its_format_wants() -> None:
    plain, open_metrics = Exposition(), Exposition(openmetrics=True)
    histogram = Histogram((0.5,))
    histogram.observe(0.5)
    histogram.observe(2.0)
    for page in (plain, open_metrics):
        page.counter("a_total", "Help.", ({"name": 'say "hi"\\\n'}, 3))
        page.gauge("b", "Help.", ({}, 0.25), ({"x": "y"}, math.inf))
        page.histogram("c", "Help.", histogram.snapshot())
    common = (
        '{name="say \\"hi\\"\\\\\\n"} 3\n# HELP b Help.\n# TYPE b gauge\nb 0.25\nb{x="y"} +Inf\n# HELP c Help.\n'
        '# TYPE c histogram\nc_bucket{le="0.5"} 1\nc_bucket{le="+Inf"} 2\nc_sum 2.5\nc_count 2\n'
    )
    assert plain.finish() == f"# HELP a_total Help.\n# TYPE a_total counter\na_total{common}"
    assert open_metrics.finish() == f"# HELP a Help.\n# TYPE a counter\na_total{common}# EOF\n"
    assert (plain.media_type, open_metrics.media_type) == (TEXT_TYPE, OPENMETRICS_TYPE)


def test_health_and_readiness_need_no_key_and_metrics_do(tmp_path: Path) -> None:
    with run_server(tmp_path, keys=ApiKeys("own-function", "own-system", "own-master")) as server:
        assert server.http.get("/health").json() == {"status": "alive"}
        assert server.http.get("/ready").json() == {"status": "ready"}
        assert server.http.get("/metrics").status_code == 401
        for headers, status in (
            ({"x-functions-key": "own-system"}, 200),
            ({"authorization": "Bearer own-system"}, 200),
            ({"authorization": "bearer own-master"}, 200),
            ({"authorization": "Bearer own-function"}, 401),
            ({"authorization": "Basic own-system"}, 401),
        ):
            assert server.http.get("/metrics", headers=headers).status_code == status
        assert server.http.get("/runtime/webhooks/durabletask/instances", headers={
            "authorization": "Bearer own-system"
        }).status_code == 401  # fmt: skip


def test_they_are_served_whatever_the_prefix_of_the_functions(tmp_path: Path) -> None:
    with run_server(tmp_path, settings=HttpConfig(route_prefix="")) as server:
        for path in ("/metrics", "/health", "/ready"):
            assert server.http.get(path).status_code == 200
            assert server.http.head(path).content == b""
            assert server.http.post(path).status_code == 404


def test_a_stalled_engine_is_not_ready(served: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durablecli.engine.monitor._STALLED_AFTER", -1.0)
    response = served.http.get("/ready")
    assert response.status_code == 503
    assert response.json()["status"] == "not ready"
    assert "no cycle" in response.json()["reason"]
    assert served.http.get("/health").status_code == 200


async def _get(client: Client, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(make_app(client))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        return await http.get(path)


def test_a_server_without_an_engine_is_not_ready(tmp_path: Path) -> None:
    import asyncio

    client = Client(tmp_path / ".state")
    response = asyncio.run(_get(client, "/ready"))
    assert (response.status_code, json.loads(response.text)["reason"]) == (503, "no engine runs in this process")
    assert asyncio.run(_get(client, "/metrics")).status_code == 503
    assert asyncio.run(_get(client, "/health")).status_code == 200
