"""The pytest plugin in a project of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TEST = """
import sys

import pytest

import durablecli as df


@df.resource
def greeting():
    yield "hello"
    print("torn down")


@df.activity
def greet(name, text=df.Depends(greeting)):
    return f"{text} {name}"


@df.orchestrator
def flow(context):
    return (yield context.call_activity(greet, "Lima"))


def test_light():
    assert "durablecli.testing" not in sys.modules


def test_flow(durable_hub):
    hub = durable_hub(flow, greet)
    assert hub.finish(hub.client.start_new(flow)).output == "hello Lima"


def test_options(durable_hub):
    first, second = durable_hub(flow, greet, replay_always=True), durable_hub(flow, greet)
    assert first.client is not second.client
"""


def test_the_fixture_exists_where_durablecli_is_installed(tmp_path: Path) -> None:
    (tmp_path / "test_flow.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-rP", "-p", "no:randomly", "-p", "no:xdist", "-W", "error"]
    done = subprocess.run([*command, "test_flow.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    assert "torn down" in done.stdout
