"""The identity of processes: a pid alone is not enough, because the system reuses the numbers."""

from __future__ import annotations

import os
import sys
from functools import cache


@cache
def boot_id() -> str:
    """Identify this run of the machine, from boot to shutdown."""
    if sys.platform == "darwin":
        return _run_command("sysctl", "-n", "kern.bootsessionuuid")
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def start_token(pid: int) -> str | None:
    """Return a token that no other process with this pid has, or None if there is no such process."""
    if sys.platform == "darwin":
        started = _run_command("ps", "-o", "lstart=", "-p", str(pid))
        return f"{boot_id()}:{started}" if started else None
    fields = _stat_fields(pid)
    if not fields or fields[0] in (b"Z", b"X"):
        return None  # dead, but not yet reaped
    return f"{boot_id()}:{int(fields[19])}"


@cache
def pid_namespace() -> str:
    """Identify the PID namespace of this process; empty where there are none."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def is_process_alive(pid: int, started: str) -> bool:
    """Return whether the process with this start token is still running."""
    return start_token(pid) == started


def is_pid_in_use(pid: int) -> bool:
    """Return whether any process has this pid now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def is_process_stopped(pid: int) -> bool:
    """Return whether a process was stopped by a signal or a debugger; False where the system doesn't say."""
    return _stat_fields(pid)[:1] in ([b"T"], [b"t"])


def _stat_fields(pid: int) -> list[bytes]:
    """Read the fields of /proc/PID/stat from the state on; none if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].split()  # the command before it may contain any text
    except OSError:
        return []


def _run_command(*command: str) -> str:
    import subprocess  # only needed on macOS

    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
