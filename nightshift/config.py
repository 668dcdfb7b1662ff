"""The configuration of a run: one place that reads it, checks it as a whole before anything runs, and gives
every value its type.

    config = load("site.yaml", day="2026-01-31")

A mistake is one line that begins with the path of the setting, such as `studies.transfers.train.epochs`; all
are reported at once. Types and ranges of the parameters of notebooks are those that the notebooks declare
(parameters.py).
"""

import difflib
import math
import os
import re
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
)

from nightshift import catalog, former_names
from nightshift.catalog import STEPS
from nightshift.credentials import secret_in
from nightshift.incidents.silences import check_silences
from nightshift.notify.settings import check_channels
from nightshift.parameters import Choice, Range, declared_at
from nightshift.products import expanded
from nightshift.reporting.settings import site_settings
from nightshift.sources.addresses import is_server
from nightshift.sources.files import matching_files
from nightshift.wording import one_line
from nightshift.workers import LOCAL, is_engine
from nightshift.yaml_files import FLOAT, read_safely

NOTEBOOKS = Path("notebooks")
SIMULATE, DIGEST = str(NOTEBOOKS / "simulate.ipynb"), str(NOTEBOOKS / "digest.ipynb")
SHARED = [
    "day",
    "products",
    "alarm_rate",
    "false_discovery_rate",
]  # given to every notebook that declares them
SHARE = Range(0.0, 1.0, False, False)
RANGES = {"alarm_rate": SHARE, "false_discovery_rate": SHARE}  # wherever a notebook declares none


EARLIEST = date(1971, 1, 1)  # a year after the clock of Unix began, so that a year before a night is a date
SHELL = re.compile(r"\$[A-Za-z_{(]|`|%[A-Za-z_]+%")  # what a shell would have replaced by something else
LARGEST = 2**63  # whole numbers beyond it fit in no table


class ConfigError(ValueError):
    """What is wrong with a configuration; `lines` holds one line for each mistake."""

    def __init__(self, lines):
        self.lines = list(dict.fromkeys(lines))
        super().__init__("\n".join(self.lines))


# ----------------------------------------------------------------------------------------------- reading YAML


