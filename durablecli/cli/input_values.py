"""Values on the command line: JSON, @file.json, @file.yaml, or - for standard input."""

from __future__ import annotations

import codecs
import sys

import msgspec
from msgspec import Raw

from durablecli.errors import NoPermission, NotFound, Unserializable, UsageError
from durablecli.limits import PAYLOAD_LIMIT
from durablecli.model.payloads import TOO_DEEP, check_nesting, encode

BATCH_LIMIT = 1024 * 1024 * 1024
_OTHER_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
INPUT_HELP = "JSON, @file.json, @file.yaml, or - for standard input"


def read_value(text: str, source: str = "--input") -> Raw:
    """Read a value as JSON on one line; raise UsageError that says where it is invalid."""
    if text == "-":
        return parse_json(_check_size(sys.stdin.buffer.read(PAYLOAD_LIMIT + 1), "standard input"), "standard input")
    if not text.startswith("@"):
        return parse_json(text.encode("utf-8", "surrogateescape"), source)
    path = text[1:]
    data = _read_file(path)
    return parse_yaml(data, path) if path.lower().endswith((".yaml", ".yml")) else parse_json(data, path)


def read_batch(path: str) -> dict[int, Raw]:
    """Read one input per line of a JSON Lines file, by the number of its line; empty lines are skipped."""
    data = sys.stdin.buffer.read() if path == "-" else _read_file(path, BATCH_LIMIT)
    rows = [_strip_bom(line, path) for line in _strip_bom(data, path).split(b"\n")]
    lines = [(number, line) for number, line in enumerate(rows, 1) if line.strip()]
    if not lines:
        raise UsageError(f"{path} has no input; write one JSON value per line")
    return {
        number: parse_json(_check_size(line, f"{path}, line {number}"), f"{path}, line {number}")
        for number, line in lines
    }


def parse_json(data: bytes, where: str) -> Raw:
    """Check JSON and return it on one line; numbers stay as they were written."""
    data = _strip_bom(data, where)
    try:
        data.decode()
        msgspec.json.decode(data)
        check_nesting(data)
        return Raw(msgspec.json.format(data, indent=-1))
    except (RecursionError, Unserializable):
        raise UsageError(f"{where}: {TOO_DEEP}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{where}: not UTF-8") from None
    except ValueError as error:
        reason = str(error).removeprefix("JSON is malformed: ").replace("Input data was truncated", "it ends too early")
        hint = " (a string needs JSON quotes: '\"Tokyo\"')" if where.startswith("--") else ""
        raise UsageError(f"{where}: not JSON: {reason}{hint}") from None


def parse_yaml(data: bytes, where: str) -> Raw:
    """Parse a YAML document safely and return it as JSON."""
    import yaml

    try:
        value = yaml.safe_load(_strip_bom(data, where).decode("utf-8"))
        _refuse_alias_bombs(value, where)
        return encode(value)
    except yaml.MarkedYAMLError as error:
        place = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{where}{place}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: not YAML: {' '.join(str(error).split())}") from None
    except Unserializable as error:
        raise UsageError(f"{where}: {error}") from None
    except RecursionError:
        raise UsageError(f"{where}: {TOO_DEEP}") from None


def _strip_bom(data: bytes, where: str) -> bytes:
    """Remove the byte order mark that editors on Windows write."""
    if data.startswith(_OTHER_BOMS):
        raise UsageError(f"{where}: encoded as UTF-16 or UTF-32; save it as UTF-8")
    return data.removeprefix(codecs.BOM_UTF8)


def _refuse_alias_bombs(value: object, where: str) -> None:
    """Refuse a file whose aliases expand to too many values; count them before anything walks them."""
    sizes: dict[int, int] = {}

    def size(node: object) -> int:
        if not isinstance(node, dict | list | set | tuple):
            return 1
        if id(node) not in sizes:
            sizes[id(node)] = PAYLOAD_LIMIT + 1  # for a node that contains itself
            inner = [*node.keys(), *node.values()] if isinstance(node, dict) else node
            sizes[id(node)] = 1 + sum(size(item) for item in inner)
        return sizes[id(node)]

    if size(value) > PAYLOAD_LIMIT:
        raise UsageError(f"{where}: its aliases expand to more than {PAYLOAD_LIMIT:,} values")


def _read_file(path: str, limit: int = PAYLOAD_LIMIT) -> bytes:
    try:
        with open(path, "rb") as file:
            return _check_size(file.read(limit + 1), path, limit)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"no such file: {path}") from None
    except PermissionError:
        raise NoPermission(f"no permission to read {path}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"can't read {path}: {getattr(error, 'strerror', None) or error}") from None


def _check_size(data: bytes, where: str, limit: int = PAYLOAD_LIMIT) -> bytes:
    if len(data) > limit:
        raise UsageError(f"{where}: larger than the limit of {limit >> 20} MiB; pass the path of a file instead")
    return data
