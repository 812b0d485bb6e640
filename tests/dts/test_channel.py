"""The channel to an engine: what each call carries, and the file of a token."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from durablecli.dts import channel as channel_module
from durablecli.dts.address import EngineAddress, parse_engine_address
from durablecli.dts.channel import CallMetadata, open_channel
from durablecli.errors import ConfigError

Headers = list[dict[str, str]]


class EchoHandler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Answers each call with its request, a stream twice, and keeps the headers."""

    def __init__(self, seen: Headers) -> None:
        self._seen = seen

    def service(self, details: Any) -> Any:
        self._seen.append({key: value for key, value in details.invocation_metadata if isinstance(value, str)})
        if details.method.endswith("Stream"):
            return grpc.unary_stream_rpc_method_handler(lambda request, context: iter([request, request]))
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request)


@pytest.fixture
def server() -> Iterator[tuple[int, Headers]]:
    """A server that answers any call with nothing, and keeps the headers of each."""
    seen: Headers = []

    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((EchoHandler(seen),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port, seen
    server.stop(0).wait()


def call(channel: grpc.Channel, method: str = "/test/Unary") -> None:
    channel.unary_unary(method)(b"x", timeout=10)


def test_each_call_names_the_task_hub_and_the_worker(server: tuple[int, Headers]) -> None:
    port, seen = server
    with open_channel(EngineAddress("127.0.0.1", port, "orders"), worker_id="w1") as channel:
        call(channel)
        assert list(channel.unary_stream("/test/Stream")(b"y", timeout=10)) == [b"y", b"y"]
    assert [(each["taskhub"], each["workerid"], each.get("authorization")) for each in seen] == [
        ("orders", "w1", None)
    ] * 2
    assert seen[0]["x-user-agent"].startswith("durablecli/")


def test_a_token_is_read_again_when_its_file_is_replaced(server: tuple[int, Headers], tmp_path: Path) -> None:
    port, seen = server
    file = tmp_path / "token"
    file.write_text("first\n")
    with open_channel(EngineAddress("127.0.0.1", port, token_file=str(file))) as channel:
        call(channel)
        (tmp_path / "next").write_text("other\n")
        os.replace(tmp_path / "next", file)
        call(channel)
    assert [each["authorization"] for each in seen] == ["Bearer first", "Bearer other"]


def test_a_token_is_read_once_while_its_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    metadata = CallMetadata(EngineAddress("h", 1, token_file=str(file)))
    before = file.stat()
    metadata.read()
    file.write_text("other")  # of the same length; with the time set back, nothing seems to have changed
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ("authorization", "Bearer first") in metadata.read()


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda file: None, "No such file or directory"),
        (lambda file: file.mkdir(), "Is a directory"),
        (lambda file: file.write_text(" \n"), "not a bearer token"),
        (lambda file: file.write_text("two words"), "not a bearer token"),
        (lambda file: file.write_text("a\r\nother: header"), "not a bearer token"),
        (lambda file: file.write_bytes(b"\xff"), "not a bearer token"),
    ],
)
def test_a_bad_token_file_is_named_in_one_line(tmp_path: Path, write: Callable[[Path], object], message: str) -> None:
    file = tmp_path / "token"
    write(file)
    with pytest.raises(ConfigError) as raised:
        open_channel(EngineAddress("127.0.0.1", 1, token_file=str(file)))
    assert str(raised.value).startswith(f"{file}: {message}")
    assert "\n" not in str(raised.value)


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "find_spec", lambda module: None)
    with pytest.raises(ConfigError, match=r"needs the package grpcio.*: pip install 'durablecli\[grpc\]'"):
        open_channel(EngineAddress("127.0.0.1", 1))


def test_the_certificate_of_an_engine_is_checked(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    key, certificate = (tmp_path / "key.pem").read_bytes(), (tmp_path / "cert.pem").read_bytes()
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((EchoHandler([]),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    server.start()
    try:
        with open_channel(parse_engine_address(f"dts://localhost:{port};Tls=on;CaFile={tmp_path}/cert.pem")) as channel:
            call(channel)
        with open_channel(parse_engine_address(f"dts://localhost:{port};Tls=on")) as channel:
            with pytest.raises(grpc.RpcError) as raised:
                call(channel)
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        server.stop(0).wait()


@pytest.mark.parametrize(("content", "message"), [(None, "No such file"), ("no PEM", "no certificate in PEM format")])
def test_a_bad_file_of_certificates_is_named_in_one_line(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=message):
        open_channel(EngineAddress("127.0.0.1", 1, secure=True, ca_file=str(file)))
