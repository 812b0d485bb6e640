"""The API keys: which are in force at an address, and which one the links carry."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from durablecli.config import HttpKeysConfig
from durablecli.errors import ConfigError
from durablecli.serving.api_keys import ApiKeys, load_keys
from durablecli.store.http_keys import load_or_create_keys
from durablecli.store.layout import KEYS_FILE
from tests.http.conftest import BASE, run_server

MASTER = "m" * 32


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1"])
def test_a_system_key_is_generated_if_only_a_master_key_is_given(tmp_path: Path, address: str) -> None:
    keys, made = load_keys(address, HttpKeysConfig(master=MASTER), partial(load_or_create_keys, str(tmp_path)))
    assert made
    assert keys.code == json.loads((tmp_path / KEYS_FILE).read_bytes())["system"]
    again, made = load_keys(address, HttpKeysConfig(master=MASTER), partial(load_or_create_keys, str(tmp_path)))
    assert (again.code, made) == (keys.code, False)


def test_links_never_carry_the_master_key(tmp_path: Path) -> None:
    generated, _ = load_keys("127.0.0.1", HttpKeysConfig(master=MASTER), partial(load_or_create_keys, str(tmp_path)))
    for keys in (generated, ApiKeys(master=MASTER)):
        folder = tmp_path / str(keys.code)
        folder.mkdir()
        with run_server(folder, keys=keys) as made:
            head = {"x-functions-key": MASTER}
            answer = made.http.post(f"{BASE}/orchestrators/echo", headers=head)
            assert answer.status_code == 202
            assert MASTER not in answer.text + str(answer.headers)
            found = made.http.get(answer.headers["location"]).status_code
            assert found in (200, 202) if keys.code else found == 401


def test_stored_keys_must_include_a_system_key(tmp_path: Path) -> None:
    (tmp_path / KEYS_FILE).write_text(json.dumps({"master": MASTER}))
    (tmp_path / KEYS_FILE).chmod(0o600)
    with pytest.raises(ConfigError, match="contains no system key"):
        load_keys("10.0.0.1", HttpKeysConfig(), partial(load_or_create_keys, str(tmp_path)))


def test_a_loopback_address_needs_no_key(tmp_path: Path) -> None:
    for address in ("127.0.0.1", "::1", "127.1.2.3"):
        keys, made = load_keys(address, HttpKeysConfig(), partial(load_or_create_keys, str(tmp_path)))
        assert not keys.enabled
        assert not made
    assert [*tmp_path.iterdir()] == []


def test_keys_for_a_public_address_are_generated_once(tmp_path: Path) -> None:
    keys, made = load_keys("0.0.0.0", HttpKeysConfig(), partial(load_or_create_keys, str(tmp_path)))  # noqa: S104  the point of the test
    assert made
    assert len(keys.code or "") >= 32
    path = tmp_path / "keys.json"
    assert path.stat().st_mode & 0o777 == 0o600
    again, made = load_keys("192.168.0.1", HttpKeysConfig(), partial(load_or_create_keys, str(tmp_path)))
    assert not made
    assert again.code == keys.code
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="only you can read"):
        load_keys("0.0.0.0", HttpKeysConfig(), partial(load_or_create_keys, str(tmp_path)))  # noqa: S104


def test_keys_in_the_settings_apply_at_every_address(tmp_path: Path) -> None:
    keys, made = load_keys("127.0.0.1", HttpKeysConfig(master="mine"), partial(load_or_create_keys, str(tmp_path)))
    assert keys.enabled
    assert made
    assert keys.code not in (None, "mine")
    with pytest.raises(ConfigError, match="system or master"):
        load_keys("127.0.0.1", HttpKeysConfig(function="mine"), partial(load_or_create_keys, str(tmp_path)))
