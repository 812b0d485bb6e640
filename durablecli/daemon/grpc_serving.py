"""Serves the hub by gRPC beside the engine, if the settings ask for it; only then anything of grpc is imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from msgspec.structs import replace

from durablecli.config import Config, GrpcConfig
from durablecli.daemon.assembly import Echo
from durablecli.engine.engine import Engine
from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.engine.workers.fork_guard import child_action
from durablecli.errors import ConfigError
from durablecli.project import display_path

if TYPE_CHECKING:  # slow to import, and needed for gRPC only
    from durablecli.grpc.grpc_server import GrpcServer

_PACKAGES = {"grpc": "grpcio", "durabletask": "durabletask"}
_INSTALL_HINT = "pip install 'durablecli[grpc]'"
_VERBOSITY = "GRPC_VERBOSITY"


@contextmanager
def bind_grpc(config: Config) -> Iterator[GrpcServer | None]:
    """Bind the port, before anything is started that would have to be undone; None if there is no gRPC.

    Raises ConfigError if the port can't be bound, or the packages aren't installed.
    """
    settings = config.grpc
    if settings.listen is None:
        yield None
        return
    for module, package in _PACKAGES.items():
        if find_spec(module) is None:
            raise ConfigError(f"--grpc: the package {package} isn't installed: {_INSTALL_HINT}")
    os.environ.setdefault(_VERBOSITY, "NONE")  # what grpc itself writes to stderr; errors are reported by us
    from durablecli.grpc.grpc_server import GrpcServer

    server = GrpcServer(_resolve_paths(settings, config.project))
    try:
        with child_action(server.close_inherited):
            yield server
    finally:
        server.close()


def _resolve_paths(settings: GrpcConfig, folder: str) -> GrpcConfig:
    """Return the settings with files that are relative to the folder of durable.yaml."""
    files = {"certificate": settings.certificate, "private_key": settings.private_key}
    return replace(settings, **{name: file and os.path.join(folder, file) for name, file in files.items()})


@contextmanager
def serve_grpc(
    server: GrpcServer | None, pool: RemoteWorkPool | None, config: Config, engine: Engine, echo: Echo
) -> Iterator[None]:
    """Take calls until the end of the context."""
    if server is None or pool is None:
        yield
        return
    from durablecli.client import Client
    from durablecli.grpc.call_access import CallAccess
    from durablecli.serving.addresses import is_loopback
    from durablecli.serving.api_keys import load_keys
    from durablecli.serving.engine_bridge import EngineBridge
    from durablecli.store.http_keys import load_or_create_keys
    from durablecli.store.layout import KEYS_FILE

    root = engine.hub.root
    keys, is_new = load_keys(server.host, config.http.keys, lambda: load_or_create_keys(root))
    names = [os.path.basename(root), *([config.grpc.taskhub] if config.grpc.taskhub else [])]
    server.start(
        EngineBridge(Client(root, engine, check_names=False), "grpc", check_names=False),
        pool,
        CallAccess(keys, names),
        on_stopped=engine.wake,
    )
    try:
        if is_new:
            echo(f"generated an API key (shown only once): {keys.code}; all keys: {display_path(root)}/{KEYS_FILE}")
        if keys.enabled and not server.secure and not is_loopback(server.host):
            echo("gRPC isn't encrypted: keys and payloads can be read on the network; set grpc.certificate")
        echo(f"listening for gRPC on {server.address} (hub {display_path(root)})")
        yield
    finally:
        server.close()
