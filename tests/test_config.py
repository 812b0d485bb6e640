"""Settings: their sources, which one wins, and the message for a mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durablecli.config import Config, HttpKeysConfig, import_folder, load_config
from durablecli.errors import ConfigError, UsageError
from durablecli.model.time_spans import parse_duration
from durablecli.parsing import parse_size, parse_time

EVERYTHING = """
app: [workflows, extra.py, my.package]
state_dir: hub
engine: dts://engine.example:8080;orders
default_version: "1.2"
on_nondeterminism: fail
replay_always: true
drain: 1m30s
concurrency: {activities: 7, entities: 8, process_workers: 3, async_activities: 5, live_instances: 6}
checkpoint: {bytes: 4MiB, every: 90}
limits: {payload: 1MiB, history_warning: 50, sub_orchestration_depth: 9}
http:
  listen: 7072
  allowed_hosts: [one.example]
  body_limit: 1MiB
  body_timeout: 1m
  keys: {master: secret}
log: {level: debug}
"""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_config(text: str, name: str = "durable.yaml") -> str:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(text)
    return name


def default_config() -> Config:
    """The defaults, as they are in the current folder."""
    here = os.getcwd()
    return Config(base=here, project=here, state_dir=f"{here}/.state")


def load_error(text: str) -> str:
    write_config(text)
    with pytest.raises(ConfigError) as caught:
        load_config(env={})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_a_file_everything_has_its_default() -> None:
    assert load_config(env={}) == default_config()


def test_every_setting_of_the_file_is_read() -> None:
    write_config(EVERYTHING)
    config = load_config(env={})
    assert config.app == ("workflows", "extra.py", "my.package")
    assert (config.state_dir, config.default_version, config.on_nondeterminism) == (
        os.path.abspath("hub"),
        "1.2",
        "fail",
    )
    assert config.engine == "dts://engine.example:8080;orders"
    assert config.replay_always is True
    assert config.drain == timedelta(seconds=90)
    assert config.concurrency.activities == 7
    assert config.concurrency.entities == 8
    assert config.concurrency.process_workers == 3
    assert config.concurrency.async_activities == 5
    assert config.concurrency.live_instances == 6
    assert config.checkpoint.bytes == 4 * 1024 * 1024
    assert config.checkpoint.every == timedelta(seconds=90)
    assert config.limits.payload == 1024 * 1024
    assert config.limits.history_warning == 50
    assert config.limits.sub_orchestration_depth == 9
    assert config.log.level == "debug"
    assert (config.http.listen, config.http.allowed_hosts) == (7072, ("one.example",))
    assert config.http.body_limit == 1024 * 1024
    assert (config.http.body_timeout, config.http.keys.master) == (timedelta(minutes=1), "secret")


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "concurrency:\n"])
def test_an_empty_file_changes_nothing(text: str) -> None:
    write_config(text)
    assert load_config(env={}) == default_config()


def test_flags_override_the_environment_which_overrides_the_file() -> None:
    write_config("drain: 1s\nconcurrency: {activities: 1, process_workers: 1, async_activities: 1}\n")
    env = {"DURABLE_CONCURRENCY__ACTIVITIES": "2", "DURABLE_CONCURRENCY__PROCESS_WORKERS": "2"}
    config = load_config(env=env, overrides={"concurrency.activities": 3, "drain": None})
    assert config.concurrency.activities == 3
    assert config.concurrency.process_workers == 2
    assert config.concurrency.async_activities == 1
    assert config.drain == timedelta(seconds=1)


def test_every_setting_can_come_from_the_environment() -> None:
    env = {
        "DURABLE_APP": "one,two.py",
        "DURABLE_STATE_DIR": "elsewhere",
        "DURABLE_REPLAY_ALWAYS": "1",
        "DURABLE_DRAIN": "2m",
        "DURABLE_CHECKPOINT__BYTES": "1MiB",
        "DURABLE_LOG__LEVEL": "warning",
        "DURABLE_DEFAULT_VERSION": "",
        "DURABLE_HTTP__LISTEN": "7072",
        "DURABLE_HTTP__ALLOWED_HOSTS": "one.example,two.example",
        "DURABLE_HTTP__KEYS__SYSTEM": "secret",
    }
    config = load_config(env=env)
    assert (config.app, config.state_dir, config.replay_always) == (
        ("one", "two.py"),
        os.path.abspath("elsewhere"),
        True,
    )
    assert (config.drain, config.checkpoint.bytes) == (timedelta(minutes=2), 1024 * 1024)
    assert (config.log.level, config.default_version) == ("warning", None)
    assert str(config.http.listen) == "7072"
    assert config.http.allowed_hosts == ("one.example", "two.example")
    assert config.http.keys == HttpKeysConfig(system="secret")


def test_paths_of_a_file_elsewhere_are_relative_to_it() -> None:
    write_config("app: [flows]\nstate_dir: hub\n", "project/durable.yaml")
    config = load_config("project/durable.yaml", env={})
    project, here = os.path.abspath("project"), os.getcwd()
    assert (config.base, config.app, config.state_dir) == (project, ("flows",), f"{project}/hub")
    config = load_config("project/durable.yaml", env={"DURABLE_STATE_DIR": "hub"}, overrides={"app": ["flows"]})
    assert (config.base, config.app, config.state_dir) == (here, ("flows",), f"{here}/hub")


def test_an_absolute_state_dir_stays_as_it_is(tmp_path: Path) -> None:
    write_config(f"state_dir: {tmp_path}/hub\n", "project/durable.yaml")
    assert load_config("project/durable.yaml", env={}).state_dir == f"{tmp_path}/hub"


def test_the_folder_workflows_is_the_app_unless_another_is_named() -> None:
    Path("workflows").mkdir()
    assert load_config(env={}).app == ("workflows",)
    write_config("app: []\n")
    assert load_config(env={}).app == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "concurrency: {activites: 3}",
            "durable.yaml: $.concurrency.activites: unknown key; did you mean 'activities'?",
        ),
        ("zzz: 3", "durable.yaml: $.zzz: unknown key"),
        ("base: x", "durable.yaml: $.base: unknown key"),
        ("1: 3", "durable.yaml: $.1: unknown key"),
        ("concurrency: {activities: many}", "durable.yaml: $.concurrency.activities: expected int, got str"),
        ("concurrency: {activities: true}", "durable.yaml: $.concurrency.activities: expected int, got bool"),
        ("concurrency: {activities: 0}", "durable.yaml: $.concurrency.activities: expected int >= 1"),
        ("concurrency: 3", "durable.yaml: $.concurrency: expected a mapping, got int"),
        ("[1]", "durable.yaml: $: expected a mapping, got list"),
        ("app: workflows", "durable.yaml: $.app: expected a list, such as [workflows], got str"),
        ("app: [1]", "durable.yaml: $.app[0]: expected str, got int"),
        ("app: {a: 1}", "durable.yaml: $.app: expected a list, got mapping"),
        ("schedules: [1]", "durable.yaml: $.schedules: expected a mapping, got list"),
        ("schedules: {night: 1}", "durable.yaml: $.schedules.night: expected a mapping, got int"),
        ("schedules: {night: {schedule: '@daily'}}", "durable.yaml: $.schedules.night: missing key 'orchestrator'"),
        (
            "schedules: {night: {orchestrator: f, schedule: '@daily', overlap: no}}",
            "durable.yaml: $.schedules.night.overlap: expected str, got bool",
        ),
        (
            "schedules: {night: {orchestrator: f, schedule: '@daily', timezon: UTC}}",
            "durable.yaml: $.schedules.night.timezon: unknown key; did you mean 'timezone'?",
        ),
        ("state_dir: ''", "durable.yaml: $.state_dir: expected str of length >= 1"),
        ("default_version: 1.2", "durable.yaml: $.default_version: expected str | null, got float"),
        ("on_nondeterminism: maybe", "durable.yaml: $.on_nondeterminism: 'maybe' is not one of block, fail"),
        (
            "drain: soon",
            "durable.yaml: $.drain: invalid duration 'soon'; use 90 (seconds), 10m, 1h30m or 30d",
        ),
        ("drain: [1]", "durable.yaml: $.drain: expected a duration as 10s or 1h30m, got list"),
        (
            "checkpoint: {every: true}",
            "durable.yaml: $.checkpoint.every: expected a duration as 10s or 1h30m, got bool",
        ),
        ("limits: {payload: 17MiB}", "durable.yaml: $.limits.payload: 17MiB is out of range; use 1 byte to 16MiB"),
        ("limits: {payload: 0}", "durable.yaml: $.limits.payload: 0 is out of range; use 1 byte to 16MiB"),
        (
            "payloads: {spill_over: 17MiB}",
            "durable.yaml: $.payloads.spill_over: 17MiB is out of range; use 0 bytes to 16MiB",
        ),
        ("payloads: {spill: 1}", "durable.yaml: $.payloads.spill: unknown key; did you mean 'spill_over'?"),
        ("limits: {payload: 1.5}", "durable.yaml: $.limits.payload: expected a size as 16MiB, got float"),
        ("drain: 1s\napp: [", "durable.yaml: line 3: expected the node content, but found '<stream end>'"),
        ("drain: !!python/object:os.system x", "durable.yaml: line 1: could not determine a constructor for the tag "),
    ],
)
def test_a_mistake_in_the_file_is_reported_in_one_line(text: str, expected: str) -> None:
    message = load_error(text + "\n")
    assert message.startswith(expected) if expected.endswith(" ") else message == expected


def test_a_file_that_is_no_text_is_refused() -> None:
    Path("durable.yaml").write_bytes(b"drain: \xff\n")
    with pytest.raises(ConfigError, match=r"^durable\.yaml: not YAML: [^\n]*$"):
        load_config(env={})


def test_a_file_that_was_named_must_exist() -> None:
    with pytest.raises(ConfigError, match=r"^other\.yaml: no such file$"):
        load_config("other.yaml", env={})


def test_a_folder_in_place_of_the_file_is_refused() -> None:
    Path("durable.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"^durable\.yaml: Is a directory$"):
        load_config(env={})


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (
            {"DURABLE_CONCURRENCY__ACTIVITES": "3"},
            "DURABLE_CONCURRENCY__ACTIVITES: unknown setting; did you mean 'DURABLE_CONCURRENCY__ACTIVITIES'?",
        ),
        ({"DURABLE_CONCURRENCY__ACTIVITIES": "x"}, "DURABLE_CONCURRENCY__ACTIVITIES: expected int, got str"),
        ({"DURABLE_DRAIN": "x"}, "DURABLE_DRAIN: invalid duration 'x'; use 90 (seconds), 10m, 1h30m or 30d"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(env: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(env=env)
    assert str(caught.value) == expected


def test_variables_of_other_programs_are_left_alone() -> None:
    assert load_config(env={"DURABLE_TASK_SCHEDULER_CONNECTION_STRING": "x", "PATH": "y"}) == default_config()


def test_a_slip_in_a_flag_names_the_flag() -> None:
    with pytest.raises(ConfigError, match=r"^--default-version: expected str \| null, got list$"):
        load_config(env={}, overrides={"default_version": [1]})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("90", 90), ("1.5", 1.5), ("10m", 600), ("1h30m", 5400), ("30d", 2_592_000),
        ("1d1h1m1s1ms", 90061.001), ("0.25s", 0.25), ("250ms", 0.25),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "-1", "1x", "30m1h", "1m1m", " 1s", "1e3", "1s ", "1.5h", "٣s", "9" * 400, "999999999999d"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


@given(st.text())
def test_no_text_breaks_the_parsers(text: str) -> None:
    expected = []
    for parse in (parse_duration, parse_time, parse_size):
        try:
            parse(text)
        except UsageError as error:
            expected.append(str(error))
    assert not any("\n" in line for line in expected)


@pytest.mark.parametrize(
    ("text", "size"), [("7", 7), ("7B", 7), ("2KiB", 2048), ("16MiB", 16 << 20), ("1 GiB", 1 << 30)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_a_size_can_be_told_to_a_worker_process() -> None:
    assert msgspec.json.encode(load_config(env={}).limits.payload) == b"16777216"
    assert msgspec.json.encode(load_config(env={"DURABLE_LIMITS__PAYLOAD": "2KiB"}).limits.payload) == b"2048"


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1MB", "1.5MiB", "16mib", "1MiB "])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2026-12-01T09:00Z", datetime(2026, 12, 1, 9, tzinfo=UTC)),
        ("2026-12-01T09:00", datetime(2026, 12, 1, 9, tzinfo=UTC)),
        ("2026-12-01 09:00:30.5", datetime(2026, 12, 1, 9, 0, 30, 500_000, tzinfo=UTC)),
        ("2026-12-01T09:00+02:00", datetime(2026, 12, 1, 7, tzinfo=UTC)),
        ("2026-12-01", datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, when: datetime) -> None:
    assert parse_time(text) == when
    assert parse_time(text).tzinfo is UTC


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "9", "0001-01-01T00:00+23:00", "2026-12-01T25:00Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_time(text)


def test_yaml_is_only_imported_where_there_is_a_file() -> None:
    program = "import sys; from durablecli.config import load_config; load_config(env={}); print('yaml' in sys.modules)"
    shown = []
    for text in (None, "drain: 1s\n"):
        if text:
            write_config(text)
        shown.append(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert shown == ["False\n", "True\n"]


# ── hooks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_hooks_are_read_though_yaml_takes_the_word_on_for_true() -> None:
    write_config("""
