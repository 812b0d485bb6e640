"""Orchestrators that declare their input: fields on the command line, and a refusal before anything is written."""

from __future__ import annotations

import pytest

from tests.support import fork_server
from tests.support.cli_harness import FLOWS, CliHarness, CommandResult


def call(hub: CliHarness, verb: str, *arguments: str, code: int = 0) -> CommandResult:
    return hub(verb, *arguments, "--app", str(FLOWS / "typed.py"), code=code)


@pytest.mark.parametrize("verb", ["run", "start"])
def test_the_help_shows_the_fields_of_the_input(hub: CliHarness, verb: str) -> None:
    for arguments in (["order", "--help"], ["--help", "order"]):
        out = call(hub, verb, *arguments).out
        assert "Input of order:\n  An order of the shop.\n" in out
        words = [" ".join(line.split()) for line in out.splitlines()]
        assert "id int The number of the order. [required]" in words
        assert "city str [required]" in words
        assert 'size small | large Default: "small".' in words
        assert "address.street str" in words
    assert not hub.root.exists()


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["order", "-p", "id=1", "-p", "city=Wien"], '["Order",1,"Wien","small",false,[],null]\n'),
        (
            ["order", "-p", "id=1", "-p", "city=7", "-p", "tags=a", "-p", "tags=2", "-p", "express=true"],
            '["Order",1,"7","small",true,["a","2"],null]\n',
        ),
        (
            ["order", "--input", '{"id": 1, "city": "Graz"}', "-p", "city=Linz", "-p", "address.street=Ring 1"],
            '["Order",1,"Linz","small",false,[],{"street":"Ring 1","city":"Wien"}]\n',
        ),
        (["sweep", "-p", "steps=4"], "2.0\n"),
        (["pay", "-p", "amount=100"], '"100 EUR"\n'),
        (["travel", "-p", "start=Wien"], '{"start":"Wien"}\n'),
        (["total", "--input", "[1, 2]"], "3\n"),
        (["countdown"], "3\n"),
        (["countdown", "--input", "5"], "5\n"),
        (["anything", "-p", "a=1", "-p", "b.c=x y"], '{"a":1,"b":{"c":"x y"}}\n'),
    ],
)
def test_fields_become_the_input(hub: CliHarness, arguments: list[str], output: str) -> None:
    assert hub.run("typed", *arguments).out == output


WRONG = [
    (["order"], "$.id: missing field (order needs: id, city)"),
    (["order", "-p", "id=1"], "$.city: missing field (order needs: id, city)"),
    (["order", "-p", "id=x", "-p", "city=a"], "$.id: expected int, got 'x'"),
    (["order", "-p", "id=1", "-p", "citty=a"], "$.citty: unknown field; did you mean 'city'?"),
    (["order", "--input", '{"id": "x", "city": "a"}'], "$.id: expected int, got 'x'"),
    (["order", "--input", "[1]"], "$: expected object, got a list"),
    (["order", "--input", "[1]", "-p", "id=1"], "fields can only be added to an input that is an object"),
    (["sweep", "--input", '{"steps": 1, "stps": 2}'], "$.stps: unknown field; did you mean 'steps'?"),
    (["sweep", "-p", "steps=11"], "$.steps: expected int <= 10, got 11"),
    (["pay", "-p", "amount=0"], "$.amount: Input should be greater than 0"),
    (["pay", "--input", '{"currency": "EUR"}'], "$.amount: missing field (pay needs: amount)"),
    (["travel", "--input", '{"end": "Graz"}'], "$.start: missing field (travel needs: start)"),
    (["total", "--input", '[1, "b"]'], "$[1]: expected int, got 'b'"),
    (["total", "-p", "a=1"], "total takes no fields but list of int: give its input as a whole"),
]


@pytest.mark.parametrize(
    ("verb", "arguments", "reason"), [("run", *each) for each in WRONG] + [("start", *each) for each in WRONG[:4]]
)
def test_a_wrong_input_is_refused_before_anything_is_written(
    hub: CliHarness, verb: str, arguments: list[str], reason: str
) -> None:
    refused = call(hub, verb, *arguments, code=2)
    assert refused.err == f"durable: {reason}\n"
    assert not hub.root.exists()


def test_a_start_is_checked_by_what_the_running_engine_has_published(hub: CliHarness) -> None:
    hub.start_daemon("typed")
    assert hub("start", "order", "-p", "id=1", code=2).err.endswith(
        "durable: $.city: missing field (order needs: id, city)\n"
    )
    (hub.folder / "b.jsonl").write_text('{"id": 1, "city": "a"}\n\n{"id": "x", "city": "b"}\n')
    refused = hub("start", "order", "--batch", "b.jsonl", code=2)
    assert refused.err == "durable: b.jsonl, line 3: $.id: expected int, got 'x'\n"
    assert hub("list", "-o", "json").out == "[]\n"
    started = hub("start", "order", "--id", "a", "-p", "id=2", "--input", '{"city": "Graz"}', "--wait")
    assert started.out == '["Order",2,"Graz","small",false,[],null]\n'
    hub("start", "order", "--id", "b", "--input", "{}", "--anyway")
    assert hub("wait", "b", code=6).exit_code == 6
    child = hub("start", "parent", "--input", '{"id": 1}', "--wait", code=6)
    assert "city" in child.err


def test_another_input_of_a_restart_is_checked_with_and_without_an_engine(hub: CliHarness) -> None:
    call(hub, "start", "order", "--id", "a", "-p", "id=1", "-p", "city=Graz")
    daemon = hub.start_daemon("typed")
    hub("wait", "a")
    for _ in range(2):
        for same_id in ([], ["--same-id"]):
            refused = call(hub, "restart", "a", *same_id, "--input", '{"id": "x", "city": "Graz"}', code=2)
            assert refused.err.endswith("durable: $.id: expected int, got 'x'\n")
        daemon.kill()
    assert hub.read_status("a")["output"][1] == 1
    again = call(hub, "restart", "a", "--input", '{"id": 2, "city": "Graz"}').out.strip()
    forced = call(hub, "restart", "a", "--input", "[]", "--anyway").out.strip()
    call(hub, "run-daemon", "--until-idle")
    assert hub.read_status(again)["output"][1] == 2
    assert hub.read_status(forced)["runtimeStatus"] == "Failed"


def test_the_shell_completes_the_fields(hub: CliHarness) -> None:
    app = str(FLOWS / "typed.py")
    hub.environment |= {"_DURABLE_COMPLETE": "bash_complete"}
    for words, found in (("-p ", "id="), ("-p size=", "size=large"), ("-p express=t", "express=true")):
        line = f"durable run --app {app} order {words}"
        hub.environment |= {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        done = fork_server.run([], hub.folder, hub.environment, 30)
        assert f"plain,{found}" in done.stdout.splitlines(), done
