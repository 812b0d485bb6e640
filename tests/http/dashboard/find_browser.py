"""Finds the Chromium or Chrome of this machine. As a program it prints the path, or exits with 1."""

from __future__ import annotations

import shutil
import sys

_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def find_browser() -> str | None:
    """Return the path; None if there is none."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


if __name__ == "__main__":
    found = find_browser()
    print(found)
    sys.exit(found is None)
