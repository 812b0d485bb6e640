"""Installs the packages of the peers in a folder of their own, and says why one can't be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".bench-peers"
PYTHON = FOLDER / "venv/bin/python"
NODE_MODULES = FOLDER / "node_modules"
NPM_PACKAGES = ("@restatedev/restate-server", "@restatedev/restate-sdk")
_LIMIT = 300.0


class PeerMissing(Exception):
    """A peer can't be measured here; the text is the reason."""


def run(command: Sequence[str], **options: object) -> str:
    """Return what a command prints; raise PeerMissing with the end of its output if it fails."""
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_LIMIT, cwd=ROOT, **options
        )  # type: ignore[call-overload]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(str(error)) from error
    if found.returncode:
        lines = (found.stderr or found.stdout).strip().splitlines()
        raise PeerMissing(f"{Path(command[0]).name} failed: {lines[-1] if lines else found.returncode}")
    return str(found.stdout)


@cache
def install_python_packages() -> str:
    """The interpreter that has them."""
    if not PYTHON.exists():
        run([sys.executable, "-m", "venv", str(PYTHON.parents[1])])
    run([str(PYTHON), "-m", "pip", "install", "-q", "--upgrade", "pip>=25.1"])
    run([str(PYTHON), "-m", "pip", "install", "-q", "--group", "peers"])
    return str(PYTHON)


@cache
def install_node_packages() -> Path:
    """The server of Restate."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise PeerMissing("Node.js and npm are not installed")
    run(["npm", "install", "--prefix", str(FOLDER), "--no-audit", "--no-fund", "--ignore-scripts", *NPM_PACKAGES])
    found = sorted(NODE_MODULES.glob("@restatedev/restate-server-*/bin/restate-server"))
    if not found:
        raise PeerMissing("the package has no server for this system")
    return found[0]


@cache
def install_postgres() -> Path:
    """The folder of PostgreSQL's programs."""
    if not _find_postgres() and os.geteuid() == 0 and shutil.which("apt-get"):
        run(["apt-get", "update", "-q"])
        run(["apt-get", "install", "-qy", "postgresql"])
    found = _find_postgres()
    if not found:
        raise PeerMissing("PostgreSQL is not installed")
    return found[-1].parent


def _find_postgres() -> list[Path]:
    named = shutil.which("initdb")
    return [Path(named)] if named else sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
