"""host.json and local.settings.json: the settings read from them, errors in them, and settings without effect."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from durablecli.apps import host_json
from durablecli.errors import ConfigError
from tests.apps.conftest import write_app_settings


def test_without_files_everything_has_its_default() -> None:
    found = host_json.read_host_settings(".", {})
    assert (found.hub_name, found.route_prefix, found.warning) == ("TestHubName", "api", None)
    assert found.settings == {"version_match": "current_or_older"}
    assert found.state_dir == ".state/TestHubName"


def test_settings_ignore_case() -> None:
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


def test_an_empty_prefix_is_none() -> None:
    write_app_settings(http={"routePrefix": ""})
    assert host_json.read_host_settings(".", {}).route_prefix == ""


def test_settings_without_effect_are_listed_in_one_line() -> None:
    write_app_settings(
        {"hubName": "MyHub", "storageProvider": {"type": "mssql"}, "useAppLease": True}, queues={"batchSize": 1}
    )
    assert host_json.read_host_settings(".", {}).warning == (
        "host.json: ignored, as it has no effect here: "
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
        ('{"extensions": {"durableTask": {"hubName": "a b"}}}', "invalid hub name 'a b'; use 3 to 45 letters"),
        ('{"extensions": {"durableTask": {"hubName": "../up"}}}', "invalid hub name"),
        ('{"extensions": {"durableTask": {"hubName": "%NONE%"}}}', "%NONE% has no value; set it in the environment"),
        ('{"extensions": {"durableTask": {"maxConcurrentActivityFunctions": 0}}}', "expected a number from 1"),
        ('{"extensions": {"durableTask": {"maxConcurrentActivityFunctions": true}}}', "expected a number from 1"),
        ('{"extensions": {"durableTask": {"versionMatchStrategy": "any"}}}', "'any' is not one of none, strict, curr"),
        ('{"extensions": {"durableTask": {"maxConcurrentEntityFunctions": "x"}}}', "expected a number from 1"),
    ],
)
def test_an_error_is_reported_in_one_line(text: str, said: str) -> None:
    Path("host.json").write_text(text)
    with pytest.raises(ConfigError) as caught:
        host_json.read_host_settings(".", {})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["default", "my-hub", "team_hub-7", "A", "7", "x" * 64])
@pytest.mark.parametrize("provider", ["azureManaged", "AzureManaged", "mssql", "netherite"])
def test_a_hub_is_named_by_the_rules_of_its_storage_provider(name: str, provider: str) -> None:
    write_app_settings({"hubName": name, "storageProvider": {"type": provider, "connectionStringName": "C"}})
    assert host_json.read_host_settings(".", {}).hub_name == name
    assert host_json.read_host_settings(".", {}).state_dir == f".state/{name}"


def test_the_environment_can_set_the_storage_provider() -> None:
    write_app_settings(
        {"hubName": "%HUB%", "StorageProvider": {"Type": "%KIND%"}}, {"HUB": "my-hub", "KIND": "azureManaged"}
    )
    assert host_json.read_host_settings(".", {}).hub_name == "my-hub"
    write_app_settings({"hubName": "my-hub", "storageProvider": None})
    variable = "AzureFunctionsJobHost__extensions__durableTask__storageProvider__type"
    assert host_json.read_host_settings(".", {variable: "azureManaged"}).hub_name == "my-hub"


@pytest.mark.parametrize("provider", ["azureManaged", "AzureStorage", None])
@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", "a b", "-a", "a-", ".a", "x" * 65, 5])
def test_a_hub_name_cannot_be_a_path(name: object, provider: str | None) -> None:
    write_app_settings({"hubName": name, "storageProvider": {"type": provider}})
    with pytest.raises(ConfigError, match="invalid hub name"):
        host_json.read_host_settings(".", {})


def test_hub_names_follow_the_rules_of_azure_storage_by_default() -> None:
    for provider in (None, {}, {"type": "AzureStorage"}):
        write_app_settings({"hubName": "my-hub", "storageProvider": provider})
        with pytest.raises(ConfigError, match="3 to 45 letters and digits"):
            host_json.read_host_settings(".", {})


def test_settings_in_a_text_are_expanded() -> None:
    assert host_json.expand_settings("%A% and %B%, 100 %", {"A": "1", "B": "2"}) == "1 and 2, 100 %"
