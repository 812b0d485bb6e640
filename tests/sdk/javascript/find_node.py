"""Finds a Node.js that runs the tests, and npm. As a program it prints the path, or exits with 1."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parent
PACKAGES = PROJECT / "node_modules"
OLDEST = 18


def find_node() -> str | None:
    """Return the path; None if it or npm is missing, or if it is too old."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return None
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = re.match(r"v(\d+)\.", version)
    return node if major and int(major[1]) >= OLDEST else None


if __name__ == "__main__":
    found = find_node()
    print(found)
    sys.exit(found is None)
