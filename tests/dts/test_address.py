"""The address of an engine: what is accepted, and one line about what isn't."""

from __future__ import annotations

import pytest

from durablecli.dts.address import EngineAddress, parse_engine_address
from durablecli.errors import UsageError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("dts://localhost:8080", EngineAddress("localhost", 8080)),
        ("dts://127.0.0.1:4001;orders", EngineAddress("127.0.0.1", 4001, "orders")),
        ("DTS://[::1]:4001; orders ", EngineAddress("::1", 4001, "orders")),
        ("dts://engine.example:443;orders", EngineAddress("engine.example", 443, "orders", secure=True)),
        ("dts://10.0.0.7:4001;tls=off", EngineAddress("10.0.0.7", 4001)),
        ("dts://localhost:4001;hub;Tls=on", EngineAddress("localhost", 4001, "hub", secure=True)),
        (
            "dts://engine.example:443;orders;TokenFile=/run/token",
            EngineAddress("engine.example", 443, "orders", secure=True, token_file="/run/token"),  # noqa: S106  a path
        ),
        (
            "dts://10.0.0.7:4001;CaFile=ca.pem",
            EngineAddress("10.0.0.7", 4001, secure=True, ca_file="ca.pem"),
        ),
        (
            "Endpoint=http://localhost:8080;Authentication=None",
            EngineAddress("localhost", 8080),
        ),
        (
            "endpoint=https://a.northeurope.durabletask.io;taskhub=orders;authentication=None;",
            EngineAddress("a.northeurope.durabletask.io", 443, "orders", secure=True),
        ),
        (
            "Endpoint=https://a.durabletask.io/;TaskHub=orders;Authentication=ManagedIdentity;TokenFile=token=1",
            EngineAddress("a.durabletask.io", 443, "orders", secure=True, token_file="token=1"),  # noqa: S106  a path
        ),
    ],
)
def test_addresses(text: str, address: EngineAddress) -> None:
    assert parse_engine_address(text) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid address of an engine; use dts://HOST:PORT[;HUB], or Endpoint=https://HOST;TaskHub=NAME"),
        ("localhost:8080", "invalid address of an engine; use dts://HOST:PORT"),
        ("http://localhost:8080", "invalid address of an engine; use dts://HOST:PORT"),
        ("dts://localhost", "the address of the engine has no port"),
        ("dts://:8080", "no valid host"),
        ("dts://user:secret@host:8080", "port in the address of the engine must be a number"),
        ("dts://host:0", "must be a number from 1 to 65535"),
        ("dts://host:65536", "must be a number from 1 to 65535"),
        ("dts://host:٣", "must be a number from 1 to 65535"),
        ("dts://[::1:4001", "invalid IPv6 address; use [ADDRESS]:PORT"),
        ("dts://[::1]4001", "invalid IPv6 address"),
        ("dts://host:8080/path", "must be a number from 1 to 65535"),
        ("dts://host:8080;a hub", "the name of a task hub is ASCII without white space"),
        ("dts://host:8080;hub;other", "invalid part 2 of the address of the engine; use KEY=VALUE"),
        ("dts://host:8080;Tls=maybe", "Tls in the address of the engine must be on or off"),
        ("dts://host:8080;hub;TaskHub=other", "TaskHub in the address of the engine is given twice"),
        ("dts://localhost:8080;CaFile=x", "CaFile in the address of the engine needs TLS"),
        ("dts://host:8080;TaskHub=", "TaskHub in the address of the engine is empty"),
        ("dts://host:8080;TokenFiel=x", "unknown key 'TokenFiel' in the address of the engine; did you mean"),
        ("TaskHub=orders", "needs Endpoint=https://HOST"),
        ("Endpoint=ftp://host;TaskHub=orders", "needs Endpoint=https://HOST"),
        ("Endpoint=https://host;TaskHub=orders;Authentication=DefaultAzure", "DefaultAzure isn't supported"),
        ("Endpoint=https://host;Authentication=None;TokenFile=x", "exclude each other"),
    ],
)  # fmt: skip
def test_odd_addresses_get_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_engine_address(text)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_an_address_is_shown_without_its_token_file() -> None:
    address = parse_engine_address("dts://[::1]:4001;orders;TokenFile=/run/token")
    assert (address.target, str(address)) == ("[::1]:4001", "dts://[::1]:4001;orders")
