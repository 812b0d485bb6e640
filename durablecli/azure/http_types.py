"""The request and the response of an HTTP function, as in `azure.functions`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from functools import cached_property
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl


class RequestHeaders(Mapping[str, str]):
    """The headers of a request. Names are compared without case."""

    def __init__(self, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        given = headers.items() if isinstance(headers, Mapping) else headers
        self._headers = {name.lower(): value for name, value in given}

    def __getitem__(self, name: str) -> str:
        return self._headers[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._headers

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._headers})"


class ResponseHeaders(MutableMapping[str, str]):
    """The headers of a response, in order. Names are compared without case, and a name may occur several times."""

    def __init__(self, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        given = headers.items() if isinstance(headers, Mapping) else headers
        self._headers = [(name, str(value)) for name, value in given]

    def add(self, name: str, value: object) -> None:
        """Add a header, and keep others of this name."""
        self._headers.append((name, str(value)))

    add_header = add

    def set(self, name: str, value: object) -> None:
        """Set a header, replacing those of this name."""
        self._headers = [*self._without(name), (name, str(value))]

    __setitem__ = set

    def getlist(self, name: str) -> list[str]:
        """All values of this name."""
        return [value for known, value in self._headers if known.lower() == name.lower()]

    get_all = getlist

    def pairs(self) -> list[tuple[str, str]]:
        """All headers, including several of one name."""
        return list(self._headers)

    def __getitem__(self, name: str) -> str:
        found = self.getlist(name)
        if not found:
            raise KeyError(name)
        return found[0]

    def __delitem__(self, name: str) -> None:
        self._headers = self._without(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.getlist(name))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._headers))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self._headers})

    def _without(self, name: str) -> list[tuple[str, str]]:
        return [(known, value) for known, value in self._headers if known.lower() != name.lower()]


class FormFields(dict[str, Any]):
    """The fields of a form, each with its first value; `getlist` returns all."""

    def __init__(self, pairs: Iterable[tuple[str, Any]] = ()) -> None:
        self._pairs = list(pairs)
        super().__init__(reversed(self._pairs))

    def getlist(self, name: str) -> list[Any]:
        """All values of a field."""
        return [value for known, value in self._pairs if known == name]


class UploadedFile:
    """An uploaded file of a form."""

    def __init__(self, name: str, filename: str, content_type: str, data: bytes) -> None:
        self.name = name
        self.filename = filename
        self.content_type = self.mimetype = content_type
        self.stream = BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        """Read the next `size` bytes, or the rest."""
        return self.stream.read(size)

    def save(self, path: str) -> None:
        """Write it to a file."""
        Path(path).write_bytes(self.stream.getvalue())


class HttpRequest:
    """A request. `params` are the parameters of the query, `route_params` those of the route."""

    def __init__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        params: Mapping[str, str] | None = None,
        route_params: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        self.method = method.upper()
        self.url = url
        self.headers = RequestHeaders(headers or ())
        self.params: Mapping[str, str] = MappingProxyType(dict(params or {}))
        self.route_params: Mapping[str, str] = MappingProxyType(dict(route_params or {}))
        self._body = body

    def get_body(self) -> bytes:
        """The body as bytes."""
        return self._body

    def get_json(self) -> Any:
        """Parse the body as JSON; raises ValueError."""
        return json.loads(self._body.decode("utf-8-sig"))

    @property
    def form(self) -> FormFields:
        """The fields of a form; empty if the body is not a form."""
        return self._form_parts[0]

    @property
    def files(self) -> FormFields:
        """The files of a form."""
        return self._form_parts[1]

    @cached_property
    def _form_parts(self) -> tuple[FormFields, FormFields]:
        kind = self.headers.get("content-type", "")
        if kind.startswith("application/x-www-form-urlencoded"):
            return FormFields(parse_qsl(self._body.decode("utf-8", "replace"), keep_blank_values=True)), FormFields()
        if kind.startswith("multipart/form-data"):
            return _parse_multipart(kind, self._body)
        return FormFields(), FormFields()


def _parse_multipart(kind: str, body: bytes) -> tuple[FormFields, FormFields]:
    message = BytesParser(EmailMessage, policy=policy.HTTP).parsebytes(
        b"Content-Type: " + kind.encode("latin-1", "replace") + b"\r\n\r\n" + body
    )
    fields: list[tuple[str, Any]] = []
    files: list[tuple[str, Any]] = []
    for part in message.iter_parts():
        name, filename = part.get_param("name", header="content-disposition"), part.get_filename()
        payload = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(payload, bytes):
            continue
        if filename is None:
            fields.append((name, payload.decode(part.get_content_charset("utf-8"), "replace")))
        else:
            files.append((name, UploadedFile(name, filename, part.get_content_type(), payload)))
    return FormFields(fields), FormFields(files)


class HttpResponse:
    """A response, by default with status 200 and plain text."""

    def __init__(
        self,
        body: str | bytes | bytearray | None = None,
        *,
        status_code: int | HTTPStatus | None = None,
        headers: Mapping[str, str] | None = None,
        mimetype: str | None = None,
        charset: str | None = None,
    ) -> None:
        self.status_code = 200 if status_code is None else int(status_code)
        self.mimetype = mimetype or "text/plain"
        self.charset = charset or "utf-8"
        self.headers = ResponseHeaders(headers or ())
        self._body = _to_bytes(body, self.charset)

    def get_body(self) -> bytes:
        """The body as bytes."""
        return self._body


def _to_bytes(body: object, charset: str) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode(charset)
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    raise TypeError(f"response is expected to be either of str, bytes, or bytearray, got {type(body).__name__}")
