"""What the end-to-end tests share: a hub each, whose processes don't outlive the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli_harness import CliHarness


@pytest.fixture
def hub(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[CliHarness]:
    """A hub; its engines replay at each turn where the test asks for `replay_always`."""
    made = CliHarness(tmp_path)
    if "replay_always" in request.fixturenames and request.getfixturevalue("replay_always"):
        made.environment["DURABLE_REPLAY_ALWAYS"] = "1"
    yield made
    made.close()
