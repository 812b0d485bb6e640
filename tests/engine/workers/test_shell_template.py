"""Templates of commands: words, fields, lists, and what is refused."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.engine.workers.shell_template import ShellTemplate
from durablecli.errors import InvalidCommandInput

by_module = df.shell("echo {}")
hidden = [df.shell("echo hidden")]


@pytest.mark.parametrize(
    ("template", "input", "words"),
    [
        ("cp {src} {dst}", {"src": "a b", "dst": "$x"}, ["cp", "a b", "$x"]),
        ("cp '{src}' --to={dst}", {"src": "a'b", "dst": "c d"}, ["cp", "a'b", "--to=c d"]),
        ("rm -- {files}", {"files": ["a", "b c", "-d"]}, ["rm", "--", "a", "b c", "-d"]),
        ("rm {}", [], ["rm"]),
        ("echo {}", "it's", ["echo", "it's"]),
        ("x {n:03d} {f:.1f} {flag}", {"n": 7, "f": 0.25, "flag": True}, ["x", "007", "0.2", "true"]),
        ("x {a.b}", {"a": {"b": 1}}, ["x", "1"]),
        ("awk '{{print}}' {}", "f", ["awk", "{print}", "f"]),
    ],
)
def test_fields_fill_words(template: str, input: Any, words: list[str]) -> None:
    assert ShellTemplate(template, shell=False).fill(input) == words


@pytest.mark.parametrize(
    ("template", "input", "words"),
    [
        (
            "cat {a} | tr x {b}",
            {"a": "f g", "b": "$y"},
            ["/bin/sh", "-c", 'cat "${1}" | tr x "${2}"', "sh", "f g", "$y"],
        ),
        ('echo "to {a}"', {"a": '"'}, ["/bin/sh", "-c", 'echo "to ${1}"', "sh", '"']),
        ("rm {}", ["a", "b"], ["/bin/sh", "-c", 'rm "${1}" "${2}"', "sh", "a", "b"]),
        ("echo \\' {}", "a", ["/bin/sh", "-c", 'echo \\\' "${1}"', "sh", "a"]),
    ],
)
def test_fields_are_parameters_of_a_shell(template: str, input: Any, words: list[str]) -> None:
    assert ShellTemplate(template, shell=True).fill(input) == words


@pytest.mark.parametrize("value", ["$(echo x)", "`echo x`", "'", '"', "; echo x", "\\", "a\nb", "$1", "${2}", "*"])
@pytest.mark.parametrize(
    "template",
    ["printf %s {}", 'printf %s "{}"', "cat <<X\n{}\nX"],
)
def test_no_value_is_code_for_a_shell(template: str, value: str) -> None:
    words = ShellTemplate(template, shell=True).fill(value)
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert printed.strip().strip('"') == value.strip('"')


@pytest.mark.parametrize(
    ("template", "input", "words"),
    [
        ("x {a}", {"b": 1}, r"\$\.a: the command needs this field"),
        ("x {a.b}", {"a": 1}, r"\$\.a\.b: the command needs this field"),
        ("x {a}", None, r"\$\.a: the command needs this field"),
        ("x {a}", {"a": None}, r"\$\.a: the command needs a text or a number here, not null"),
        ("x {a}", {"a": {}}, "not an object"),
        ("x --a={a}", {"a": [1]}, "not a list"),
        ("x {a:d}", {"a": "b"}, "Unknown format code"),
        ("x {}", "a\0b", "null character"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(template: str, input: Any, words: str) -> None:
    with pytest.raises(InvalidCommandInput, match=words):
        ShellTemplate(template, shell=False).fill(input)


@pytest.mark.parametrize(
    ("template", "shell", "words"),
    [
        ("", False, "the command is empty"),
        ("echo 'a", False, "no closing quotation"),
        ("echo {a", False, "write {{ and }} for braces"),
        ("echo {a!r}", False, "isn't the name of a field"),
        ("echo {a[0]}", False, "isn't the name of a field"),
        ("echo 'is {a}'", True, "leave out the single quotes around {a}"),
    ],
)
def test_an_invalid_template_is_refused(template: str, shell: bool, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ShellTemplate(template, shell=shell)


def test_a_command_has_the_name_of_its_variable() -> None:
    [found] = testing.build_registry(by_module)
    assert (found.name, found.kind, found.executor) == ("by_module", "activity", "thread")
    assert found.return_type is str
    named = df.shell("true", name="other", timeout="1m", max_concurrency=2)
    [found] = testing.build_registry(named)
    assert found.name == "other"
    assert found.options.max_concurrency == 2
    with pytest.raises(ValueError, match="in a function needs a name"):
        df.shell("true")
    with pytest.raises(ValueError, match="isn't a variable of its module: give it a name="):
        testing.build_registry(*hidden)


def test_commands_run_in_a_hub_for_tests() -> None:
    long = df.shell("seq 100000", name="long")
    gone = df.shell("no-such-command", name="gone")

    @df.orchestrator
    def flow(context: df.DurableOrchestrationContext) -> Any:
        first = yield context.call_activity(by_module, "a  b")
        numbers = yield context.call_activity(long)
        try:
            yield context.call_activity(gone)
        except df.ShellError as error:
            return [first, len(numbers), numbers[:3], numbers[-6:], error.code, str(error)]

    with testing.hub(flow, by_module, long, gone) as hub:
        output = hub.finish(hub.client.start_new(flow)).output
    first, length, head, tail, code, message = output
    assert first == "a  b"
    assert 256 * 1024 - 10 < length <= 256 * 1024
    assert head.isdigit() or "\n" in head
    assert tail == "100000"
    assert code == 127
    assert message.endswith("there is no command 'no-such-command'")
