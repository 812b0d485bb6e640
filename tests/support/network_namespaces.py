"""Hosts that share nothing but a network: namespaces of Linux, on one bridge with the machine itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple


class Host(NamedTuple):
    """A namespace, and the command that runs a command in it."""

    name: str
    address: str

    @property
    def prefix(self) -> list[str]:
        return ["ip", "netns", "exec", self.name]


class Network(NamedTuple):
    """The address of the machine itself on the bridge, and the hosts."""

    address: str
    hosts: list[Host]


class NoNamespaces(Exception):
    """This machine can't make network namespaces: the text says why."""


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise NoNamespaces(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _ip_quietly(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, timeout=20, check=False)


@contextmanager
def network_of_hosts(count: int) -> Iterator[Network]:
    """Hosts on one network. Raises NoNamespaces."""
    if os.geteuid() != 0:
        raise NoNamespaces("only root may make network namespaces")
    if shutil.which("ip") is None:
        raise NoNamespaces("the command ip is missing: apt-get install iproute2")
    tag = f"{os.getpid() % 100_000:05}"
    subnet = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
    bridge = f"dbr{tag}"
    with ExitStack() as stack:
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip_quietly, "link", "del", bridge)
        _ip("addr", "add", f"{subnet}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        hosts = []
        for number in range(2, 2 + count):
            host = Host(f"dns{tag}-{number}", f"{subnet}.{number}")
            outer, inner = f"dv{tag}{number}", f"dw{tag}{number}"
            _ip("netns", "add", host.name)
            stack.callback(_ip_quietly, "netns", "del", host.name)
            _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
            stack.callback(_ip_quietly, "link", "del", outer)
            _ip("link", "set", inner, "netns", host.name)
            _ip("link", "set", outer, "master", bridge, "up")
            _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", inner)
            _ip("-n", host.name, "link", "set", inner, "up")
            _ip("-n", host.name, "link", "set", "lo", "up")
            hosts.append(host)
        yield Network(f"{subnet}.1", hosts)
