"""One backend per module, and the SDK's client and workers for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sdk.backends import run_backend
from tests.sdk.python.sdk_hub import SdkHub


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkHub]:
    """The backend of this module's tests. Functions that the module names in `FUNCTIONS` run in one worker."""
    with run_backend(tmp_path_factory.mktemp("hub")) as address, SdkHub(address) as opened:
        yield opened


@pytest.fixture(scope="module", autouse=True)
def module_worker(request: pytest.FixtureRequest, hub: SdkHub) -> Iterator[None]:
    """A worker that runs the functions of the module, if it names any."""
    functions = getattr(request.module, "FUNCTIONS", None)
    if functions is None:
        yield
    else:
        with hub.worker(*functions):
            yield
