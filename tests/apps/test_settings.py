"""The settings of an Azure function app as settings of durablecli, and which of them has precedence."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from durablecli.apps.settings import load_settings
from durablecli.errors import ConfigError
from tests.apps.conftest import write_app_settings


@pytest.mark.parametrize(
    ("match", "failure", "settings"),
    [
        ("None", "Reject", ("none", "block")),
        ("strict", "Fail", ("strict", "fail")),
        ("CurrentOrOlder", "reject", ("current_or_older", "block")),
    ],
)
def test_version_strategies_are_converted(match: str, failure: str, settings: tuple[str, str]) -> None:
    write_app_settings({"versionMatchStrategy": match, "versionFailureStrategy": failure})
    config = load_settings()
    assert (config.version_match, config.version_failure) == settings


def test_the_files_of_the_folder_set_durablecli_settings() -> None:
    polls = {"defaultAsyncRequestSleepTimeMilliseconds": 1500}
    write_app_settings(
        {"hubName": "MyHub", "maxConcurrentActivityFunctions": 4, "defaultVersion": "2", "httpSettings": polls}
    )
    Path("local.settings.json").write_text('{"Host": {"LocalHttpPort": 7099}}')
    config = load_settings()
    assert (config.app, config.state_dir, config.http.listen) == ((".",), os.path.abspath(".state/MyHub"), 7099)
    assert (config.concurrency.activities, config.default_version) == (4, "2")
    assert config.call_http.poll == timedelta(milliseconds=1500)


def test_durablecli_settings_override_the_files_of_the_app() -> None:
    write_app_settings({"hubName": "MyHub", "maxConcurrentActivityFunctions": 4})
    Path("durable.yaml").write_text("concurrency: {activities: 9}\n")
    config = load_settings({"state_dir": "elsewhere"})
    assert (config.state_dir, config.concurrency.activities) == (os.path.abspath("elsewhere"), 9)


def test_the_hub_of_an_app_is_in_its_folder() -> None:
    Path("shop").mkdir()
    Path("shop/function_app.py").touch()
    assert load_settings({"app": ["shop"]}).state_dir == os.path.abspath("shop/.state/TestHubName")
    Path("durable.yaml").write_text("app: [shop]\n")
    assert load_settings().state_dir == os.path.abspath("shop/.state/TestHubName")


def test_another_app_in_the_folder_ignores_its_files() -> None:
    write_app_settings({"hubName": "MyHub"})
    Path("flows").mkdir()
    config = load_settings({"app": ["flows"]})
    assert (config.app, config.state_dir, config.http.listen) == (("flows",), os.path.abspath(".state"), None)


def test_an_azure_app_cannot_be_combined_with_other_targets() -> None:
    write_app_settings()
    with pytest.raises(ConfigError, match="can't be combined with other targets; name it alone"):
        load_settings({"app": [".", "flows"]})


def test_one_file_of_an_app_has_the_settings_of_the_app() -> None:
    write_app_settings({"hubName": "MyHub"})
    Path("flows.py").write_text("import json\n")
    assert load_settings({"app": ["flows.py"]}).state_dir == os.path.abspath(".state")
    for text in ("import azure.functions as func\n", "x = 1\n  from azure.durable_functions.models import Task\n",
                 "from azure import durable_functions\n"):  # fmt: skip
        Path("flows.py").write_text(text)
        config = load_settings({"app": ["flows.py"]})
        assert (config.app, config.state_dir) == (("flows.py",), os.path.abspath(".state/MyHub"))
    assert load_settings({"app": ["flows.py", "other.py"]}).state_dir == os.path.abspath(".state")


def test_one_file_without_an_app_enables_http_and_has_the_default_hub() -> None:
    Path("flows.py").write_text("import azure.functions as func\n")
    config = load_settings({"app": ["flows.py"]})
    assert (Path(config.state_dir).absolute(), config.http.listen) == (Path(".state").absolute(), 7071)
    Path("local.settings.json").write_text('{"Host": {"LocalHttpPort": 7100}}')
    assert load_settings({"app": ["flows.py"]}).http.listen == 7100
    Path("flows.py").write_text("import json\n")
    assert load_settings({"app": ["flows.py"]}).http.listen is None


def test_function_app_named_as_a_file_has_the_settings_of_its_folder() -> None:
    Path("shop").mkdir()
    Path("shop/function_app.py").touch()
    assert load_settings({"app": ["shop/function_app.py"]}).state_dir == os.path.abspath("shop/.state/TestHubName")
