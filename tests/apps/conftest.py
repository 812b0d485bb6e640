"""An empty current folder, and the settings files of an Azure function app."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_app_settings(
    durable: Mapping[str, Any] | None = None, values: Mapping[str, Any] | None = None, **more: Any
) -> None:
    extensions = {"durableTask": durable or {}, **more}
    Path("host.json").write_text(json.dumps({"version": "2.0", "extensions": extensions}))
    if values is not None:
        Path("local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": values}))
