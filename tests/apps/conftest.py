"""The settings files of an Azure function app, written to the current folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_app_settings(
    durable: Mapping[str, Any] | None = None, values: Mapping[str, Any] | None = None, **more: Any
) -> None:
    extensions = {"durableTask": durable or {}, **more}
    Path("host.json").write_text(json.dumps({"version": "2.0", "extensions": extensions}))
    if values is not None:
        Path("local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": values}))
