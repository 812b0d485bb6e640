"""The examples are as short as the pages say: each in fewer lines of code than its form in another tool."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.docs.examples.code_lines import count_code_lines
from tests.docs.pages import ROOT, blocks

EXAMPLES = ROOT / "docs" / "examples"
OTHER_FORMS = {
    "crawler": "crawler_celery.py",
    "sweep": "sweep_prefect.py",
    "agent": "agent_temporal.py",
    "backup": "backup_prefect.py",
    "approvals": "approvals_celery.py",
}


def files_of(job: str) -> list[Path]:
    """The module of an example, and its durable.yaml if it has one."""
    return [path for path in (EXAMPLES / f"{job}.py", EXAMPLES / f"{job}.yaml") if path.exists()]


@pytest.mark.parametrize("job", OTHER_FORMS)
def test_an_example_is_shorter_than_its_other_form(job: str) -> None:
    module, *_ = files = files_of(job)
    other = EXAMPLES / OTHER_FORMS[job]
    ast.parse(other.read_text(encoding="utf-8"))
    assert 40 <= len(module.read_text(encoding="utf-8").splitlines()) <= 100
    ours, theirs = count_code_lines(*files), count_code_lines(other)
    assert ours < theirs
    overview = (EXAMPLES / "index.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\|.*\({job}\.md\).*\| (\d+) \| (\d+) in (\w+) \|$", overview, re.MULTILINE)
    assert row == (str(ours), str(theirs), other.stem.rpartition("_")[2].title())


@pytest.mark.parametrize("job", OTHER_FORMS)
def test_a_page_shows_both_forms_as_they_are(job: str) -> None:
    shown = {block.text for block in blocks(EXAMPLES / f"{job}.md") if block.title is not None}
    assert shown == {path.read_text(encoding="utf-8") for path in (*files_of(job), EXAMPLES / OTHER_FORMS[job])}


def test_every_file_belongs_to_an_example() -> None:
    jobs = {path.name for job in OTHER_FORMS for path in (*files_of(job), EXAMPLES / f"{job}.md")}
    assert jobs | set(OTHER_FORMS.values()) | {"index.md"} == {path.name for path in EXAMPLES.glob("*.*")}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('"""A module."""\n\nimport os  # of the system\n', 1),
        ("# a comment\n\n\n", 0),
        ('def f():\n    """It does\n    nothing."""\n    return (\n        1\n    )\n', 4),
        ('class A:\n    a: int\n    "A number."\n', 2),
        ('text = """\n\nnot a docstring\n"""\n', 4),
    ],
)
def test_blank_lines_comments_and_docstrings_are_no_code(tmp_path: Path, source: str, count: int) -> None:
    (tmp_path / "module.py").write_text(source)
    assert count_code_lines(tmp_path / "module.py") == count


def test_the_lines_of_a_configuration_count(tmp_path: Path) -> None:
    (tmp_path / "durable.yaml").write_text("# who is told\non:\n\n  failed: []\n")
    assert count_code_lines(tmp_path / "durable.yaml") == 2
