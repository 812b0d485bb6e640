"""Instance ids: which are allowed, how they become file names, and how ids of children are made.

A file name is injective, and safe where case or Unicode forms are folded: lower-case letters, digits, `_` and inner `-`
are kept, and every other byte of the UTF-8 becomes `%` and two hex digits. So no name is `.` or `..`, begins with `-`,
or contains a slash. Beyond 150 bytes it is truncated and ends in `~` and a sha256 of the whole id. In the file name of
an entity `@` separates its name from its key, and appears nowhere else.
"""

from __future__ import annotations

import re
import uuid
from hashlib import sha256
from urllib.parse import unquote_to_bytes
from zlib import crc32

from durablecli.errors import UsageError
from durablecli.limits import MAX_ID_LENGTH
from durablecli.model.entity_id import ENTITY_ID_SEPARATOR

MAX_FILE_NAME_LENGTH = 150

_is_plain = re.compile(r"[a-z0-9_][a-z0-9_-]{0,149}").fullmatch
_find_forbidden = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]").search
_PLAIN_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-")
_BYTE_ESCAPES = [chr(byte) if byte in _PLAIN_BYTES else f"%{byte:02x}" for byte in range(256)]
_SHARDS = [f"{byte:02x}" for byte in range(256)]
_KEPT_LENGTH = MAX_FILE_NAME_LENGTH - 1 - 64


def new_id() -> str:
    """Make a random id of 32 hex digits."""
    return uuid.uuid4().hex


def check_instance_id(text: str) -> str:
    """Return the id if an orchestration may have it, by the rules of Durable Functions; raises UsageError."""
    if not isinstance(text, str):
        raise UsageError(f"Orchestration instance ids must be strings, not {type(text).__name__}.")
    text = text if type(text) is str else str.__str__(text)  # a plain str is kept
    if not text:
        raise UsageError("Orchestration instance ids must not be empty.")
    if len(text) > MAX_ID_LENGTH:
        raise UsageError(f"Instance ID lengths must not exceed {MAX_ID_LENGTH} characters.")
    if text[0] == ENTITY_ID_SEPARATOR:
        raise UsageError("Orchestration instance ids must not start with @.")
    if _find_forbidden(text):
        raise UsageError("Orchestration instance ids must not contain /, \\, #, ?, or control characters.")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise UsageError("Orchestration instance ids must be valid Unicode; this one holds a lone surrogate.")
    return text


def file_name(name: str) -> str:
    """Return the file name for a name, without extension. Different names never share one."""
    if _is_plain(name):
        return name
    data = name.encode("utf-8", "surrogatepass")
    if not data:
        return "%"
    return _truncate(_escape(data), data)


def entity_file_name(id: str) -> str:
    """Return the file name of the entity `@name@key`, without extension: `name@key`, both escaped."""
    name, sign, key = id[1:].partition(ENTITY_ID_SEPARATOR)
    data = id.encode("utf-8", "surrogatepass")
    return _truncate(sign.join(_escape(part.encode("utf-8", "surrogatepass")) for part in (name, key)), data)


def parse_file_name(name: str) -> str | None:
    """Return the id whose file has this name, without extension; None if it was truncated, or is another file's."""
    if "~" in name:
        return None
    entity, sign, key = name.partition(ENTITY_ID_SEPARATOR)
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
    """Return the folder for a name: two hex digits, evenly distributed."""
    return _SHARDS[crc32(name.encode("utf-8", "surrogatepass")) & 0xFF]


def make_child_id(parent: str, execution: str, ordinal: int) -> str:
    """Make the id of a sub-orchestration that was given none. It is the same in every replay."""
    return shorten_child_id(f"{parent}:{execution}:{ordinal:x}", parent)


def shorten_child_id(child: str, parent: str) -> str:
    """Return the id of a sub-orchestration. If it is too long and begins with the id of its parent, a hash replaces
    that: ids that are made from those of parents grow with each level."""
    if len(child) <= MAX_ID_LENGTH or not child.startswith(f"{parent}:"):
        return child
    return sha256(parent.encode("utf-8", "surrogatepass")).hexdigest() + child[len(parent) :]
