"""Delivers an event to a hook, once: posts it to an address, or runs a command that reads it from its stdin."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from time import monotonic
from urllib.parse import quote

import msgspec

from durablecli.builtin.call_http import send_request
from durablecli.model.hook_delivery import HookEvent, HookTarget, expand_variables, split_command
from durablecli.model.http_messages import DurableHttpRequest

_POLL_INTERVAL = 0.1
_MAX_OUTPUT = 4096
_log = logging.getLogger("durablecli.hook")


class HookFailed(Exception):
    """An attempt to deliver an event has failed."""


async def post_event(event: HookEvent, target: HookTarget) -> None:
    """Post the event as JSON. Raises HookFailed unless the response is 2xx; redirects are not followed."""
    request = _make_request(event, target)
    try:
        response = await send_request(request, timedelta(seconds=target.timeout), follow_redirects=False)
    except (OSError, ValueError) as error:  # the address may contain secrets
        text = str(error).removeprefix(f"{request.label}: ")
        raise HookFailed(f"{target.label}: {text}") from None
    status = response.status_code
    if 300 <= status < 400:
        raise HookFailed(f"{target.label} answered {status}: redirects are not followed")
    if not 200 <= status < 300:
        raise HookFailed(f"{target.label} answered {status}")


def _make_request(event: HookEvent, target: HookTarget) -> DurableHttpRequest:
    assert target.url is not None
    try:
        headers = {"Content-Type": "application/json", "Idempotency-Key": quote(event.id, safe=":")}
        given = {name: expand_variables(text, os.environ) for name, text in target.headers.items()}
        folded = {name.casefold() for name in given}
        headers = {name: text for name, text in headers.items() if name.casefold() not in folded} | given
        url = expand_variables(target.url, os.environ)
    except LookupError as error:
        raise HookFailed(f"{target.label}: {error.args[0]}") from None
    try:
        return DurableHttpRequest("POST", url, msgspec.json.encode(event).decode(), headers)
    except (ValueError, TypeError):
        raise HookFailed(f"{target.label}: not an absolute http or https URL, or a header is invalid") from None


def run_command(event: HookEvent, target: HookTarget, folder: str, must_stop: Callable[[], bool]) -> None:
    """Run the command in a folder, with the event as JSON on its stdin. Raises HookFailed unless it exits with 0.

    What it prints is logged, at most the last 4 KiB. Its processes are killed if it takes too long, and when
    `must_stop` is true.
    """
    assert target.run is not None
    words = split_command(target.run)
    environment = os.environ | _make_variables(event)
    with _start(words, folder, environment, target) as process:
        output = _OutputTail(process)
        _write(process, msgspec.json.encode(event))
        code = _wait(process, target, must_stop)
        text = output.finish()
    if text:
        _log.info("%s printed: %s", target.label, text)
    if code:
        last = text.splitlines()[-1][:300] if text else ""
        how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        raise HookFailed(f"{target.label} {how}{': ' if last else ''}{last}")


def _make_variables(event: HookEvent) -> dict[str, str]:
    error = event.error.message if event.error is not None else event.reason or ""
    return {
        "DURABLE_EVENT": event.event,
        "DURABLE_INSTANCE": event.instance,
        "DURABLE_NAME": event.name,
        "DURABLE_STATUS": event.status,
        "DURABLE_TEXT": event.text.replace("\0", ""),
        "DURABLE_ERROR": error.replace("\0", ""),
        "DURABLE_STATE_DIR": event.hub,
    }


@contextmanager
def _start(
    words: list[str], folder: str, environment: dict[str, str], target: HookTarget
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command as a process group of its own, of which nothing is left at the end."""
    try:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise HookFailed(f"{target.label} can't be run: {error.strerror}") from None
    try:
        yield process
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _write(process: subprocess.Popen[bytes], data: bytes) -> None:
    """Write the event in a thread: the command need not read it."""

    def write() -> None:
        assert process.stdin is not None
        with suppress(OSError), process.stdin as stdin:
            stdin.write(data)

    threading.Thread(target=write, name="durable-hook-input", daemon=True).start()


def _wait(process: subprocess.Popen[bytes], target: HookTarget, must_stop: Callable[[], bool]) -> int:
    until = monotonic() + target.timeout
    while True:
        try:
            return process.wait(min(_POLL_INTERVAL, max(0.0, until - monotonic())))
        except subprocess.TimeoutExpired:
            if must_stop():
                raise HookFailed(f"{target.label} was stopped with the engine") from None
            if monotonic() >= until:
                raise HookFailed(f"{target.label} took longer than {target.timeout:g} s and was killed") from None


class _OutputTail:
    """Reads what a process prints, and keeps the end of it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._stdout = process.stdout
        self._tail = b""
        self._thread = threading.Thread(target=self._read, name="durable-hook-output", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError, ValueError), self._stdout:
            while data := os.read(self._stdout.fileno(), 65_536):
                self._tail = (self._tail + data)[-_MAX_OUTPUT:]

    def finish(self) -> str:
        """Return what was printed. A process that outlives the command may keep the pipe open, and isn't waited for."""
        self._thread.join(_POLL_INTERVAL * 5)
        return self._tail.decode(errors="replace").strip()
