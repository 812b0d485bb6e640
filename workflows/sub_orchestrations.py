"""Provision many devices: one orchestration each, so that each has its own history, retries and outcome.

durable run sub_orchestrations --input '{"folder": "/tmp/devices", "devices": ["pump-1", "pump-2", "valve-1"]}'
"""

import json
import os
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import durablecli as df

# A full disk or a slow share may be better in a second; a name that is no file name never will be.
RETRY = df.RetryPolicy(timedelta(seconds=1), 5, backoff_coefficient=2.0, non_retryable=[ValueError])


@dataclass(frozen=True)
class Site:
    """The devices, and the folder that gets a configuration file for each."""

    folder: str
    devices: list[str]


@dataclass(frozen=True)
class Device:
    """One of them."""

    folder: str
    name: str

    @property
    def path(self) -> Path:
        """Where its configuration stands."""
        if not self.name.isprintable() or "/" in self.name or self.name.startswith("."):
            raise ValueError(f"{self.name!r} can't be the name of a device")
        return Path(self.folder) / f"{self.name}.json"


@df.activity
def write_config(device: Device) -> str:
    """Write the configuration: whole or not at all, and the same if it is written twice."""
    path = device.path
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"device": device.name, "mode": "standby"}))
    os.replace(draft, path)
    return str(path)


@df.activity
def activate(device: Device) -> None:
    """Switch the device on; doing it twice changes nothing."""
    config = json.loads(device.path.read_text())
    draft = device.path.with_suffix(".draft")
    draft.write_text(json.dumps(config | {"mode": "active"}))
    os.replace(draft, device.path)


@df.orchestrator
def provision_device(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    """One device. It can also be started by itself."""
    device: Device = context.get_input(Device)
    path = yield context.call_activity_with_retry(write_config, RETRY, device)
    yield context.call_activity_with_retry(activate, RETRY, device)
    return str(path)


@df.orchestrator
def sub_orchestrations(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, Any]]:
    """All devices at once. One that fails doesn't stop the others."""
    site: Site = context.get_input(Site)
    devices = [Device(site.folder, name) for name in sorted(set(site.devices))]
    tasks = {device.name: context.call_sub_orchestrator(provision_device, device) for device in devices}
    with suppress(df.TaskFailedError):  # it waits for all; which of them failed is told below
        yield context.task_all(tasks.values())
    return {
        "ready": [task.result for task in tasks.values() if not task.is_faulted],
        "failed": {name: str(task.result) for name, task in tasks.items() if task.is_faulted},
    }