on:
  failed:
    - url: https://example.org/hook
      name: order*
      headers: {Authorization: "Bearer ${TOKEN}"}
      timeout: 5s
    - run: ./notify.sh 'a b'
      name: [a, b]
      attempts: 2
  blocked:
""")
    first, second = load_config(env={}).on.failed
    assert (first.url, first.name, first.timeout) == ("https://example.org/hook", "order*", timedelta(seconds=5))
    assert first.headers == {"Authorization": "Bearer ${TOKEN}"}
    assert (second.run, second.name, second.attempts) == ("./notify.sh 'a b'", ("a", "b"), 2)
    assert load_config(env={}).on.blocked == ()
    write_config("'on': {completed: [{run: 'true'}]}")
    assert [hook.run for hook in load_config(env={}).on.completed] == ["true"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on: {failed: {run: x}}", "$.on.failed: expected a list of mappings, got dict"),
        ("on: {failed: [./x.sh]}", "$.on.failed[0]: expected a mapping, got str"),
        ("on: {fail: []}", "$.on.fail: unknown key; did you mean 'failed'?"),
        ("on: {failed: [{run: x}, {ulr: x}]}", "$.on.failed[1].ulr: unknown key; did you mean 'url'?"),
        ("on: {failed: [{name: x}]}", "$.on.failed[0]: a hook has either url or run"),
        ("on: {failed: [{run: x, url: 'http://a'}]}", "$.on.failed[0]: a hook has either url or run"),
        ("on: {failed: [{url: example.org}]}", "$.on.failed[0]: invalid address 'example.org': use an absolute http"),
        ("on: {failed: [{run: 'a \"b'}]}", "$.on.failed[0]: run can't be split into words: no closing quotation"),
        ("on: {failed: [{run: x, headers: {a: b}}]}", "$.on.failed[0]: headers are for a url"),
        ("on: {failed: [{run: x, attempts: 0}]}", "$.on.failed[0].attempts: expected int >= 1"),
        ("on: {failed: [{run: x, timeout: 0s}]}", "$.on.failed[0]: timeout must be longer than 0 seconds"),
        ("on: {failed: [{run: x, timeout: soon}]}", "$.on.failed[0].timeout: "),
    ],
)
def test_a_mistake_in_a_hook_names_its_place(text: str, expected: str) -> None:
    assert f"durable.yaml: {expected}" in load_error(text)


def test_hooks_are_not_set_by_variables() -> None:
    with pytest.raises(ConfigError, match="DURABLE_ON__FAILED: unknown setting"):
        load_config(env={"DURABLE_ON__FAILED": "x"})


# ── which folder ───────────────────────────────────────────────────────────────────────────────────────────────────


def make_hub_folder(folder: str) -> str:
    """A hub in this folder, as far as anybody looks for one."""
    Path(folder, ".state").mkdir(parents=True)
    Path(folder, ".state/hub.json").touch()
    return os.path.abspath(folder)


def enter_folder(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)


def test_a_file_above_is_found_with_its_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    write_config("app: [flows]\nstate_dir: data/hub\n", "project/durable.yaml")
    project = os.path.abspath("project")
    enter_folder(monkeypatch, "project/flows/deep")
    config = load_config(env={})
    assert (config.base, config.app, config.state_dir) == (project, ("flows",), f"{project}/data/hub")
    assert config.project == project


def test_a_hub_above_is_found_with_its_workflows(monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_hub_folder("project")
    enter_folder(monkeypatch, "project/workflows/deep")
    config = load_config(env={})
    assert (config.base, config.app, config.state_dir) == (project, ("workflows",), f"{project}/.state")


def test_the_nearest_folder_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    make_hub_folder("outer")
    inner = make_hub_folder("outer/inner")
    enter_folder(monkeypatch, "outer/inner/deep")
    assert load_config(env={}).state_dir == f"{inner}/.state"
    monkeypatch.chdir(inner)
    write_config("state_dir: here\n")
    assert load_config(env={}).state_dir == f"{inner}/here"


def test_flags_and_variables_stay_relative_to_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_hub_folder("project")
    enter_folder(monkeypatch, "project/deep")
    config = load_config(env={"DURABLE_STATE_DIR": "hub"}, overrides={"app": ["one.py"]})
    assert (config.base, config.state_dir) == (f"{project}/deep", f"{project}/deep/hub")
    assert config.project == project


def test_a_state_folder_above_that_is_no_hub_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("home/.state").mkdir(parents=True)
    Path("home/.state/of_another_program").touch()
    enter_folder(monkeypatch, "home/deep")
    assert load_config(env={}) == default_config()


def test_a_folder_with_an_app_of_its_own_uses_no_hub_above(monkeypatch: pytest.MonkeyPatch) -> None:
    make_hub_folder("outer")
    enter_folder(monkeypatch, "outer/project/workflows")
    monkeypatch.chdir("..")
    assert load_config(env={}).state_dir == os.path.abspath(".state")
    monkeypatch.chdir("workflows")
    assert load_config(env={}).state_dir == os.path.abspath(".state")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_or_a_hub_of_another_user_above_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_hub_folder("project")
    os.chown(write_config("state_dir: hub\n", "project/durable.yaml"), 12345, -1)
    os.chown("project/.state", 12345, -1)
    enter_folder(monkeypatch, "project/deep")
    assert load_config(env={}) == default_config()
    os.chown(f"{project}/durable.yaml", 0, -1)
    assert load_config(env={}).state_dir == f"{project}/hub"


def test_a_current_folder_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter_folder(monkeypatch, "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match="the current folder no longer exists"):
        load_config(env={})


def test_paths_stay_when_the_folder_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(env={}, overrides={"app": ["flows"], "state_dir": "hub"})
    monkeypatch.chdir("/")
    assert (config.base, config.state_dir) == (str(tmp_path), str(tmp_path / "hub"))


def test_no_package_is_imported_from_the_state_directory() -> None:
    here = os.getcwd()
    assert import_folder(load_config(env={})) == here
    assert import_folder(load_config(env={}, overrides={"state_dir": "."})) is None
    assert import_folder(load_config(env={}, overrides={"state_dir": ".."})) is None
