"""README and every page of the documentation tell the truth: their code blocks run, and print what they show."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, Block, blocks
from tests.docs.project import Project, split_durable

README = ROOT / "README.md"
MAX_README_WORDS = 900
MAX_BLOCKS_NOT_RUN = 10
MAX_ATTEMPTS = 5


@pytest.mark.timeout(600)  # a page has up to thirty commands, each a process of its own
@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
def test_the_code_blocks_of_the_page_run(page: Path, tmp_path: Path) -> None:
    found = [block for block in blocks(page) if block.not_run is None]
    if any("curl " in block.text for block in found) and shutil.which("curl") is None:
        pytest.skip("the transcripts are those of curl")
    if any("$ node " in block.text for block in found) and shutil.which("node") is None:
        pytest.skip("the transcripts are those of Node.js")
    failure: str | None = None
    for attempt in range(MAX_ATTEMPTS):
        failure = run_page(found, tmp_path / f"{attempt}" / "project")
        # On a busy machine a cycle of the engine ends early, and holds a start for the next one: the history shows it.
        if failure is None or "OrchestratorStarted" not in failure:
            break
    if failure is not None:
        pytest.fail(f"{page.relative_to(ROOT)}:{failure}", pytrace=False)


def run_page(found: list[Block], folder: Path) -> str | None:
    """Run the blocks of a page in a new project; return the line of the first one that lies, and why it does."""
    folder.mkdir(parents=True)
    with Project(folder) as project:
        for block in found:
            try:
                project.run(block)
            except AssertionError as error:
                return f"{block.line}: {error}"
        project.finish()
    return None


def test_nearly_every_block_is_run() -> None:
    left_out = [(page.name, block.line, block.not_run) for page in PAGES for block in blocks(page) if block.not_run]
    assert len(left_out) <= MAX_BLOCKS_NOT_RUN, left_out


@pytest.mark.parametrize(
    "text",
    [
        "$ echo 4\n5\n",
        "$ echo 4\n",
        "$ echo 4\n4\n4\n",
        "$ false\n",
        "$ false\n$ echo $?\n2\n",
        "$ printf 'a\\nc\\n'\na\nb…\n",
    ],
)
def test_a_transcript_that_lies_fails(text: str, tmp_path: Path) -> None:
    with Project(tmp_path) as project, pytest.raises(AssertionError):
        project.run(Block(1, "console", None, text, None))


@pytest.mark.parametrize(
    "text",
    [
        "$ echo 4\n4\n",
        "$ false\n$ echo $?\n1\n",
        "$ printf 'a\\nb\\nc\\n'\na\n…\n",
        "$ echo at 2026-01-01T00:00:00Z and more\nat 2027-02-03T04:05:06.789Z …\n",
    ],
)
def test_a_transcript_that_is_true_passes(text: str, tmp_path: Path) -> None:
    with Project(tmp_path) as project:
        project.run(Block(1, "console", None, text, None))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("durable status x", ["status", "x"]),
        ("""durable start tour --input '{"a": "$b | c"}'""", ["start", "tour", "--input", '{"a": "$b | c"}']),
        ("durable list | head", None),
        ("durable start tour --id $(id)", None),
        ("durable run-daemon > log", None),
        ("cat durable.yaml", None),
        ("DURABLE_STATE_DIR=x durable list", None),
    ],
)
def test_only_calls_of_durable_itself_need_no_shell(command: str, words: list[str] | None) -> None:
    assert split_durable(command) == words


def test_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").split()) <= MAX_README_WORDS


def test_the_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_every_sample_is_listed_among_the_patterns() -> None:
    samples = {f"workflows/{path.name}" for path in (ROOT / "workflows").glob("*.py")}
    assert samples == set(re.findall(r"`(workflows/\w+\.py)`", (ROOT / "docs" / "patterns.md").read_text("utf-8")))


def test_the_packages_that_contributing_describes_exist() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("| In `durablecli/` |")[2].split("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`([\w/.]+)`", row.split("|")[1])]
    assert len(named) > 10
    assert [name for name in named if not (ROOT / "durablecli" / name).exists()] == []
