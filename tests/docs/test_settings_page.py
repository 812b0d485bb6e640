"""The page on the configuration lists the settings as they are, also where it is read without a build."""

from __future__ import annotations

import runpy

from tests.docs.pages import ROOT

REFERENCE = runpy.run_path(str(ROOT / "docs" / "hooks" / "reference.py"))
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


def test_the_settings_of_the_page_are_those_of_now() -> None:
    assert REFERENCE["write_settings"](PAGE) == PAGE, "run: python docs/hooks/reference.py"


def test_a_size_has_the_unit_that_fits() -> None:
    assert "| `grpc.metadata_limit` | The largest metadata of a call, in bytes. | size | `16KiB` |" in PAGE
    assert "| `limits.payload` | The largest input, result, event or state, as JSON. | size | `16MiB` |" in PAGE
