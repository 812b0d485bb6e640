"""The backup as a flow of Prefect, with its package prefect-shell: `python backup_prefect.py` serves the schedule."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from prefect import flow, task
from prefect.runtime import flow_run
from prefect.schedules import Cron
from prefect_shell import ShellOperation

ZONE = "Europe/Vienna"


@dataclass(frozen=True)
class Backup:
    """What to back up, where to, and how many archives to keep."""

    source: str
    target: str
    keep: int = 14


@task
def prepare(backup: Backup) -> None:
    """Make the folder, and delete what a failed run has left."""
    Path(backup.target).mkdir(parents=True, exist_ok=True)
    for path in Path(backup.target).glob("*.partial"):
        path.unlink()


@task
def shell(*words: str) -> str:
    """Run a command, with its lines in the log of the flow; return the lines."""
    return "\n".join(ShellOperation(commands=[shlex.join(words)]).run())


pack = shell.with_options(name="pack", timeout_seconds=2 * 3600)
verify = shell.with_options(name="verify", timeout_seconds=2 * 3600)
publish = shell.with_options(name="publish", retries=4, retry_delay_seconds=60)
checksum = shell.with_options(name="checksum")


@task
def prune(backup: Backup) -> list[str]:
    """Delete the oldest archives; return their names."""
    old = sorted(Path(backup.target).glob("*.tar.gz"))[: -backup.keep]
    for path in old:
        path.unlink(missing_ok=True)
    return [path.name for path in old]


def notify(flow: Any, run: Any, state: Any) -> None:
    text = f"{flow.name} {run.name}: {state.message}"
    httpx.post(os.environ["CHAT_WEBHOOK"], json={"text": text}, timeout=30).raise_for_status()


@flow(on_failure=[notify], on_crashed=[notify])
def backup(source: str, target: str, keep: int = 14) -> dict[str, Any]:
    job = Backup(source, target, keep)
    day = flow_run.scheduled_start_time.astimezone(ZoneInfo(ZONE)).date()
    archive = f"{target}/{source.replace('/', '-')}-{day}.tar.gz"
    prepare(job)
    pack("tar", "--create", "--gzip", "--file", f"{archive}.partial", "--directory", source, ".")
    verify("tar", "--compare", "--gzip", "--file", f"{archive}.partial", "--directory", source)
    publish("mv", "--", f"{archive}.partial", archive)
    return {"checksum": checksum("sha256sum", "--", archive), "deleted": prune(job)}


if __name__ == "__main__":
    nightly = Cron("0 3 * * *", timezone=ZONE)
    backup.serve("nightly", schedules=[nightly], limit=1, parameters={"source": "documents", "target": "backups"})
