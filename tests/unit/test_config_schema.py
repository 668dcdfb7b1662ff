"""The JSON Schema of a configuration: it is that of the notebooks as they are, and refuses what the check refuses."""

import json

import jsonschema
import pytest
import yaml
from conftest import REPOSITORY

from nightshift.config import ConfigError, check
from nightshift.config_schema import config_schema

CONFIG = (REPOSITORY / "config.yaml").read_text()


def as_editors_read(text):
    """A configuration as YAML 1.2 has it, where a date is text."""
    return json.loads(json.dumps(yaml.safe_load(text), default=str))


@pytest.fixture
def in_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


@pytest.mark.usefixtures("in_repository")
def test_the_schema_in_the_repository_is_that_of_the_notebooks():
    stored = json.loads((REPOSITORY / "config.schema.json").read_text())
    assert stored == json.loads(json.dumps(config_schema())), "make it anew: nightshift schema > config.schema.json"
    assert CONFIG.startswith("# yaml-language-server: $schema=config.schema.json\n")


@pytest.mark.usefixtures("in_repository")
@pytest.mark.parametrize("name", ["config.yaml", "tests/real.yaml"])
def test_the_configurations_of_the_repository_fit(name):
    jsonschema.Draft202012Validator.check_schema(config_schema())
    jsonschema.validate(as_editors_read((REPOSITORY / name).read_text()), config_schema())


@pytest.mark.usefixtures("in_repository")
@pytest.mark.parametrize(
    "change",
    [
        {"retrain_dais": 3},
        {"alarm_rate": 2},
        {"keep_nights": -1},
        {"studies": {"transferz": {}}},
        {"studies": {"transfers": {"trian": {}}}},
        {"studies": {"transfers": {"train": {"epoks": 3}}}},
        {"studies": {"transfers": {"train": {"epochs": 0}}}},
        {"studies": {"transfers": {"train": {"epochs": "many"}}}},
        {"studies": {"certification": {"train": {"seeds": ["one"]}}}},
        {"digest": {"nights": {}}},
        {"digest": {"silences": [{"sites": "A"}]}},
    ],
    ids=str,
)
def test_what_the_schema_refuses_the_check_refuses_too(change):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(as_editors_read(CONFIG) | change, config_schema())
    with pytest.raises(ConfigError):
        check(yaml.safe_load(CONFIG) | change)
