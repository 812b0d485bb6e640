"""Unknown names: refused with a suggestion before anything is posted, unless --anyway is given."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from durablecli.model import events as ev
from durablecli.model.suggestions import find_closest, find_misspelled
from tests.cli.conftest import RunDurable
from tests.support.history_writer import open_hub_writer

FLOWS = """
import durablecli as df

@df.activity
def pack(x): return x

@df.orchestrator
def order(context):
    return (yield context.call_activity(pack, 1))

@df.entity
class Stock:
    def add(self, n: int = 1) -> None: ...
"""


@pytest.fixture
def flows(work_folder: Path) -> Path:
    (work_folder / "workflows").mkdir()
    (work_folder / "workflows" / "flows.py").write_text(FLOWS)
    return work_folder


def write_published_functions(root: Path, *functions: tuple[str, str]) -> None:
    """What the last engine has published."""
    (root / ".state").mkdir(exist_ok=True)
    known = [{"name": name, "kind": kind} for name, kind in functions]
    (root / ".state" / "engine.json").write_text(json.dumps({"functions": known}))


# ── start ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("batch", [False, True])
def test_a_start_that_no_module_knows_is_refused_and_creates_no_hub(
    durable: RunDurable, flows: Path, batch: bool
) -> None:
    result = durable("start", "ordr", *(["--batch", "-"] if batch else []), stdin="1\n")
    assert (result.exit_code, result.out, result.err.count("\n")) == (3, "", 1)
    assert "did you mean 'order'?" in result.err
    assert "--anyway" in result.err
    assert not (flows / ".state").exists()


def test_case_is_ignored_and_anyway_accepts_an_unknown_name(durable: RunDurable, flows: Path) -> None:
    assert durable("start", "Order", "--id", "a").exit_code == 0
    assert durable("start", "ordr", "--id", "b", "--anyway").out == "b\n"


def test_an_activity_is_not_an_orchestrator(durable: RunDurable, flows: Path) -> None:
    result = durable("start", "pack")
    assert result.exit_code == 3
    assert "is not an orchestrator" in result.err


def test_a_start_whose_module_cannot_be_imported_is_refused_with_the_reason(durable: RunDurable, flows: Path) -> None:
    (flows / "workflows" / "broken.py").write_text("import nothing_of_that_name\n")
    result = durable("start", "broken")
    assert result.exit_code == 3
    assert "can't import broken: workflows/broken.py:1: ModuleNotFoundError" in result.err
    assert durable("start", "order").exit_code == 0


def test_a_published_name_is_accepted_without_loading_any_module(durable: RunDurable, flows: Path) -> None:
    (flows / "workflows" / "flows.py").write_text('raise SystemExit("loaded")')
    write_published_functions(flows, ("tour", "orchestrator"), ("counter", "entity"))
    assert durable("start", "TOUR").exit_code == 0
    assert durable("entity", "signal", "@Counter@a", "add").exit_code == 0


def test_a_name_that_the_last_engine_lacked_is_looked_up_in_the_modules(durable: RunDurable, flows: Path) -> None:
    write_published_functions(flows, ("tour", "orchestrator"))
    assert durable("start", "order").exit_code == 0
    assert durable("entity", "signal", "@stock@a", "add").exit_code == 0


def test_without_modules_the_last_engine_decides(durable: RunDurable, work_folder: Path) -> None:
    write_published_functions(work_folder, ("tour", "orchestrator"), ("counter", "entity"))
    assert durable("start", "tour").exit_code == 0
    refused = durable("start", "tuor")
    assert refused.exit_code == 3
    assert "did you mean 'tour'?" in refused.err
    assert durable("entity", "signal", "@cuonter@a", "add").exit_code == 3


def test_an_unchecked_name_is_started_with_a_warning(durable: RunDurable, work_folder: Path) -> None:
    result = durable("start", "tour", "--id", "a")
    assert (result.exit_code, result.out) == (0, "a\n")
    assert f"'tour' was not checked: {work_folder} has no workflows/" in result.err


def test_the_modules_can_be_named(durable: RunDurable, flows: Path) -> None:
    (flows / "workflows").rename(flows / "flows")
    assert durable("start", "order", "--app", "flows").exit_code == 0
    assert durable("start", "ordr", "--app", "flows").exit_code == 3


def test_run_suggests_a_name_too(durable: RunDurable, flows: Path) -> None:
    result = durable("run", "ordr")
    assert result.exit_code == 3
    assert "did you mean 'order'?" in result.err


# ── entity signal ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("entity", "operation", "meant"), [("@stok@a", "add", "Stock"), ("@stock@a", "ad", "add"), ("@pack@a", "add", "no")]
)
def test_a_signal_that_no_module_knows_is_refused(
    durable: RunDurable, flows: Path, entity: str, operation: str, meant: str
) -> None:
    result = durable("entity", "signal", entity, operation)
    assert (result.exit_code, result.out, result.err.count("\n")) == (3, "", 1)
    assert meant in result.err
    assert not (flows / ".state").exists()
    assert durable("entity", "signal", entity, operation, "--anyway").exit_code == 0


def test_every_entity_can_be_deleted(durable: RunDurable, flows: Path) -> None:
    assert durable("entity", "signal", "@stock@a", "delete").exit_code == 0


# ── raise-event ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def waiting(work_folder: Path) -> Path:
    """`w` waits for Packed, and has an event Early that it hasn't read; `s` is suspended and holds one."""
    with open_hub_writer(".state") as writer:
        writer.write(
            "w",
            ev.ExecutionStarted("w", "1", "order"),
            ev.EventAwaited("Paked"),
            ev.EventRaised("Paked"),
            ev.EventAwaited("Packed"),
            ev.EventAwaited("Step1"),
            ev.EventRaised("Early"),
        )
        writer.write(
            "s",
            ev.ExecutionStarted("s", "1", "order"),
            ev.EventAwaited("Go"),
            ev.ExecutionSuspended("audit"),
            ev.EventRaised("Go", held=True),
        )
    return work_folder


