"""The JSON Schema of a configuration, by which editors complete and check a YAML file while it is written.

    nightshift schema > config.schema.json

It is made from what the notebooks declare, so that it says the same as the check before a run. That check is
the one that counts: files, dates and mistakes between settings are beyond a schema.
"""

import math

from nightshift import catalog
from nightshift.config import DIGEST, SIMULATE, bounds_of, element_of, notebook_of
from nightshift.incidents.silences import KEYS
from nightshift.parameters import Choice, declared_at
from nightshift.workers import ADDRESS, LOCAL, SLURM

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TYPES = {
    "float": "number",
    "int": "integer",
    "str": "string",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
}
# parameters that stand at the top of a configuration, or under the name of a study
BESIDE = ("day", "products")
BY_CHAIN = ("nights", "missing")  # parameters of the digest that the chain finds


def config_schema():
    """Make the JSON Schema of the configurations that this checkout accepts, as a dict."""
    share = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    whole = {"type": "integer", "minimum": 0}
    digest = parameters_schema(DIGEST, leave=(*BESIDE, *BY_CHAIN))
    entry = {key: {"type": ["string", "integer"]} for key in KEYS} | {
        "as": {"enum": ["silenced", "acknowledged"]}
    }
    digest["properties"]["silences"] |= {"items": mapping(entry)}
    top = {
        "day": {"description": "the night that is reported, UTC; --day replaces it"} | text("2026-01-31"),
        "products": {"description": "folder for everything that is written; empty is the repository"}
        | text(),
        "alarm_rate": {"description": "share of normal items that may be flagged"} | share,
        "false_discovery_rate": {"description": "expected share of false ones among the findings"} | share,
        "retrain_days": {
            "description": "a model that is so many days old is trained again",
            "type": "number",
            "exclusiveMinimum": 0,
        },
        "catch_up": {"description": "missed nights that the next run makes up for, the latest"} | whole,
        "keep_nights": {"description": "nights whose pages stay; 0 keeps all"} | whole,
        "keep_raw_days": {
            "description": "days that raw and clean data stay after their study ran last; 0 keeps all"
        }
        | whole,
        "keep_model_days": {"description": "days that models stay after their study ran last; 0 keeps all"}
        | whole,
        "engine": {
            "description": "where heavy tables are worked on: local, slurm, or the address of a scheduler",
            "anyOf": [{"enum": [LOCAL, SLURM]}, {"pattern": f"^{ADDRESS.pattern}$", "type": "string"}],
        },
        "engine_workers": {
            "description": "jobs of Slurm that one heavy table takes at once",
            "type": "integer",
            "minimum": 1,
        },
        "site_url": {"description": "where readers find reports/, for links in the feed and in mails"}
        | text(),
        "digest": digest,
        "simulate": parameters_schema(SIMULATE, leave=("products",)),
        "mail": {"description": "who gets the digest by mail", "type": "object"},
        "webhooks": {"description": "which chats get the digest", "type": "object"},
        "alertmanager": {"description": "which Alertmanagers are told of what is open", "type": "object"},
        "studies": mapping({name: study_schema(name) for name in catalog.studies()}),
    }
    return {"$schema": DIALECT, "title": "Nightshift", "required": ["day", "studies"]} | mapping(top)


def study_schema(name):
    """Make the schema of what stands under the name of a study."""
    steps = {
        step[2:]: parameters_schema(notebook_of(name, step), leave=BESIDE) for step in catalog.steps_of(name)
    }
    day = {"description": "last day of its data, where its source ended long ago"} | text("2026-01-31")
    return mapping({"day": day, **steps}) | {
        "description": catalog.study_of(name).question,
        "type": ["object", "null"],
    }


def parameters_schema(notebook, leave):
    """Make the schema of the parameters of a notebook, but for those whose names are in `leave`."""
    declared = {name: one for name, one in declared_at(notebook).items() if name not in leave}
    return mapping({name: parameter_schema(one) for name, one in declared.items()}) | {
        "type": ["object", "null"]
    }


def parameter_schema(one):
    """Make the schema of a Parameter: its type, its range, its meaning and its default."""
    kind, element = one.kind.partition("[")[0], element_of(one.kind)
    schema = {"description": one.meaning, "type": TYPES.get(kind, "string"), "default": one.default}
    limits = limits_of(bounds_of(one))
    if kind == "list":
        return schema | ({"items": {"type": TYPES[element]} | limits} if element else {})
    if kind == "dict":
        return schema | ({"additionalProperties": {"type": TYPES[element]} | limits} if element else {})
    return schema | limits


def limits_of(bounds):
    """Say in a schema what lies within `bounds`, a Range, a Choice or None."""
    if bounds is None:
        return {}
    if isinstance(bounds, Choice):
        return {"enum": list(bounds)}
    limits = {}
    if math.isfinite(bounds.low):
        limits["minimum" if bounds.has_low else "exclusiveMinimum"] = bounds.low
    if math.isfinite(bounds.high):
        limits["maximum" if bounds.has_high else "exclusiveMaximum"] = bounds.high
    return limits


def mapping(properties):
    """Make the schema of a mapping that has these names and no other."""
    return {"type": "object", "properties": properties, "additionalProperties": False}


def text(example=""):
    """Make the schema of a text, with an example where there is one."""
    return {"type": "string"} | ({"examples": [example]} if example else {})
