"""Which key the links carry: one that opens what they lead to, and no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from durablecli.config import HttpKeysConfig
from durablecli.errors import ConfigError
from durablecli.http.api_keys import ApiKeys, load_keys
from durablecli.store.layout import KEYS_FILE
from tests.http.conftest import BASE, run_server

MASTER = "m" * 32


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1"])
def test_a_master_key_alone_gets_a_system_key_beside_it(tmp_path: Path, address: str) -> None:
    keys, made = load_keys(address, HttpKeysConfig(master=MASTER), str(tmp_path))
    assert made
    assert keys.code == json.loads((tmp_path / KEYS_FILE).read_bytes())["system"]
    again, made = load_keys(address, HttpKeysConfig(master=MASTER), str(tmp_path))
    assert (again.code, made) == (keys.code, False)


def test_links_never_carry_the_master_key(tmp_path: Path) -> None:
    for keys in (load_keys("127.0.0.1", HttpKeysConfig(master=MASTER), str(tmp_path))[0], ApiKeys(master=MASTER)):
        folder = tmp_path / str(keys.code)
        folder.mkdir()
        with run_server(folder, keys=keys) as made:
            head = {"x-functions-key": MASTER}
            answer = made.http.post(f"{BASE}/orchestrators/echo", headers=head)
            assert answer.status_code == 202
            assert MASTER not in answer.text + str(answer.headers)
            found = made.http.get(answer.headers["location"]).status_code
            assert found in (200, 202) if keys.code else found == 401


def test_keys_that_are_kept_have_one_for_the_links(tmp_path: Path) -> None:
    (tmp_path / KEYS_FILE).write_text(json.dumps({"master": MASTER}))
    (tmp_path / KEYS_FILE).chmod(0o600)
    with pytest.raises(ConfigError, match="holds no system key"):
        load_keys("10.0.0.1", HttpKeysConfig(), str(tmp_path))
