"""Backs up a folder at three every morning: an archive that was read back, its checksum, and the last ones only."""

from dataclasses import dataclass
from pathlib import Path

import durablecli as df

pack = df.shell("tar --create --gzip --file {archive}.partial --directory {source} .", timeout="2h")
verify = df.shell("tar --compare --gzip --file {archive}.partial --directory {source}", timeout="2h")
publish = df.shell("mv -- {archive}.partial {archive}", retry=df.RetryPolicy(first="1m", max_attempts=5))
checksum = df.shell("sha256sum -- {archive}")


@dataclass(frozen=True)
class Backup:
    """What to back up, where to, and how many archives to keep."""

    source: str
    target: str
    keep: int = 14


@df.activity
def prepare(backup: Backup) -> None:
    """Make the folder, and delete what a failed run has left."""
    Path(backup.target).mkdir(parents=True, exist_ok=True)
    for path in Path(backup.target).glob("*.partial"):
        path.unlink()


@df.activity
def prune(backup: Backup) -> list[str]:
    """Delete the oldest archives; return their names."""
    old = sorted(Path(backup.target).glob("*.tar.gz"))[: -backup.keep]
    for path in old:
        path.unlink(missing_ok=True)
    return [path.name for path in old]


@df.orchestrator(
    schedule="0 3 * * *", timezone="Europe/Vienna", catch_up=True, input={"source": "documents", "target": "backups"}
)
def backup(context: df.DurableOrchestrationContext, backup: Backup):
    day = (context.scheduled_time or context.current_utc_datetime).date()
    job = {"source": backup.source, "archive": f"{backup.target}/{backup.source.replace('/', '-')}-{day}.tar.gz"}
    yield context.call_activity(prepare, backup)
    for step in (pack, verify, publish):
        context.set_custom_status(step.__name__)
        yield context.call_activity(step, job)
    line = yield context.call_activity(checksum, job)
    deleted = yield context.call_activity(prune, backup)
    return {"checksum": line, "deleted": deleted}
