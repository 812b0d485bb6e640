"""The sockets of this process, found among its descriptors."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from time import monotonic

import pytest

from durablecli.grpc import process_sockets
from durablecli.grpc.process_sockets import ConnectedPeers, find_server_sockets


def is_connected(peer: str) -> bool:
    return ConnectedPeers().has(peer, monotonic())


def test_one_look_serves_all_that_ask_within_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def iter_peers() -> Iterator[tuple[str, str]]:
        nonlocal looks
        looks += 1
        yield "127.0.0.1", "4711"

    monkeypatch.setattr(process_sockets, "_iter_peers", iter_peers)
    peers, since = ConnectedPeers(), monotonic()
    found = [peers.has(f"ipv4:127.0.0.1:{port}", since) for port in (4711, 4712) * 50]
    assert found == [True, False] * 50
    assert looks == 1
    assert peers.has("ipv4:127.0.0.1:4711", monotonic())
    assert looks == 2, "what has ended since the last look needs another one"


def test_listeners_and_connections_are_found_and_no_descriptor_is_lost() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert find_server_sockets(port) == [listener.fileno()]
        with socket.create_connection(("127.0.0.1", port)):
            here, peer = listener.accept()
            assert set(find_server_sockets(port)) == {listener.fileno(), here.fileno()}
            before = len(os.listdir("/proc/self/fd"))
            assert is_connected(f"ipv4:127.0.0.1:{peer[1]}")
            assert is_connected(f"ipv6:%5B::ffff:127.0.0.1%5D:{peer[1]}")
            assert not is_connected(f"ipv4:127.0.0.2:{peer[1]}")
            assert not is_connected("unknown")
            assert len(os.listdir("/proc/self/fd")) == before
            here.close()
        assert not is_connected(f"ipv4:127.0.0.1:{peer[1]}")
    assert find_server_sockets(port) == []
