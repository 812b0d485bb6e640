"""What every test with the JavaScript SDK needs: Node.js and the packages of the project."""

from __future__ import annotations

import pytest

from tests.sdk.javascript.find_node import PACKAGES, find_node


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node.js."""
    found = find_node()
    assert found is not None, "Node.js is missing: make node"
    assert PACKAGES.is_dir(), "packages of tests/sdk/javascript are missing: make node"
    return found
