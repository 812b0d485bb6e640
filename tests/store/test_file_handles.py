"""File handles: what needs several of them asks first, and what needs one waits for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, os, resource
from durablecli.engine.workers.activity import _run_awaitable
from durablecli.store import file_handles

async def work():
    return "done"

file_handles.HANDLE_TIMEOUT = 0.2
free = os.dup(0)
os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free + {left}, free + {left}))
try:
    print(_run_awaitable(work()))
except OSError as error:
    print(error.strerror)
"""


LIST_SCRIPT = """
import os, resource, threading
from durablecli.store.disk import LocalDisk

free = os.dup(0)
resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, free + 1))
threading.Timer(0.2, os.close, [free]).start()
print(len(LocalDisk().listdir("/")) > 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="file handles are numbered in order")
@pytest.mark.parametrize(("left", "said"), [(2, "Too many open files"), (3, "done")])
def test_an_event_loop_is_created_only_with_all_its_handles(left: int, said: str) -> None:
    """A loop that is only half created would print a traceback."""
    script = [sys.executable, "-W", "ignore", "-c", SCRIPT.format(left=left)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert said in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="file handles are numbered in order")
def test_a_folder_is_listed_once_there_is_a_handle() -> None:
    done = subprocess.run([sys.executable, "-c", LIST_SCRIPT], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr
