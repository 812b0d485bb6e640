"""host.json and local.settings.json: what is taken from them, what is refused, and what is named as without meaning."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from durablecli.apps import host_json
from durablecli.errors import ConfigError


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DURABLE_APP", "DURABLE_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)


def write_app_settings(
    durable: Mapping[str, Any] | None = None, values: Mapping[str, Any] | None = None, **more: Any
) -> None:
    extensions = {"durableTask": durable or {}, **more}
    Path("host.json").write_text(json.dumps({"version": "2.0", "extensions": extensions}))
    if values is not None:
        Path("local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": values}))


def test_without_files_everything_has_its_default() -> None:
    found = host_json.read_host_settings(".", {})
    assert (found.hub_name, found.route_prefix, found.warning) == ("TestHubName", "api", None)
    assert found.settings == {"version_match": "current_or_older"}
    assert found.state_dir == ".state/TestHubName"


def test_settings_are_taken_whatever_their_case() -> None:
    write_app_settings(
        {
            "HubName": "MyHub",
            "defaultVersion": "2.1",
            "maxConcurrentActivityFunctions": 4,
            "maxConcurrentEntityFunctions": 2,
            "httpSettings": {"defaultAsyncRequestSleepTimeMilliseconds": 1500},
        },
        http={"routePrefix": "/v1/"},
    )
    found = host_json.read_host_settings(".", {})
    assert (found.hub_name, found.route_prefix, found.poll_interval) == ("MyHub", "v1", timedelta(seconds=1.5))
    assert found.settings == {
        "default_version": "2.1",
        "version_match": "current_or_older",
        "concurrency.activities": 4,
        "concurrency.entities": 2,
    }
    assert found.warning is None


@pytest.mark.parametrize(
    ("match", "failure", "settings"),
    [
        ("None", "Reject", ("none", "block")),
        ("strict", "Fail", ("strict", "fail")),
        ("CurrentOrOlder", "reject", ("current_or_older", "block")),
    ],
)
def test_strategies_of_versions_are_taken(match: str, failure: str, settings: tuple[str, str]) -> None:
    write_app_settings({"versionMatchStrategy": match, "versionFailureStrategy": failure})
    config = host_json.load_settings()
    assert (config.version_match, config.version_failure) == settings


def test_an_empty_prefix_is_none() -> None:
    write_app_settings(http={"routePrefix": ""})
    assert host_json.read_host_settings(".", {}).route_prefix == ""


def test_what_has_no_meaning_here_is_named_in_one_line() -> None:
    write_app_settings(
        {"hubName": "MyHub", "storageProvider": {"type": "mssql"}, "useAppLease": True}, queues={"batchSize": 1}
    )
    assert host_json.read_host_settings(".", {}).warning == (
        "host.json: nothing is done here about "
        "extensions.durableTask.storageProvider, extensions.durableTask.useAppLease, extensions.queues"
    )


def test_comments_and_trailing_commas_are_ignored() -> None:
    Path("host.json").write_text(
        '\ufeff{ // a "comment"\n "extensions": { "durableTask": { /* , } */ "hubName": "A12", }, },\n}'
    )
    assert host_json.read_host_settings(".", {}).hub_name == "A12"
    Path("more.json").write_text('{"a": "no // comment, }", "b": ["/*", ], }')
    assert host_json.read_json("more.json") == {"a": "no // comment, }", "b": ["/*"]}


def test_an_environment_variable_overrides_the_file() -> None:
    write_app_settings({"hubName": "%MY_HUB%"}, {"MY_HUB": "FromFile", "OTHER": 5, "NONE": None})
    assert host_json.read_host_settings(".", {}).hub_name == "FromFile"
    assert host_json.read_host_settings(".", {"MY_HUB": "FromEnvironment"}).hub_name == "FromEnvironment"
    assert host_json.read_host_settings(".", {}).environment == {"MY_HUB": "FromFile", "OTHER": "5"}


def test_a_variable_overrides_a_setting() -> None:
    write_app_settings(
        {"hubName": "FromFile"}, {"AzureFunctionsJobHost__extensions__durableTask__hubName": "FromValues"}
    )
    assert host_json.read_host_settings(".", {}).hub_name == "FromValues"
    variable = {"AzureFunctionsJobHost__extensions__durableTask__hubName": "FromEnvironment"}
    assert host_json.read_host_settings(".", variable).hub_name == "FromEnvironment"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1: Expecting"),
        ("[]", "expected an object, got list"),
        ('{"extensions": {"durableTask": {"hubName": "a b"}}}', "'a b' is no name of a hub: 3 to 45 letters"),
        ('{"extensions": {"durableTask": {"hubName": "../up"}}}', "is no name of a hub"),
        ('{"extensions": {"durableTask": {"hubName": "%NONE%"}}}', "%NONE% has no value: set it in the environment"),
        ('{"extensions": {"durableTask": {"maxConcurrentActivityFunctions": 0}}}', "expected a number from 1"),
        ('{"extensions": {"durableTask": {"maxConcurrentActivityFunctions": true}}}', "expected a number from 1"),
        ('{"extensions": {"durableTask": {"versionMatchStrategy": "any"}}}', "'any' is not one of none, strict, curr"),
        ('{"extensions": {"durableTask": {"maxConcurrentEntityFunctions": "x"}}}', "expected a number from 1"),
    ],
)
def test_a_slip_is_named_in_one_line(text: str, said: str) -> None:
    Path("host.json").write_text(text)
    with pytest.raises(ConfigError) as caught:
        host_json.read_host_settings(".", {})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_of_the_folder_are_those_of_the_hub() -> None:
    polls = {"defaultAsyncRequestSleepTimeMilliseconds": 1500}
    write_app_settings(
        {"hubName": "MyHub", "maxConcurrentActivityFunctions": 4, "defaultVersion": "2", "httpSettings": polls}
    )
    Path("local.settings.json").write_text('{"Host": {"LocalHttpPort": 7099}}')
    config = host_json.load_settings()
    assert (config.app, config.state_dir, config.http.listen) == ((".",), os.path.abspath(".state/MyHub"), 7099)
    assert (config.concurrency.activities, config.default_version) == (4, "2")
    assert config.call_http.poll == timedelta(milliseconds=1500)


def test_durablecli_settings_override_the_files_of_the_app() -> None:
    write_app_settings({"hubName": "MyHub", "maxConcurrentActivityFunctions": 4})
    Path("durable.yaml").write_text("concurrency: {activities: 9}\n")
    config = host_json.load_settings({"state_dir": "elsewhere"})
    assert (config.state_dir, config.concurrency.activities) == (os.path.abspath("elsewhere"), 9)


def test_an_app_named_from_elsewhere_has_its_hub_in_its_own_folder() -> None:
    Path("shop").mkdir()
    Path("shop/function_app.py").touch()
    assert host_json.load_settings({"app": ["shop"]}).state_dir == os.path.abspath("shop/.state/TestHubName")
    Path("durable.yaml").write_text("app: [shop]\n")
    assert host_json.load_settings().state_dir == os.path.abspath("shop/.state/TestHubName")


def test_another_app_in_such_a_folder_has_its_own_settings() -> None:
    write_app_settings({"hubName": "MyHub"})
    Path("flows").mkdir()
    config = host_json.load_settings({"app": ["flows"]})
    assert (config.app, config.state_dir, config.http.listen) == (("flows",), os.path.abspath(".state"), None)


def test_an_app_of_azures_is_named_alone() -> None:
    write_app_settings()
    with pytest.raises(ConfigError, match="which is loaded alone: name nothing beside it"):
        host_json.load_settings({"app": [".", "flows"]})


@pytest.mark.parametrize("name", ["default", "my-hub", "team_hub-7", "A", "7", "x" * 64])
@pytest.mark.parametrize("provider", ["azureManaged", "AzureManaged", "mssql", "netherite"])
def test_a_hub_is_named_by_the_rules_of_its_storage_provider(name: str, provider: str) -> None:
    write_app_settings({"hubName": name, "storageProvider": {"type": provider, "connectionStringName": "C"}})
    assert host_json.read_host_settings(".", {}).hub_name == name
    assert host_json.read_host_settings(".", {}).state_dir == f".state/{name}"


def test_a_storage_provider_may_come_from_the_environment() -> None:
    write_app_settings(
        {"hubName": "%HUB%", "StorageProvider": {"Type": "%KIND%"}}, {"HUB": "my-hub", "KIND": "azureManaged"}
    )
    assert host_json.read_host_settings(".", {}).hub_name == "my-hub"
    write_app_settings({"hubName": "my-hub", "storageProvider": None})
    variable = "AzureFunctionsJobHost__extensions__durableTask__storageProvider__type"
    assert host_json.read_host_settings(".", {variable: "azureManaged"}).hub_name == "my-hub"


@pytest.mark.parametrize("provider", ["azureManaged", "AzureStorage", None])
@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", "a b", "-a", "a-", ".a", "x" * 65, 5])
def test_no_provider_has_a_hub_that_leads_elsewhere(name: object, provider: str | None) -> None:
    write_app_settings({"hubName": name, "storageProvider": {"type": provider}})
    with pytest.raises(ConfigError, match="is no name of a hub"):
        host_json.read_host_settings(".", {})


def test_without_another_provider_a_hub_is_named_as_azure_storage_needs_it() -> None:
    for provider in (None, {}, {"type": "AzureStorage"}):
        write_app_settings({"hubName": "my-hub", "storageProvider": provider})
        with pytest.raises(ConfigError, match="3 to 45 letters and digits"):
            host_json.read_host_settings(".", {})


def test_one_file_of_an_app_has_the_settings_of_the_app() -> None:
    write_app_settings({"hubName": "MyHub"})
    Path("flows.py").write_text("import json\n")
    assert host_json.load_settings({"app": ["flows.py"]}).state_dir == os.path.abspath(".state")
    for text in ("import azure.functions as func\n", "x = 1\n  from azure.durable_functions.models import Task\n",
                 "from azure import durable_functions\n"):  # fmt: skip
        Path("flows.py").write_text(text)
        config = host_json.load_settings({"app": ["flows.py"]})
        assert (config.app, config.state_dir) == (("flows.py",), os.path.abspath(".state/MyHub"))
    assert host_json.load_settings({"app": ["flows.py", "other.py"]}).state_dir == os.path.abspath(".state")


def test_one_file_without_an_app_has_its_functions_served_and_the_usual_hub() -> None:
    Path("flows.py").write_text("import azure.functions as func\n")
    config = host_json.load_settings({"app": ["flows.py"]})
    assert (Path(config.state_dir).absolute(), config.http.listen) == (Path(".state").absolute(), 7071)
    Path("local.settings.json").write_text('{"Host": {"LocalHttpPort": 7100}}')
    assert host_json.load_settings({"app": ["flows.py"]}).http.listen == 7100
    Path("flows.py").write_text("import json\n")
    assert host_json.load_settings({"app": ["flows.py"]}).http.listen is None


def test_the_file_of_the_app_has_its_settings_from_elsewhere_too() -> None:
    Path("shop").mkdir()
    Path("shop/function_app.py").touch()
    assert host_json.load_settings({"app": ["shop/function_app.py"]}).state_dir == os.path.abspath(
        "shop/.state/TestHubName"
    )


def test_settings_in_a_text_are_resolved() -> None:
    assert host_json.expand_settings("%A% and %B%, 100 %", {"A": "1", "B": "2"}) == "1 and 2, 100 %"
