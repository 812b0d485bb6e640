"""The port of the HTTP server."""

from __future__ import annotations

import pytest

from durablecli.errors import ConfigError
from durablecli.http.server import bind_socket


def test_a_port_that_is_taken_is_an_error_that_names_the_options() -> None:
    with bind_socket("127.0.0.1:0") as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match="Address already in use; name another port: durable dev --listen PORT"):
            bind_socket(address)
