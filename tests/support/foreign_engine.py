"""Engines that run the same functions: the local one, and others that speak the Durable Task protocol."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import grpc
import msgspec
from durabletask.testing import create_test_backend

from durablecli import Client
from durablecli.builtin.call_http import make_call_http_functions
from durablecli.config import ConcurrencyConfig, Config
from durablecli.daemon.embedded_engine import embedded
from durablecli.dts.address import EngineAddress
from durablecli.dts.channel import open_channel
from durablecli.dts.engine_worker import EngineWorker
from durablecli.engine.workers.app_location import AppLocation
from durablecli.model.failures import Failure, iter_chain
from durablecli.model.ids import new_id
from durablecli.protocol.generated import pb, stubs
from durablecli.protocol.values import STATUS_NAMES, make_text, to_failure
from durablecli.registry import Registry
from tests.support.fork_server import COMMAND
from tests.support.ports import find_free_port
from tests.support.waiting import wait_until

_WAIT = 20.0


class Outcome(NamedTuple):
    """How an instance has ended."""

    status: str
    output: Any = None
    failure: str | None = None
    custom_status: Any = None


class EngineUnderTest(Protocol):
    """What a test does to an engine."""

    def start(self, name: str, given: Any = None, instance: str | None = None) -> str: ...
    def raise_event(self, instance: str, name: str, data: Any = None) -> None: ...
    def terminate(self, instance: str, reason: str) -> None: ...
    def suspend(self, instance: str) -> None: ...
    def resume(self, instance: str) -> None: ...
    def rewind(self, instance: str) -> None: ...
    def signal(self, entity: str, operation: str, given: Any = None) -> None: ...
    def status(self, instance: str) -> str: ...
    def wait(self, instance: str) -> Outcome: ...


class LocalEngine:
    """The local engine, by its client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def start(self, name: str, given: Any = None, instance: str | None = None) -> str:
        return self._client.start_new(name, instance, given)

    def raise_event(self, instance: str, name: str, data: Any = None) -> None:
        self._client.raise_event(instance, name, data)

    def terminate(self, instance: str, reason: str) -> None:
        self._client.terminate(instance, reason)

    def suspend(self, instance: str) -> None:
        self._client.suspend(instance, "")

    def resume(self, instance: str) -> None:
        self._client.resume(instance, "")

    def rewind(self, instance: str) -> None:
        self._client.rewind(instance, "")

    def signal(self, entity: str, operation: str, given: Any = None) -> None:
        self._client.signal_entity(entity, operation, given)

    def status(self, instance: str) -> str:
        status = self._client.get_status(instance).runtime_status
        return "Pending" if status is None else status.name

    def wait(self, instance: str) -> Outcome:
        wait_until(lambda: self._client.has_ended(instance), _WAIT, instance)
        found = self._client.get_status(instance)
        failure = found.failure  # the innermost
        text = f"{failure.type}: {failure.message}" if failure is not None else None
        output = None if failure is not None else found.output
        return Outcome(self.status(instance), output, text, found.custom_status)


class ForeignEngine:
    """An engine behind the protocol."""

    def __init__(self, port: int, token_file: Path | None = None) -> None:
        self.port = port
        self.address = EngineAddress("127.0.0.1", port, token_file=None if token_file is None else str(token_file))
        self.channel = open_channel(self.address)
        self.stub: Any = stubs.TaskHubSidecarServiceStub(self.channel)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self.channel.close()

    def start(self, name: str, given: Any = None, instance: str | None = None, version: str | None = None) -> str:
        request = pb.CreateInstanceRequest(
            instanceId=instance or "", name=name, input=_text(given), version=make_text(version)
        )
        started: str = self.stub.StartInstance(request, timeout=_WAIT).instanceId
        return started

    def raise_event(self, instance: str, name: str, data: Any = None) -> None:
        self.stub.RaiseEvent(pb.RaiseEventRequest(instanceId=instance, name=name, input=_text(data)), timeout=_WAIT)

    def terminate(self, instance: str, reason: str) -> None:
        request = pb.TerminateRequest(instanceId=instance, output=make_text(json.dumps(reason)))
        self.stub.TerminateInstance(request, timeout=_WAIT)

    def suspend(self, instance: str) -> None:
        self.stub.SuspendInstance(pb.SuspendRequest(instanceId=instance), timeout=_WAIT)

    def resume(self, instance: str) -> None:
        self.stub.ResumeInstance(pb.ResumeRequest(instanceId=instance), timeout=_WAIT)

    def rewind(self, instance: str) -> None:
        self.stub.RewindInstance(pb.RewindInstanceRequest(instanceId=instance), timeout=_WAIT)

    def signal(self, entity: str, operation: str, given: Any = None) -> None:
        request = pb.SignalEntityRequest(instanceId=entity, name=operation, input=_text(given), requestId="1")
        self.stub.SignalEntity(request, timeout=_WAIT)

    def entity_state(self, entity: str) -> Any:
        found = self.stub.GetEntity(pb.GetEntityRequest(instanceId=entity, includeState=True), timeout=_WAIT).entity
        return json.loads(found.serializedState.value or "null")

    def get(self, instance: str) -> pb.OrchestrationState:
        request = pb.GetInstanceRequest(instanceId=instance, getInputsAndOutputs=True)
        state: pb.OrchestrationState = self.stub.GetInstance(request, timeout=_WAIT).orchestrationState
        return state

    def failure(self, instance: str) -> Failure:
        return to_failure(self.get(instance).failureDetails)

    def status(self, instance: str) -> str:
        return STATUS_NAMES[self.get(instance).orchestrationStatus]

    def wait(self, instance: str, seconds: float = _WAIT) -> Outcome:
        ends = ("Completed", "Failed", "Terminated")
        wait_until(lambda: self.status(instance) in ends, seconds, f"end of {instance}", 0.02)
        found = self.get(instance)
        failure = list(iter_chain(to_failure(found.failureDetails)))[-1] if found.HasField("failureDetails") else None
        return Outcome(
            STATUS_NAMES[found.orchestrationStatus],
            None if failure is not None else json.loads(found.output.value or "null"),
            f"{failure.type}: {failure.message}" if failure is not None else None,
            json.loads(found.customStatus.value or "null"),
        )