def test_a_misspelled_event_name_is_refused(durable: RunDurable, waiting: Path) -> None:
    result = durable("raise-event", "w", "Pakced")
    assert (result.exit_code, result.err.count("\n")) == (3, 1)
    assert "did you mean 'Packed'?" in result.err
    assert durable("raise-event", "w", "Pakced", "--anyway").exit_code == 0


@pytest.mark.parametrize("event", ["packed", "Later", "Step2", "paked"])
def test_other_events_are_sent(durable: RunDurable, waiting: Path, event: str) -> None:
    assert durable("raise-event", "w", event).exit_code == 0


def test_status_lists_unread_events(durable: RunDurable, waiting: Path) -> None:
    durable("raise-event", "w", "Later")
    shown = durable("status", "w").out
    assert "event      Early, since " in shown
    assert ", unread: the instance is not waiting for it\n" in shown
    assert ", not accepted by an engine yet\n" in shown
    expected_text = json.loads(durable("status", "w", "-o", "json").out)["unreadEvents"]
    assert [(each["name"], each["state"]) for each in expected_text] == [("Early", "unread"), ("Later", "posted")]
    assert all(datetime.fromisoformat(each["since"]) for each in expected_text)
    assert ", held until the instance can proceed\n" in durable("status", "s").out


# ── suggestions ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("pakced", ["Packed"], "Packed"),
        ("approvd", ["rejected", "Approved"], "Approved"),
        ("aproval", ["approval"], "approval"),
        ("packed", ["Packed"], None),
        ("step2", ["step1"], None),
        ("unlock", ["lock"], None),
        ("restart", ["start"], None),
        ("no", ["go"], None),
        ("rejected", ["accepted"], None),
    ],
)
def test_a_typo_is_distinguished_from_another_name(word: str, known: list[str], meant: str | None) -> None:
    assert find_misspelled(word, known) == meant


def test_the_closest_name_is_found_without_case() -> None:
    assert find_closest("ORDR", ["order", "tour"]) == "order"
    assert find_closest("zzz", ["order", "tour"]) is None
