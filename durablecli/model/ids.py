"""Names of instances: what is allowed, how it looks as a file name, and how a child is called.

A file name is injective and safe wherever case or Unicode forms are folded: lower-case letters, digits, `_` and inner
`-` stand for themselves, every other byte of the UTF-8 is `%` and two hex digits. So no name is `.` or `..`, begins
with `-`, or holds a slash. What passes 150 bytes is cut and ends in `~` and a sha256 of the whole id. The `@` in
the file name of an entity stands between its name and its key, and nowhere else.
"""

from __future__ import annotations

import re
import uuid
from hashlib import sha256
from urllib.parse import unquote_to_bytes
from zlib import crc32

from durablecli.errors import UsageError
from durablecli.limits import MAX_ID_LENGTH

MAX_FILE_NAME_LENGTH = 150

_is_plain = re.compile(r"[a-z0-9_][a-z0-9_-]{0,149}").fullmatch
_find_forbidden = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]").search
_PLAIN_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-")
_BYTE_ESCAPES = [chr(byte) if byte in _PLAIN_BYTES else f"%{byte:02x}" for byte in range(256)]
_SHARDS = [f"{byte:02x}" for byte in range(256)]
_KEPT_LENGTH = MAX_FILE_NAME_LENGTH - 1 - 64


def new_id() -> str:
    """A random id: 32 hex digits."""
    return uuid.uuid4().hex


def check_instance_id(text: str) -> str:
    """The id itself, if an orchestration may have it; raises UsageError. The limits are those of Durable Functions."""
    if not isinstance(text, str):
        raise UsageError(f"Orchestration instance ids must be strings, not {type(text).__name__}.")
    text = text if type(text) is str else str.__str__(text)  # what is kept is a plain str
    if not text:
        raise UsageError("Orchestration instance ids must not be empty.")
    if len(text) > MAX_ID_LENGTH:
        raise UsageError(f"Instance ID lengths must not exceed {MAX_ID_LENGTH} characters.")
    if text[0] == "@":
        raise UsageError("Orchestration instance ids must not start with @.")
    if _find_forbidden(text):
        raise UsageError("Orchestration instance ids must not contain /, \\, #, ?, or control characters.")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise UsageError("Orchestration instance ids must be valid Unicode; this one holds a lone surrogate.")
    return text


def file_name(name: str) -> str:
    """The file name, without extension, of whatever `name` names: different names never share one."""
    if _is_plain(name):
        return name
    data = name.encode("utf-8", "surrogatepass")
    if not data:
        return "%"
    return _truncate(_escape(data), data)


def entity_file_name(id: str) -> str:
    """The file name, without extension, of the entity `@name@key`: `name@key`, both spelled as above."""
    name, sign, key = id[1:].partition("@")
    data = id.encode("utf-8", "surrogatepass")
    return _truncate(sign.join(_escape(part.encode("utf-8", "surrogatepass")) for part in (name, key)), data)


def parse_file_name(name: str) -> str | None:
    """The id whose file has this name (without extension); None where the name was cut, or is none of ours."""
    if "~" in name:
        return None
    entity, sign, key = name.partition("@")
    try:
        parts = [unquote_to_bytes(part).decode("utf-8", "surrogatepass") for part in (entity, key)]
    except UnicodeDecodeError:
        return None
    id = f"@{parts[0]}@{parts[1]}" if sign else parts[0]
    return id if name in (file_name(id), entity_file_name(id)) else None


def _escape(data: bytes) -> str:
    spelled = "".join([_BYTE_ESCAPES[byte] for byte in data])
    return f"%2d{spelled[1:]}" if spelled[:1] == "-" else spelled


def _truncate(spelled: str, data: bytes) -> str:
    if len(spelled) <= MAX_FILE_NAME_LENGTH:
        return spelled
    return f"{spelled[:_KEPT_LENGTH]}~{sha256(data).hexdigest()}"


def shard(name: str) -> str:
    """The folder of a name: two hex digits, spread evenly."""
    return _SHARDS[crc32(name.encode("utf-8", "surrogatepass")) & 0xFF]


def child_id(parent: str, execution: str, ordinal: int) -> str:
    """The id of a sub-orchestration that was given none; it is the same on every replay."""
    child = f"{parent}:{execution}:{ordinal:x}"
    if len(child) <= MAX_ID_LENGTH:
        return child
    return f"{sha256(parent.encode('utf-8', 'surrogatepass')).hexdigest()}:{execution}:{ordinal:x}"
