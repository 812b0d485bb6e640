"""Addresses: where a server listens, its URL, and the host names under which it answers."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

from durablecli.errors import ConfigError

DEFAULT_LISTEN = "127.0.0.1:7071"
_DEFAULT_HOST = "127.0.0.1"
_WILDCARD_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - the addresses that a URL can't name
_match_host = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?").fullmatch


class AllowedHosts:
    """The host names under which a server at an address may be reached.

    At a loopback address they are the loopback names. At any other address every IP address is allowed, because no page
    can be served from it unless it is this very machine, and so is the machine's own name.
    """

    def __init__(self, address: str, allowed: Iterable[str] = ()) -> None:
        self._accepts_any_ip = not is_loopback(address)
        self._names = {"localhost", "127.0.0.1", "::1", address.lower(), *(name.lower() for name in allowed)}
        if self._accepts_any_ip:
            self._names.add(socket.gethostname().lower())

    def allows(self, host: str) -> bool:
        """Whether a Host header, with or without a port, names this server."""
        name = _parse_host(host)
        return name in self._names or (self._accepts_any_ip and _is_ip_address(name))


def parse_listen(listen: str, setting: str = "http.listen") -> tuple[str, int]:
    """Parse `7071`, `0.0.0.0:7071` or `[::1]:7071` into host and port; raises ConfigError, which names the setting."""
    host, _, port = listen.rpartition(":")
    is_closed = host.startswith("[") == host.endswith("]")
    if not (is_closed and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ConfigError(f"{setting}: invalid address {listen!r}; use 7071, 127.0.0.1:7071 or [::1]:7071")
    return host.strip("[]") or _DEFAULT_HOST, int(port)


def format_address(host: str, port: int) -> str:
    """Join host and port; an IPv6 address is put in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def format_url(host: str, port: int) -> str:
    """The URL of a server that listens there; for a wildcard address, its URL on this machine."""
    return f"http://{format_address(_WILDCARD_HOSTS.get(host, host), port)}"


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def _parse_host(host: str) -> str:
    """The name in a Host header, without its port; empty if the header is anything but a name and a port."""
    found = _match_host(host)
    return "" if found is None else (found[1] or found[2]).lower().removesuffix(".")


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
