"""JSON bodies of requests: byte order marks, and the limit on nesting."""

from __future__ import annotations

import pytest

from durablecli.azure.http_types import HttpRequest
from durablecli.http.requests import parse_body
from durablecli.http.responses import ApiError

MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(("body", "value"), [(MARK + b'{"a": 1}', b'{"a":1}'), (MARK, b"null"), (b"", b"null")])
def test_a_byte_order_mark_is_skipped(body: bytes, value: bytes) -> None:
    assert bytes(parse_body(body)) == value


def test_an_app_can_read_a_body_with_a_byte_order_mark() -> None:
    assert HttpRequest("POST", "http://x", body=MARK + b'{"a": 1}').get_json() == {"a": 1}


def test_a_body_nested_deeper_than_the_limit_is_an_error() -> None:
    fits = b"[" * 200 + b"]" * 200
    assert bytes(parse_body(fits)) == fits
    for levels in (201, 980, 100_000):
        with pytest.raises(ApiError) as refused:
            parse_body(b"[" * levels + b"]" * levels)
        assert refused.value.status == 400
        assert "nested deeper than 200 levels" in refused.value.detail
