"""Workers on three hosts share the work of one hub, and losing a host loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.foreign_engine import serving_hub, worker_process
from tests.support.network_namespaces import Host, Network, NoNamespaces, network_of_hosts
from tests.support.redelivering_backend import redelivering_backend
from tests.support.waiting import wait_until

APP = Path(__file__).parent / "flows" / "slow_work.py"


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with ExitStack() as stack:
        try:
            made = stack.enter_context(network_of_hosts(3))
        except NoNamespaces as error:
            pytest.skip(str(error))
        yield made


def steps_by_host(folder: Path, hosts: list[Host]) -> list[int]:
    """How many steps have ended on each host."""
    files = [folder / host.name / "runs" for host in hosts]
    return [file.read_text().count("ended") if file.exists() else 0 for file in files]


@pytest.mark.parametrize("kind", ["memory", "hub"])
def test_three_hosts_share_one_hub_and_one_may_die(network: Network, tmp_path: Path, kind: str) -> None:
    hosts = network.hosts
    with ExitStack() as stack:
        if kind == "memory":
            engine, _ = stack.enter_context(redelivering_backend())
        else:
            engine = stack.enter_context(serving_hub(tmp_path / "served", "0.0.0.0"))  # noqa: S104 - for the hosts
        token = "" if engine.address.token_file is None else f";TokenFile={engine.address.token_file}"
        url = f"dts://{network.address}:{engine.port};Tls=off{token}"
        workers = []
        for host in hosts:
            folder = tmp_path / host.name
            folder.mkdir()
            settings = {
                "RUNS": str(folder / "runs"),
                "SECONDS": "0.1",
                "DURABLE_CONCURRENCY__ACTIVITIES": "2",
            }
            workers.append(stack.enter_context(worker_process(url, APP, folder, prefix=host.prefix, **settings)))
        ids = [engine.start("job", instance=f"job{k}") for k in range(15)]
        wait_until(lambda: min(steps_by_host(tmp_path, hosts)) >= 2, description="steps on all hosts")
        workers[0].process.kill()
        outputs = {id: engine.wait(id).output for id in ids}
        ended = steps_by_host(tmp_path, hosts)
    assert outputs == {id: [f"{id}-{step}" for step in range(3)] for id in ids}
    assert min(ended) >= 2
    # What was running on the lost host, at most two steps, has run again, and nothing else.
    assert 45 <= sum(ended) <= 47
    assert [(tmp_path / host.name / ".state").exists() for host in hosts] == [False, False, False]
