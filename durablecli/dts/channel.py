"""The connection to another engine: TLS, the task hub, and a bearer token that is read again when its file changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from durablecli.dts.address import EngineAddress
from durablecli.errors import ConfigError

if TYPE_CHECKING:
    import grpc

INSTALL_HINT = "pip install 'durablecli[grpc]'"
_PACKAGES = {"grpc": "grpcio", "durabletask": "durabletask"}
_CHANNEL_OPTIONS = (
    # A history travels in one message, and histories have no limit.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 10_000),
)


def check_packages() -> None:
    """Raise ConfigError, with the command that installs them, if the packages for the protocol aren't installed.

    To be called before anything imports them.
    """
    for module, package in _PACKAGES.items():
        if find_spec(module) is None:
            raise ConfigError(f"another engine needs the package {package}, which isn't installed: {INSTALL_HINT}")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # else gRPC itself prints lines about lost connections


def open_channel(address: EngineAddress, *, worker_id: str | None = None) -> grpc.Channel:
    """Return a channel whose calls name the task hub, and carry the bearer token if there is one.

    It connects with its first call. `worker_id` tells the engine apart the workers of one hub. Raises ConfigError if
    the packages are missing, or the file of the token or of the certificates can't be read.
    """
    check_packages()
    import grpc

    metadata = CallMetadata(address, worker_id)
    metadata.read()
    if address.secure:
        channel = grpc.secure_channel(
            address.target, grpc.ssl_channel_credentials(_read_certificates(address)), options=_CHANNEL_OPTIONS
        )
    else:
        channel = grpc.insecure_channel(address.target, options=_CHANNEL_OPTIONS)
    return grpc.intercept_channel(channel, _make_interceptor(metadata.read))


def _read_certificates(address: EngineAddress) -> bytes | None:
    """Return the certificates that the engine's must be signed by; None for those that gRPC has."""
    if address.ca_file is None:
        return None
    try:
        with open(address.ca_file, "rb") as file:
            found = file.read()
    except OSError as error:
        raise ConfigError(f"{address.ca_file}: {error.strerror}") from None
    if b"-----BEGIN CERTIFICATE-----" not in found:
        raise ConfigError(f"{address.ca_file}: no certificate in PEM format")
    return found


class _FileVersion(NamedTuple):
    """What tells that a file was replaced or written again."""

    inode: int
    size: int
    modified: int  # nanoseconds


class CallMetadata:
    """The headers of each call to an engine."""

    def __init__(self, address: EngineAddress, worker_id: str | None = None) -> None:
        self._fixed = [("taskhub", address.taskhub), ("x-user-agent", f"durablecli/{version('durablecli')}")]
        if worker_id is not None:
            self._fixed.append(("workerid", worker_id))
        self._token_file = address.token_file
        self._token = ""
        self._token_version: _FileVersion | None = None

    def read(self) -> list[tuple[str, str]]:
        """Return the headers, with the token that is in its file now. Raises ConfigError if it can't be read."""
        if self._token_file is None:
            return [*self._fixed]
        return [*self._fixed, ("authorization", f"Bearer {self._read_token(self._token_file)}")]

    def _read_token(self, path: str) -> str:
        try:
            found = os.stat(path)
            seen = _FileVersion(found.st_ino, found.st_size, found.st_mtime_ns)
            if seen != self._token_version:
                with open(path, encoding="ascii") as file:
                    token = file.read(65_536).strip()
                if not token or not token.isprintable() or " " in token:
                    raise ConfigError(f"{path}: not a bearer token: it must be one word")
                self._token, self._token_version = token, seen
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: not a bearer token: it must be one word") from None
        return self._token


def _make_interceptor(read_metadata: Callable[[], list[tuple[str, str]]]) -> Any:
    """Return an interceptor that adds the headers to each call. Its class exists only once grpc is imported."""
    import grpc

    class MetadataInterceptor(
        grpc.UnaryUnaryClientInterceptor,
        grpc.UnaryStreamClientInterceptor,
    ):
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            return continuation(_with_metadata(details, read_metadata()), request)

        def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
            return continuation(_with_metadata(details, read_metadata()), request)

    return MetadataInterceptor()


def _with_metadata(details: Any, added: list[tuple[str, str]]) -> Any:
    """Return the details of a call with further headers."""
    return _CallDetails(
        details.method,
        details.timeout,
        [*(details.metadata or ()), *added],
        details.credentials,
        details.wait_for_ready,
        details.compression,
    )


class _CallDetails(NamedTuple):
    method: str
    timeout: float | None
    metadata: list[tuple[str, str]]
    credentials: Any
    wait_for_ready: bool | None
    compression: Any
