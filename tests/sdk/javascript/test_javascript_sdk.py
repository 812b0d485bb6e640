"""The tests in `*.test.js`, each file against a daemon of its own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.sdk.backends import IN_MEMORY, run_daemon
from tests.sdk.javascript.find_node import PROJECT

pytestmark = pytest.mark.skipif(IN_MEMORY, reason="the in-memory backend of Python doesn't serve this SDK")

FILES = sorted(PROJECT.glob("*.test.js"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".test.js"))
def test_all_pass(node: str, file: Path, tmp_path: Path) -> None:
    with run_daemon(tmp_path) as daemon:
        done = subprocess.run(
            [node, "--test", "--test-reporter=spec", file.name],
            cwd=PROJECT, env=os.environ | {"HUB_ADDRESS": daemon.address},
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout.partition("failing tests:")[2] or done.stdout + done.stderr
    counts = {name: int(number) for name, number in re.findall(r"(tests|pass) (\d+)$", done.stdout, re.MULTILINE)}
    assert counts["tests"] == counts["pass"] >= len(re.findall(r"^ *test\(", file.read_text(), re.MULTILINE))
