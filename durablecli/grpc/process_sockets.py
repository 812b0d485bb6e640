"""The sockets that grpc has opened in this process, which it doesn't tell: found among the open descriptors."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic
from urllib.parse import unquote

_MAPPED = "::ffff:"
"""Begins an IPv4 address in a socket for IPv6, which grpc uses for both."""
_MAX_AGE = 0.1
_DESCRIPTOR_FOLDERS = ("/proc/self/fd", "/dev/fd")


def find_server_sockets(port: int) -> list[int]:
    """Return the descriptors that listen on a port, and those of the connections to it."""
    return [descriptor for descriptor, each in _iter_sockets() if each.getsockname()[1] == port]


class ConnectedPeers:
    """The peers to which connections are open. A look at all descriptors takes milliseconds where there are many, and
    its result is used again for a moment."""

    def __init__(self) -> None:
        self._peers: frozenset[tuple[str, str]] = frozenset()
        self._looked_at = float("-inf")

    def has(self, peer: str, since: float) -> bool:
        """Whether a connection is open to a peer, as of the monotonic time `since` or later.

        grpc names peers as `ipv4:127.0.0.1:4711` or `ipv6:[::1]:4711`.
        """
        now = monotonic()
        if self._looked_at < max(since, now - _MAX_AGE):
            self._looked_at, self._peers = now, frozenset(_iter_peers())
        host, _, port = unquote(peer).partition(":")[2].rpartition(":")
        return (host.strip("[]").removeprefix(_MAPPED), port) in self._peers


def _iter_peers() -> Iterator[tuple[str, str]]:
    for _, each in _iter_sockets():
        with suppress(OSError):  # it listens, or is closed
            host, port, *_ = each.getpeername()
            yield str(host).removeprefix(_MAPPED), str(port)


def _iter_sockets() -> Iterator[tuple[int, socket.socket]]:
    """Yield the sockets of the Internet, each open until the next step, with their descriptors."""
    folder = next((each for each in _DESCRIPTOR_FOLDERS if os.path.isdir(each)), None)
    for name in os.listdir(folder) if folder else ():
        with suppress(OSError):  # it has been closed meanwhile
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as each:
                if each.family in (socket.AF_INET, socket.AF_INET6):
                    yield int(name), each