def _text(value: Any) -> Any:
    return None if value is None else make_text(json.dumps(value))


@contextmanager
def memory_backend() -> Iterator[ForeignEngine]:
    """The backend in memory of the `durabletask` package."""
    port = find_free_port()
    logging.getLogger("durabletask.testing.in_memory_backend").setLevel(logging.ERROR)
    backend = create_test_backend(port=port)
    engine = ForeignEngine(port)
    try:
        yield engine
    finally:
        engine.close()
        backend.stop()


@contextmanager
def serving_hub(folder: Path, host: str = "127.0.0.1") -> Iterator[ForeignEngine]:
    """A hub of ours that is served to workers, by a daemon that has no functions itself.

    Where other hosts reach it, a key is needed, which is in the file `key` of the folder.
    """
    folder.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_")}
    token_file = None
    if host != "127.0.0.1":
        token_file = folder / "key"
        token_file.write_text("sesame")
        environment["DURABLE_HTTP__KEYS__MASTER"] = "sesame"
    log = folder / "said"
    with log.open("wb") as said:
        command = [*COMMAND, "run-daemon", "--grpc", f"{host}:0", "--state-dir", str(folder / "hub")]
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    try:
        wait_until(lambda: _LISTENING.search(log.read_text()) or process.poll() is not None, _WAIT, "a served hub")
        found = _LISTENING.search(log.read_text())
        assert found is not None, log.read_text()
        engine = ForeignEngine(int(found[1]), token_file)
        yield engine
        engine.close()
    finally:
        ended = process.poll()
        process.terminate()
        process.wait(_WAIT)
    assert ended is None, f"the daemon has ended with {ended}: {log.read_text()}"
    assert "Traceback" not in log.read_text()


_LISTENING = re.compile(r"listening for gRPC on \S*:(\d+)")


@contextmanager
def running_worker(
    engine: ForeignEngine, registry: Registry, config: Config | None = None, app: AppLocation | None = None
) -> Iterator[EngineWorker]:
    """A worker in a thread of this process."""
    registry.add_built_in(make_call_http_functions())
    config = config or Config(concurrency=ConcurrencyConfig(process_workers=1))
    channel = grpc.insecure_channel(f"127.0.0.1:{engine.port}")
    worker = EngineWorker(channel, engine.address, registry, config, app or AppLocation(), print)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except BaseException as error:  # noqa: BLE001 - shown to the test
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(30)
        channel.close()
    assert not thread.is_alive()
    assert errors == []


@contextmanager
def local_engine(registry: Registry, folder: Path) -> Iterator[LocalEngine]:
    """The local engine in a thread of this process."""
    with embedded(registry, folder / "hub") as client:
        yield LocalEngine(client)


def replace_config(config: Config, **changes: Any) -> Config:
    """The settings with some changed."""
    return msgspec.structs.replace(config, **changes)


class WorkerProcess:
    """`durable run-daemon --engine …` as a process of its own."""

    def __init__(self, url: str, app: Path, folder: Path, *options: str, prefix: Sequence[str] = (), **settings: str):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_")}
        self._log = folder / f"said-{new_id()}"
        with self._log.open("wb") as said:
            self.process = subprocess.Popen(
                [*prefix, *COMMAND, "run-daemon", "--engine", url, "--app", str(app), *options],
                cwd=folder,
                env=environment | settings,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def wait_for_output(self, text: str, seconds: float = _WAIT) -> None:
        """Wait until it has printed a text."""
        wait_until(lambda: text in self.output or self.process.poll() is not None, seconds, f"{text} in {self.output}")
        assert text in self.output

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(_WAIT)
        finally:
            self.process.kill()
            self.process.wait()


@contextmanager
def worker_process(
    url: str, app: Path, folder: Path, *options: str, prefix: Sequence[str] = (), **settings: str
) -> Iterator[WorkerProcess]:
    """A worker process that has connected to its engine."""
    process = WorkerProcess(url, app, folder, *options, prefix=prefix, **settings)
    try:
        process.wait_for_output("connected to")
        yield process
    finally:
        code = process.stop()
    assert code in (0, -9), process.output
    assert "Traceback" not in process.output
