"""What the engine hands to a hook: the event, what it happened to, and where it is delivered."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256

import msgspec

from durablecli.limits import MAX_ID_LENGTH

HOOK_ORCHESTRATOR = "BuiltIn__Hook"
HOOK_DETAILS_ACTIVITY = "BuiltIn__HookDetails"
HOOK_URL_ACTIVITY = "BuiltIn__HookUrl"
HOOK_COMMAND_ACTIVITY = "BuiltIn__HookCommand"
HOOK_PREFIX = "durable-hook:"
"""The prefix of the ids of deliveries."""
PAYLOAD_VERSION = 1

_MAX_HEAD_BYTES = 1024
_MAX_TEXT_LENGTH = 4096
_find_variables = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class HookTarget(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Where an event is delivered, and how often that is tried. `timeout` is in seconds."""

    url: str | None = None
    run: str | None = None
    headers: dict[str, str] = {}
    timeout: float = 30.0
    attempts: int = 10

    @property
    def label(self) -> str:
        """The target for people, without the parts of an address that may be secret."""
        if self.url is None:
            return self.run or ""
        if "${" in self.url:
            return self.url  # the variables are named, not read
        return re.split(r"[?#;]", re.sub(r"//[^/@]*@", "//", self.url), maxsplit=1)[0]


class HookError(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an instance failed with: the exception of the author's code, and the line that has raised it."""

    type: str
    message: str
    location: str | None = None


class FailedCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """The call whose failure an instance failed with. `kind` is activity, child or entity.

    `instance` is the instance that has made the call: the one that failed, or a sub-orchestration of it. `target` is
    the entity or sub-orchestration that was called. `input` is the head of the input, as JSON text.
    """

    kind: str
    name: str
    instance: str
    attempt: int
    label: str | None = None
    target: str | None = None
    input: str | None = None
    error: HookError | None = None


class HookEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """The payload that a hook receives, as JSON.

    `id` is the same for all attempts of a delivery. `event` is failed, blocked, completed or terminated, `status` that
    of the instance, and `at` when it happened, UTC. `text` says it in one line. `input` and `output` are texts: the
    first KiB of the JSON. `activity` is the call that failed. `reason` is why the instance is blocked or was
    terminated. `url` is the page of the instance in the dashboard, if there is one.
    """

    version: int
    id: str
    event: str
    text: str
    instance: str
    execution: str
    name: str
    status: str
    at: datetime
    hub: str = ""
    parent: str | None = None
    tags: dict[str, str] = {}
    error: HookError | None = None
    activity: FailedCall | None = None
    reason: str | None = None
    output: str | None = None
    url: str | None = None


class HookDelivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """The input of the orchestration that delivers an event to one hook."""

    event: HookEvent
    target: HookTarget


class HookAttempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """The input of the activity that tries to deliver an event."""

    event: HookEvent
    target: HookTarget
    number: int = 1


def make_delivery_id(instance: str, execution: str, n: int, event: str, index: int) -> str:
    """Make the id of the delivery to hook `index` of the event in record `n` of an execution."""
    suffix = f":{execution}:{n:x}:{event}{index}"
    if len(HOOK_PREFIX) + len(instance) + len(suffix) > MAX_ID_LENGTH:
        instance = sha256(instance.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{HOOK_PREFIX}{instance}{suffix}"


def make_head(payload: bytes | msgspec.Raw) -> str:
    """Return the first KiB of a JSON text, ended with `…` if there is more."""
    data = bytes(memoryview(payload)[: _MAX_HEAD_BYTES + 1])
    text = data[:_MAX_HEAD_BYTES].decode("utf-8", "ignore")
    return f"{text}…" if len(data) > _MAX_HEAD_BYTES else text


def limit_text(text: str) -> str:
    """Return a text of at most 4,096 characters, ended with `…` if it was longer."""
    return text if len(text) <= _MAX_TEXT_LENGTH else f"{text[:_MAX_TEXT_LENGTH]}…"


def split_command(command: str) -> list[str]:
    """Split a command into words as a shell does; raises ValueError for an open quote."""
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ValueError(f"run can't be split into words: {str(error).lower()}") from None


def expand_variables(text: str, environment: Mapping[str, str]) -> str:
    """Replace each `${NAME}` by the value of the environment variable. Raises LookupError, which names it."""

    def read(found: re.Match[str]) -> str:
        value = environment.get(found[1])
        if not value:
            raise LookupError(f"the environment variable {found[1]}, which the hook names, isn't set")
        return value

    replace: Callable[[re.Match[str]], str] = read
    return _find_variables.sub(replace, text)
