"""A hub that doesn't exist yet, and a client of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from durablecli.client import Client


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "state")


@pytest.fixture
def client(root: str) -> Client:
    return Client(root)