def read_yaml(path):
    """The mapping in the YAML file at `path`; ConfigError has a line for each name or value that is refused:
    tags, what cannot be seen, names that are no text or are given twice.
    """
    try:
        content, lines = read_safely(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError([f"there is no configuration {path}"]) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = str(error).replace(' in "<unicode string>",', " on")
        raise ConfigError([f"{path} cannot be read: {one_line(reason)}"]) from None
    if lines:
        raise ConfigError(lines)
    if not isinstance(content or {}, dict):
        raise ConfigError([f"{path} is no mapping of settings such as `day: 2026-01-31`"])
    return content or {}


def products_in(config):
    """What a configuration that was read but not checked names as folder of products, "" for the repository;
    ValueError where that is no text.
    """
    products = config.get("products") or ""
    if not isinstance(products, str):
        raise ValueError(f"products is {products!r}: it must be a path")
    return products


# ------------------------------------------------------------------------------------------- values and types


def as_number(value):
    """Text that is a number as that number; all else as it is."""
    if isinstance(value, str) and FLOAT.match(value.strip()):
        return float(value)
    return value


def as_whole(value):
    """A number without a fraction as an int; all else as it is."""
    value = as_number(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_text(value):
    """A day as text, nothing as the empty text; all else as it is."""
    return str(value) if isinstance(value, date) else "" if value is None else value


def as_engine(text):
    """An engine of `workers`; ValueError for another text."""
    if not is_engine(text):
        raise ValueError("no engine")
    return text


def plain(value):
    """`value` with all days and times in it as text; ValueError when a number in it is not finite."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"holds {value}, which is no number")
    return str(value) if isinstance(value, date) else value


def of_range(bounds):
    """A check that a value lies within `bounds`."""

    def check(value):
        if isinstance(value, int) and abs(value) >= LARGEST:
            raise ValueError("too large")
        if bounds is not None and value not in bounds:
            raise ValueError("out of range")
        return value

    return check


SCALARS = {
    "float": (float, as_number, "a number"),
    "int": (int, as_whole, "a whole number"),
    "str": (str, as_text, "text"),
    "bool": (bool, lambda value: value, "true or false"),
}


def element_of(kind):
    """The kind of the values of a list or mapping, such as "int" for "list[int]" and for "dict[str, int]";
    "" where it may be any.
    """
    return kind.rpartition("[")[2].rstrip("]").rpartition(", ")[2] if "[" in kind else ""


def scalar(kind, bounds):
    """The pydantic type of one value of this kind within `bounds`."""
    made, coerce, _ = SCALARS[kind]
    strict = Field(strict=True, allow_inf_nan=False) if made is float else Field(strict=True)
    return Annotated[made, strict, BeforeValidator(coerce), AfterValidator(of_range(bounds))]


def field_of(one):
    """The pydantic type of a parameter: its kind, coerced where nothing is lost, and its range; that of a
    list or a mapping whose values have a kind is the range of each value.
    """
    bounds, kind, element = bounds_of(one), one.kind.partition("[")[0], element_of(one.kind)
    if kind in SCALARS:
        return scalar(kind, bounds)
    if kind not in ("list", "dict"):
        return Annotated[Any, BeforeValidator(plain)]
    empty = list if kind == "list" else dict
    value = scalar(element, bounds) if element else Annotated[Any, BeforeValidator(plain)]
    made = list[value] if kind == "list" else dict[str, value]
    return Annotated[made, BeforeValidator(lambda raw: empty() if raw is None else raw)]


def bounds_of(one):
    """The range of the parameter `one`: its own, or that of its name; None where it has none."""
    return one.range or RANGES.get(one.name)


def needed(kind, bounds):
    """Say in words what a value of this kind and within these bounds must be."""
    if isinstance(bounds, Choice):
        return f"one of {bounds}"
    words = {name: words for name, (_, _, words) in SCALARS.items()}
    words |= {"list": "a list of finite values", "dict": "a mapping of finite values"}
    if element := element_of(kind):
        whole = (
            "a list of which each value is"
            if kind.startswith("list")
            else "a mapping of names to values, each"
        )
        return f"{whole} {needed(element, bounds)}"
    return words.get(kind, kind) + (f" in {bounds}" if bounds else "")


@cache
def model_of(notebook, stamp):
    """The pydantic model of the parameters that a notebook declares. stamp : when the notebook was written,
    so that the cache holds no model of an earlier version.
    """
    fields = {name: (field_of(one), one.default) for name, one in declared_at(notebook).items()}
    return create_model("Parameters", __config__=ConfigDict(extra="forbid"), **fields)


def typed(where, settings, notebook):
    """(values of `settings` with the types that `notebook` declares, lines of what is wrong); `where` is
    their path in the configuration.
    """
    if settings is None:
        return {}, []
    if not isinstance(settings, dict):
        return {}, [f"{where} must be a mapping of parameters, such as {{}}"]
    declared = declared_at(notebook)
    lines, good = [], {}
    for name in settings:
        if name not in declared and name in former_names.SETTINGS:
            lines.append(f"{where}.{name} is no setting any more: {former_names.SETTINGS[name]}")
        elif name not in declared:
            nearest = nearest_of(name, declared)
            lines.append(
                f"{where}: {notebook} declares no parameter {name!r}, only {', '.join(declared)}{nearest}"
            )
    try:
        model = model_of(notebook, Path(notebook).stat().st_mtime_ns).model_validate(
            {name: settings[name] for name in declared if name in settings}
        )
        good = {name: getattr(model, name) for name in settings if name in declared}
    except ValidationError as error:
        for name, *within in dict.fromkeys(one["loc"][:2] for one in error.errors()):
            lines.append(refusal(f"{where}.{name}", settings[name], declared[name], *within))
    return good, lines


def refusal(where, value, one, *within):
    """One line that says what is wrong with the `value` of a parameter. within : its place in a list, or its
    name in a mapping, where the parameter is one.
    """
    kind = one.kind
    if within:
        where += f"[{within[0]}]" if isinstance(within[0], int) else f".{within[0]}"
        value, kind = value[within[0]], element_of(kind)
    shown = one_line(repr(value))[:80]
    note = ""
    if isinstance(value, bool) and kind == "str":
        note = ' (YAML reads no, off, yes and on as truth values: write "no")'
    return f"{where} is {shown}: it must be {needed(kind, bounds_of(one))}{note}"


# ---------------------------------------------------------------------------------------- the whole of a file


Whole = Annotated[int, BeforeValidator(as_whole), Field(ge=0)]


class Settings(BaseModel):
    """The settings of the uppermost level. Those of type Any are checked elsewhere: the night, parameters of
    notebooks, the site, and the sections about who is told of a night.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    day: Any = None
    products: Annotated[str, BeforeValidator(as_text)] = ""
    alarm_rate: Annotated[float, BeforeValidator(as_number), Field(gt=0, lt=1, allow_inf_nan=False)] = 0.005
    false_discovery_rate: Annotated[
        float, BeforeValidator(as_number), Field(gt=0, lt=1, allow_inf_nan=False)
    ] = 0.05
    retrain_days: Annotated[float, BeforeValidator(as_number), Field(gt=0, allow_inf_nan=False)] = 7
    catch_up: Whole = 7
    engine: Annotated[str, BeforeValidator(as_text), AfterValidator(as_engine)] = LOCAL
    engine_workers: Annotated[int, BeforeValidator(as_whole), Field(gt=0)] = 2
    keep_nights: Any = 0
    keep_raw_days: Whole = 0
    keep_model_days: Whole = 0
    site_url: Any = ""
    simulate: Any = None
    digest: Any = None
    studies: Any = None
    mail: Any = None
    webhooks: Any = None
    alertmanager: Any = None


NEEDED = {
    "products": "a path",
    "alarm_rate": "a number above 0 and below 1",
    "false_discovery_rate": "a number above 0 and below 1",
    "retrain_days": "a number above 0",
    "catch_up": "a whole number, 0 for none",
    "keep_raw_days": "a whole number, 0 to keep all",
    "keep_model_days": "a whole number, 0 to keep all",
    "engine": "local, slurm, or the address of a scheduler of Dask, such as tcp://host:8786",
    "engine_workers": "a whole number above 0",
}


def load(path, day=None):
    """The configuration in the YAML file at `path`, checked and typed, as a dict; `day` replaces its night.
    ConfigError for what is wrong.
    """
    return check(read_yaml(path) | ({"day": day} if day else {}))


def check(config):
    """`config`, a dict as YAML or JSON gives it, with every value in its type; ConfigError holds a line for
    each mistake.

    The keys stay those of the file; nothing is filled in. Must be called in the repository, where the
    notebooks are.
    """
    lines, good = [], dict(config)
    try:
        settings = Settings.model_validate(config)
        good |= {name: getattr(settings, name) for name in NEEDED if name in config}
    except ValidationError as error:
        for one in error.errors():
            name = str(one["loc"][0])
            lines.append(
                unknown_setting(name)
                if one["type"] == "extra_forbidden"
                else f"{name} is {config[name]!r}: it must be {NEEDED[name]}"
            )
    day, more = checked_day("day", config.get("day"))
    good["day"], lines = day, lines + more
    lines += wrong_products(config.get("products"))
    lines += other_mistakes(config)
    good["simulate"], more = typed("simulate", config.get("simulate"), SIMULATE)
    if last_day := good["simulate"].get("day"):
        more += checked_day("simulate.day", last_day)[1]
    lines += more + refused_names("simulate", config.get("simulate"), ["products"], "it stands at the top")
    good["digest"], more = checked_digest(config.get("digest"))
    good["studies"], of_studies = checked_studies(config.get("studies"))
    if lines := lines + more + of_studies:
        raise ConfigError(lines)
    return good


def wrong_products(products):
    """Lines about the folder of products: what is no plain path of a folder that is there or can be made."""
    text = "" if products is None else str(products)
    shown = f"products is {one_line(text, 80)!r}: "
    if re.search("[{}]", text):
        return [f"{shown}braces cannot be in the name of the folder, since they are patterns of the chain"]
    if text != one_line(text, 4096) or "://" in text or re.search("[*?]", text):
        return [f"{shown}it must be the path of a folder, without ends of lines, *, ? and ://"]
    if SHELL.search(text):
        return [f"{shown}variables of a shell are not replaced; write the path itself, such as ~/nights"]
    try:
        folder = expanded(text).absolute()
        while not folder.exists():
            folder = folder.parent
    except (OSError, ValueError) as error:
        return [f"{shown}{one_line(error)}"]
    if not folder.is_dir():
        return [f"{shown}{folder} is no folder"]
    return [] if os.access(folder, os.W_OK | os.X_OK) else [f"{shown}{folder} cannot be written to"]


def unknown_setting(name):
    """The line about a setting of the uppermost level that does not exist."""
    return f"unknown setting {name!r}{nearest_of(name, Settings.model_fields)}"


def checked_day(where, value):
    """(the night as text, lines of what is wrong with it): a date from EARLIEST to today, in UTC."""
    try:
        night = date.fromisoformat(str(value))
    except ValueError:
        return value, [f"{where} is {value!r}: it must be a date such as 2026-01-31"]
    today = datetime.now(UTC).date()
    if night < EARLIEST:
        return str(night), [f"{where} is {night}: no night is earlier than {EARLIEST}"]
    if night > today:
        return str(night), [f"{where} is {night}, in the future: today is {today} (UTC)"]
    return str(night), []


def other_mistakes(config):
    """Lines about the site and the mail."""
    lines = []
    try:
        site_settings(config)
    except ValueError as error:
        lines.append(str(error))
    return lines or check_channels(config)


def refused_names(where, settings, names, reason):
    """Lines about parameters that a configuration cannot set."""
    return [
        f"{where}.{name} cannot be set here: {reason}"
        for name in names
        if isinstance(settings, dict) and name in settings
    ]


def checked_digest(settings):
    """(typed parameters of the digest, lines of what is wrong)."""
    good, lines = typed("digest", settings, DIGEST)
    settings = settings if isinstance(settings, dict) else {}
    lines += [
        f"digest: {name} is found by the chain; a configuration cannot say it"
        for name in ("nights", "missing")
        if name in settings
    ]
    lines += refused_names("digest", settings, ["day", "products"], "it stands at the top")
    silences, wrong = check_silences(settings.get("silences"), "digest.silences")
    lines = [line for line in lines if not line.startswith("digest.silences")] + wrong
    if silences:
        good["silences"] = [one.model_dump(by_alias=True) for one in silences]
    declared = declared_at(DIGEST)
    for name, value in good.items():  # what is a file by default must be one, or none
        if (
            isinstance(declared[name].default, str)
            and declared[name].default
            and matching_files(declared[name].default)
            and value != ""
        ):
            lines += wrong_place(f"digest.{name}", str(value))
    return good, lines


def unknown_studies(studies):
    """Lines about names that no study has, whatever else is wrong with the studies that are there."""
    available = [path.parent.name for path in catalog.study_files()]
    return [
        f"unknown study {study!r}; known are {', '.join(available)}" + nearest_of(study, available)
        for study in studies
        if study not in available
    ]


def nearest_of(name, names):
    """End a line about an unknown name: "; the nearest is ...", "" where none of `names` is near."""
    nearest = difflib.get_close_matches(str(name), names, 1, 0.6)
    return f"; the nearest is {nearest[0]}" if nearest else ""


def checked_studies(studies):
    """({study: its day and typed parameters by step}, lines of what is wrong)."""
    if not isinstance(studies, dict) or not studies:
        return {}, ["the configuration names no study"]
    try:
        available = list(catalog.studies())
    except ValueError as error:
        return {}, [str(error)]
    good, lines = {}, unknown_studies(studies)
    for study, steps in studies.items():
        if study not in available:
            continue
        if not isinstance(steps or {}, dict):
            lines.append(f"studies.{study} must be a mapping of steps, such as {{}}")
        else:
            good[study], more = checked_study(study, steps or {})
            lines += more
    return good, lines


SOURCES = "sample, a path or pattern of files, or what is asked"


def checked_study(study, steps):
    """(day and typed parameters by step of one study, lines of what is wrong)."""
    good, lines = {}, []
    if "day" in steps:
        good["day"], lines = checked_day(f"studies.{study}.day", steps["day"])
    notebooks = {step[2:]: notebook_of(study, step) for step in catalog.steps_of(study)}
    lines += wrong_notebooks(study)
    for step, settings in steps.items():
        where = f"studies.{study}.{step}"
        if step == "day":
            continue
        if step not in notebooks:
            nearest = nearest_of(step, notebooks)
            lines.append(f"unknown step {step!r} of {study}; known are {', '.join(notebooks)}{nearest}")
            continue
        good[step], more = typed(where, settings, notebooks[step])
        lines += more + refused_names(
            where,
            settings,
            ["day", "products"],
            f"day stands under studies.{study} or at the top, products at the top",
        )
        for name, value in good[step].items():  # what is the sample's by default is a file otherwise
            if declared_at(notebooks[step])[name].default == "sample" and name != "source" and value != "":
                lines += wrong_place(f"{where}.{name}", str(value))
    source = (
        (steps.get("extract") or {}).get("source")
        if isinstance(steps.get("extract") or {}, dict)
        else "sample"
    )
    # settings without a source were made for other data than the sample
    if any(steps.values()) and source is None and not lines:
        lines.append(
            f"studies.{study} has settings and no source: name it under extract, or write `source: sample` "
            "for the simulated sample"
        )
    if source is not None and not str(source).strip():
        lines.append(f"studies.{study}.extract.source is empty: it must be {SOURCES}")
    lines += holds_secret(f"studies.{study}.extract.source", str(source or "sample"))
    if isinstance(source, str) and source != one_line(source, 4096):
        lines.append(f"studies.{study}.extract.source is {one_line(source, 80)!r}: it must be one line")
    return good, lines


def wrong_notebooks(study):
    """Lines about notebooks of a study that its study.yaml does not name, or that it names and are not
    there.
    """
    there = {path.stem for path in (NOTEBOOKS / study).glob("*.ipynb")}
    named = set(catalog.steps_of(study))
    described = f"{NOTEBOOKS / study}/study.yaml"
    return [
        f"{notebook_of(study, step)} is not there, though {described} names it"
        if step in catalog.extra_notebooks(study)
        else f"{notebook_of(study, step)} is not there: every study has {', '.join(STEPS)}"
        for step in sorted(named - there)
    ] + [
        f"{notebook_of(study, step)} is not among the extra_notebooks of {described}"
        for step in sorted(there - named)
    ]


def notebook_of(study, step):
    """Path of a notebook: that of a step of a study, or of the sample where `study` is empty."""
    return str(NOTEBOOKS / study / f"{step}.ipynb") if study else SIMULATE


def holds_secret(where, place):
    """The line about a secret in an address, in a list; an empty one where there is none."""
    if not (secret := secret_in(place)):
        return []
    return [
        f"{where} is an address with {secret}: credentials belong in the environment (parameters are "
        "printed in the report)"
    ]


def wrong_place(what, place):
    """Lines about a file, `place`, that is not there; of one of the sample or of a server, about secrets in
    its address. Files of the source are looked for only when its study runs.
    """
    if place == "sample" or is_server(place):
        return holds_secret(what, place)
    return [] if matching_files(place) else [f"{what}, {place}, does not exist or is no file"]
