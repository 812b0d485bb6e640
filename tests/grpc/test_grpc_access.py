"""Who is let in, and what a server bears: keys, task hubs, TLS, limits, and calls that can't be read."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from durablecli.config import Config, GrpcConfig
from durablecli.daemon import grpc_serving
from durablecli.daemon.grpc_serving import bind_grpc
from durablecli.errors import ConfigError
from durablecli.grpc.call_access import CallAccess
from durablecli.grpc.call_errors import CallError
from durablecli.protocol.generated import pb
from durablecli.serving.api_keys import ApiKeys
from tests.grpc.conftest import GrpcDaemon, catch_error, start_grpc_daemon
from tests.support.cli_harness import CliHarness
from tests.support.ports import find_free_port
from tests.support.waiting import wait_until

HELLO = "/TaskHubSidecarService/Hello"
SYSTEM, FUNCTION = "s" * 32, "f" * 32


def say_hello(channel: grpc.Channel, *metadata: tuple[str, str]) -> bytes:
    answer: bytes = channel.unary_unary(HELLO)(b"", timeout=20, metadata=metadata)
    return answer


# ── keys and task hubs ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ([("authorization", f"Bearer {SYSTEM}")], None),
        ([("authorization", f"bearer  {SYSTEM} ")], None),
        ([("x-functions-key", SYSTEM)], None),
        ([], grpc.StatusCode.UNAUTHENTICATED),
        ([("authorization", f"Bearer {FUNCTION}")], grpc.StatusCode.UNAUTHENTICATED),
        ([("authorization", f"Basic {SYSTEM}")], grpc.StatusCode.UNAUTHENTICATED),
        ([("x-functions-key", ""), ("authorization", "Bearer ")], grpc.StatusCode.UNAUTHENTICATED),
        ([("x-functions-key-bin", b"\xff")], grpc.StatusCode.UNAUTHENTICATED),
        ([("x-functions-key", SYSTEM), ("taskhub", "default")], None),
        ([("x-functions-key", SYSTEM), ("taskhub", "Mine")], None),
        ([("x-functions-key", SYSTEM), ("taskhub", "other")], grpc.StatusCode.NOT_FOUND),
        ([("taskhub", "other")], grpc.StatusCode.UNAUTHENTICATED),  # names are no secret, but keys come first
    ],
)
def test_a_call_needs_a_system_key_and_the_name_of_the_hub(metadata: Any, code: grpc.StatusCode | None) -> None:
    access = CallAccess(ApiKeys(FUNCTION, SYSTEM), ["mine"])
    if code is None:
        access.check(metadata)
        return
    with pytest.raises(CallError) as caught:
        access.check(metadata)
    assert caught.value.code is code
    assert SYSTEM not in caught.value.message


def test_off_loopback_a_key_is_generated_and_needed(hub: CliHarness) -> None:
    daemon = start_grpc_daemon(hub, "0.0.0.0:0")
    assert "gRPC isn't encrypted" in daemon.process.output
    key = json.loads((hub.root / "keys.json").read_bytes())["system"]
    assert f"generated an API key (shown only once): {key}" in daemon.process.output
    with grpc.insecure_channel(f"127.0.0.1:{daemon.address.rpartition(':')[2]}") as channel:
        code, text = catch_error(lambda: say_hello(channel))
        assert (code, "authorization: Bearer KEY" in text) == (grpc.StatusCode.UNAUTHENTICATED, True)
        stream = channel.unary_stream("/TaskHubSidecarService/GetWorkItems")
        assert catch_error(lambda: list(stream(b"", timeout=20)))[0] is grpc.StatusCode.UNAUTHENTICATED
        assert say_hello(channel, ("authorization", f"Bearer {key}")) == b""


def test_on_loopback_no_key_is_needed_and_the_hub_has_its_name(hub: CliHarness) -> None:
    daemon = start_grpc_daemon(hub, "localhost:0", DURABLE_GRPC__TASKHUB="mine")
    with daemon.make_client() as client:
        assert client.get_orchestration_state("nobody") is None
    with daemon.make_client(metadata=[("taskhub", "mine")]) as client:
        assert client.get_orchestration_state("nobody") is None
    with daemon.make_client(metadata=[("taskhub", "yours")]) as client:
        code, text = catch_error(lambda: client.get_orchestration_state("nobody"))
        assert (code, text) == (grpc.StatusCode.NOT_FOUND, "no task hub 'yours' here: use 'default'")


# ── the port ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_port_is_served_by_one_daemon(hub: CliHarness, tmp_path: Path) -> None:
    daemon = start_grpc_daemon(hub)
    other = CliHarness(tmp_path / "other")
    other.folder.mkdir()
    refused = other("run-daemon", "--grpc", daemon.address, code=78)
    assert refused.err.splitlines()[1:] == [
        f"durable: grpc.listen: can't listen on {daemon.address}: Address already in use"
    ]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert (
            f"can't listen on {port}: Address already in use" in other("run-daemon", "--grpc", str(port), code=78).err
        )


def test_a_daemon_without_functions_names_the_option_that_serves_workers(hub: CliHarness) -> None:
    refused = hub("run-daemon", "--until-idle", code=78).err.splitlines()[-1]
    assert refused == (
        "durable: no functions found: create a folder workflows/, or name a module with --app; "
        "without any, --grpc serves workers in other languages"
    )
    assert not hub.root.exists()
    hub("run-daemon", "--until-idle", "--grpc", "0")


def test_one_port_is_not_for_http_and_grpc(hub: CliHarness) -> None:
    port = str(find_free_port())
    refused = hub("run-daemon", "--http", port, "--grpc", port, "--until-idle", code=78).err.splitlines()[-1]
    assert refused == f"durable: grpc.listen: can't listen on {port}: Address already in use"


@pytest.mark.parametrize(
    "listen", ["nonsense", "127.0.0.1:99999", "[::1:0", "192.0.2.1:4001", "no-such-host.invalid:4001"]
)
def test_an_address_that_cannot_be_used_is_one_clear_line(hub: CliHarness, listen: str) -> None:
    _created, refused = hub("run-daemon", "--grpc", listen, code=78).err.splitlines()
    assert refused.startswith("durable: grpc.listen: ")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_serving, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught, bind_grpc(Config(grpc=GrpcConfig("4001"))):
        pass
    assert str(caught.value) == "--grpc: the package grpcio isn't installed: pip install 'durablecli[grpc]'"


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(
        [*command, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


def test_connections_are_encrypted_with_a_certificate(hub: CliHarness, certificate: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (hub.folder / name).write_bytes((certificate / name).read_bytes())
    (hub.folder / "durable.yaml").write_text("grpc: {certificate: cert.pem, private_key: key.pem}\n")
    daemon = start_grpc_daemon(hub, "localhost:0")
    assert "isn't encrypted" not in daemon.process.output
    credentials = grpc.ssl_channel_credentials((certificate / "cert.pem").read_bytes())
    with grpc.secure_channel(daemon.address, credentials) as channel:
        assert say_hello(channel) == b""
    with grpc.insecure_channel(daemon.address) as channel:
        assert catch_error(lambda: say_hello(channel))[0] is grpc.StatusCode.UNAVAILABLE


def test_a_client_that_does_not_trust_the_certificate_says_so_in_one_line(hub: CliHarness, certificate: Path) -> None:
    (hub.folder / "durable.yaml").write_text(
        f"grpc: {{certificate: {certificate}/cert.pem, private_key: {certificate}/key.pem}}\n"
    )
    daemon = start_grpc_daemon(hub, "localhost:0")
    address = daemon.address.replace("localhost", "127.0.0.1")  # of two addresses the last one that fails is told
    command = [sys.executable, "-m", "durablecli", "list", "--engine", f"dts://{address};Tls=on"]
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    done = subprocess.run(
        command, check=False, cwd=hub.folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 69
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"durable: cannot reach {address}: ")
    assert "CERTIFICATE_VERIFY_FAILED" in line


def test_a_certificate_that_cannot_be_used_is_one_clear_line(hub: CliHarness, certificate: Path) -> None:
    good, key = str(certificate / "cert.pem"), str(certificate / "key.pem")
    (hub.folder / "bad.pem").write_text("no certificate")
    for files, expected in (
        ((good, None), "grpc.private_key is missing"),
        ((None, key), "grpc.certificate is missing"),
        ((good, good), "grpc.certificate: can't use"),
        (("bad.pem", key), "grpc.certificate: can't use"),
        (("none.pem", key), "grpc.certificate: can't read"),
    ):
        names = ("DURABLE_GRPC__CERTIFICATE", "DURABLE_GRPC__PRIVATE_KEY")
        hub.environment |= {name: file or "" for name, file in zip(names, files, strict=True)}
        refused = hub("run-daemon", "--grpc", "0", code=78).err.splitlines()
        assert refused[-1].startswith(f"durable: {expected}")
        assert len(refused) <= 2  # the first one says that the hub was created


# ── what can't be read, and what is too much ─────────────────────────────────────────────────────────────────────────


def test_calls_that_cannot_be_read_are_refused_and_logged_without_a_traceback(hub: CliHarness) -> None:
    daemon = start_grpc_daemon(hub)
    with grpc.insecure_channel(daemon.address) as channel:
        for method, data, code, text in (
            ("TaskHubSidecarService/StartInstance", b"\xff\xff", grpc.StatusCode.INVALID_ARGUMENT, "can't be read"),
            ("TaskHubSidecarService/Nonsense", b"", grpc.StatusCode.UNIMPLEMENTED, "doesn't serve"),
            ("Other/Hello", b"", grpc.StatusCode.UNIMPLEMENTED, "doesn't serve"),
            (
                "TaskHubSidecarService/SkipGracefulOrchestrationTerminations", b"", grpc.StatusCode.UNIMPLEMENTED,
                "doesn't serve",
            ),
        ):  # fmt: skip
            found, details = catch_error(partial(channel.unary_unary(f"/{method}"), data))
            assert (found, text in details) == (code, True), details
        stream = channel.unary_stream("/TaskHubSidecarService/GetWorkItems")
        assert catch_error(lambda: list(stream(b"\xff\xff")))[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert say_hello(channel) == b""
    assert "Traceback" not in daemon.process.output


def test_messages_metadata_and_calls_are_limited(hub: CliHarness) -> None:
    daemon = start_grpc_daemon(
        hub, DURABLE_GRPC__MESSAGE_LIMIT="100000", DURABLE_GRPC__METADATA_LIMIT="4KiB", DURABLE_GRPC__CALLS="5"
    )  # fmt: skip
    with daemon.make_client() as client, grpc.insecure_channel(daemon.address) as channel:
        code, _ = catch_error(lambda: client.schedule_new_orchestration("waiter", input="x" * 200_000))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        code, _ = catch_error(lambda: say_hello(channel, ("more", "x" * 20_000)))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        instance = client.schedule_new_orchestration("waiter")
        request = pb.GetInstanceRequest(instanceId=instance).SerializeToString()
        others = [
            grpc.insecure_channel(daemon.address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(10)
        ]  # fmt: skip
        name = "/TaskHubSidecarService/WaitForInstanceCompletion"
        waiting = [other.unary_unary(name).future(request, timeout=30) for other in others]
        wait_until(lambda: sum(each.done() for each in waiting) >= 5, description="too many calls are refused")
        assert {each.code() for each in waiting if each.done()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        for other in others:
            other.close()
        wait_until(lambda: can_call(channel), description="calls are taken again")


def can_call(channel: grpc.Channel) -> bool:
    try:
        return say_hello(channel) == b""
    except grpc.RpcError:
        return False


def test_a_payload_above_the_limit_of_the_hub_is_refused_in_words(daemon: GrpcDaemon) -> None:
    with daemon.make_client() as client:
        code, text = catch_error(lambda: client.schedule_new_orchestration("waiter", input="x" * (16 * 1024 * 1024)))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "the limit is 16,777,216" in text


def test_a_wait_that_its_client_gives_up_is_forgotten(daemon: GrpcDaemon) -> None:
    with daemon.make_client() as client, grpc.insecure_channel(daemon.address) as channel:
        instance = client.schedule_new_orchestration("waiter")
        request = pb.GetInstanceRequest(instanceId=instance).SerializeToString()
        wait = channel.unary_unary("/TaskHubSidecarService/WaitForInstanceCompletion")
        for _ in range(50):
            wait.future(request).cancel()
        assert catch_error(lambda: wait(request, timeout=0.2))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
        client.raise_orchestration_event(instance, "go", data=1)
        assert client.wait_for_orchestration_completion(instance, timeout=20) is not None
    assert "Traceback" not in daemon.process.output
