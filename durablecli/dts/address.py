"""The address of another engine: `dts://HOST:PORT;TASKHUB`, or a connection string of the Durable Task Scheduler."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from durablecli.errors import UsageError
from durablecli.model.suggestions import did_you_mean

ADDRESS_FORM = "dts://HOST:PORT[;HUB]"
DEFAULT_TASKHUB = "default"
_SCHEME = "dts://"
_HTTP_PORTS = {"http": 80, "https": 443}
_OPTIONS = ("Authentication", "CaFile", "TaskHub", "Tls", "TokenFile")
_CONNECTION_STRING_KEYS = ("Authentication", "CaFile", "Endpoint", "TaskHub", "TokenFile")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?")
_TASKHUB = re.compile(r"[!-~]+")  # it travels in a header
_SWITCHES = {"on": True, "true": True, "off": False, "false": False}


class EngineAddress(NamedTuple):
    """Where an engine listens, which task hub is meant, and how to connect: with TLS, and with a token from a file.

    `ca_file` has the certificates, as PEM, that the engine's must be signed by; without it gRPC's own are used.
    """

    host: str
    port: int
    taskhub: str = DEFAULT_TASKHUB
    secure: bool = False
    token_file: str | None = None
    ca_file: str | None = None

    @property
    def target(self) -> str:
        """`HOST:PORT`, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{_SCHEME}{self.target};{self.taskhub}"


def parse_engine_address(text: str) -> EngineAddress:
    """Parse `dts://HOST:PORT[;HUB][;KEY=VALUE]…` or `Endpoint=URL;TaskHub=NAME;Authentication=…`.

    Further keys are `TokenFile` and `CaFile`, each a path, and for `dts://` also `Tls`, which is `on` or `off`.

    With `dts://`, TLS is on unless the host is a loopback address. The file of a token has its bearer token as text.
    Raises UsageError, in one line, that doesn't repeat the text: it may hold a secret.
    """
    head, *parts = (part.strip() for part in text.strip().split(";"))
    if head.lower().startswith(_SCHEME):
        return _parse_short_form(head[len(_SCHEME) :], [part for part in parts if part])
    if "=" in head:
        return _parse_connection_string([part for part in (head, *parts) if part])
    raise UsageError(f"invalid address of an engine; use {ADDRESS_FORM}, or Endpoint=https://HOST;TaskHub=NAME")


def _parse_short_form(authority: str, parts: list[str]) -> EngineAddress:
    host, port = _split_authority(authority)
    if port is None:
        raise UsageError(f"the address of the engine has no port; use {ADDRESS_FORM}")
    named: list[str] = []
    if parts and "=" not in parts[0]:
        named, parts = [f"TaskHub={parts[0]}"], parts[1:]
    options = _parse_options([*named, *parts], _OPTIONS)
    secure = not _is_loopback(host)
    if (switch := options.get("Tls")) is not None:
        if switch.lower() not in _SWITCHES:
            raise UsageError("Tls in the address of the engine must be on or off")
        secure = _SWITCHES[switch.lower()]
    return _make_address(host, port, secure, options)


def _parse_connection_string(parts: list[str]) -> EngineAddress:
    options = _parse_options(parts, _CONNECTION_STRING_KEYS)
    scheme, separator, rest = options.get("Endpoint", "").partition("://")
    if not separator or scheme.lower() not in _HTTP_PORTS:
        raise UsageError("the connection string of the engine needs Endpoint=https://HOST or Endpoint=http://HOST:PORT")
    host, port = _split_authority(rest.removesuffix("/"))
    return _make_address(host, port or _HTTP_PORTS[scheme.lower()], scheme.lower() == "https", options)


def _make_address(host: str, port: int, secure: bool, options: dict[str, str]) -> EngineAddress:
    token_file = options.get("TokenFile")
    if (method := options.get("Authentication", "None")).lower() != "none":
        if token_file is None:
            raise UsageError(
                f"Authentication={method} isn't supported; write a bearer token to a file, and give TokenFile=PATH"
            )
    elif "Authentication" in options and token_file is not None:
        raise UsageError("Authentication=None and TokenFile in the address of the engine exclude each other")
    taskhub = options.get("TaskHub", DEFAULT_TASKHUB)
    if not _TASKHUB.fullmatch(taskhub):
        raise UsageError("the name of a task hub is ASCII without white space")
    if (ca_file := options.get("CaFile")) is not None and not secure:
        raise UsageError("CaFile in the address of the engine needs TLS: Endpoint=https://…, or Tls=on")
    return EngineAddress(host, port, taskhub, secure, token_file, ca_file)


def _parse_options(parts: list[str], known: tuple[str, ...]) -> dict[str, str]:
    """Return the values of `Key=Value` by the key as it is spelled in `known`; case doesn't matter."""
    spelled = {key.lower(): key for key in known}
    options: dict[str, str] = {}
    for part in parts:
        key, separator, value = (each.strip() for each in part.partition("="))
        if not separator:
            raise UsageError(f"invalid part {len(options) + 1} of the address of the engine; use KEY=VALUE")
        if (name := spelled.get(key.lower())) is None:
            raise UsageError(f"unknown key {key!r} in the address of the engine{did_you_mean(key, known)}")
        if not value or options.setdefault(name, value) != value:
            raise UsageError(f"{name} in the address of the engine is {'given twice' if value else 'empty'}")
    return options


def _split_authority(authority: str) -> tuple[str, int | None]:
    """Return the host and the port of `HOST`, `HOST:PORT` or `[IPV6]:PORT`."""
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or not _is_ipv6(host):
            raise UsageError("the address of the engine has an invalid IPv6 address; use [ADDRESS]:PORT")
        port = rest[1:] if rest else None
    else:
        host, colon, rest = authority.partition(":")
        port = rest if colon else None
        if not _HOST.fullmatch(host):
            raise UsageError(f"the address of the engine has no valid host; use {ADDRESS_FORM}")
    if port is not None and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
        raise UsageError("the port in the address of the engine must be a number from 1 to 65535")
    return host, None if port is None else int(port)


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost" or host.lower().endswith(".localhost")
