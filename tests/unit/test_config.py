"""The configuration: how YAML is read, which values keep or get their type, and that every mistake is one line with its path."""

import json
import math

import pytest

from nightshift.config import ConfigError, check, load, read_yaml
from nightshift.parameters import Choice, Range, declared, parameters_in
from nightshift.sources.files import matching_files, no_file

HEAD = "day: 2026-01-31\nstudies:\n  certification:\n    extract: {source: sample}\n"


def written(tmp_path, text):
    path = tmp_path / "site.yaml"
    path.write_text(text)
    return path


def mistakes(tmp_path, text):
    with pytest.raises(ConfigError) as error:
        load(written(tmp_path, text))
    assert all("\n" not in line for line in error.value.lines)
    return error.value.lines


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.00005", 5e-05), ("5e-05", 5e-05), ("1e-3", 1e-3), ('"1e-3"', 1e-3), ("1E-3", 1e-3), (".5", 0.5), ("+0.5", 0.5)],
)
def test_a_small_number_is_a_number_however_it_is_written(tmp_path, text, value):
    config = load(written(tmp_path, f"alarm_rate: {text}\n{HEAD}    train: {{alarm_rate: {text}}}\n"))
    assert (config["alarm_rate"], config["studies"]["certification"]["train"]["alarm_rate"]) == (value, value)
    assert json.loads(json.dumps(config))["alarm_rate"] == value


def test_values_get_the_type_that_the_notebook_declares(tmp_path):
    steps = "    train: {epochs: 1e1, l1: 1, seeds: [4, 5]}\n    analyse: {two_step: yes, truth: }\n"
    config = load(written(tmp_path, HEAD + steps), "2026-01-30")
    train, analyse = (config["studies"]["certification"][step] for step in ("train", "analyse"))
    assert (train["epochs"], type(train["epochs"]), train["l1"], type(train["l1"]), train["seeds"]) == (10, int, 1.0, float, [4, 5])
    assert (analyse, config["day"]) == ({"two_step": True, "truth": ""}, "2026-01-30")
    assert check(config) == config, "a configuration that was checked is good"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("vo_aliases: {no: norway}", 'studies.accounting.preprocess.vo_aliases: the name no is read as False by YAML: write "no" (line 5)'),
        ("vo_aliases: {on: x}", 'studies.accounting.preprocess.vo_aliases: the name on is read as True by YAML: write "on" (line 5)'),
        ("vo_aliases: {7: x}", 'studies.accounting.preprocess.vo_aliases: the name 7 is read as 7 by YAML: write "7" (line 5)'),
        ("vo_aliases: {2026-01-31: x}", "studies.accounting.preprocess.vo_aliases: the name 2026-01-31 is read as 2026-01-31 by YAML"),
        ("vo_aliases: {~: x}", "studies.accounting.preprocess.vo_aliases: the name ~ is read as None by YAML"),
        ("vo_aliases: {[a]: x}", "studies.accounting.preprocess.vo_aliases: a name on line 5 is no text"),
        ("aliases: [{vo: a, no: b}]", "studies.accounting.preprocess.aliases[0]: the name no is read as False by YAML"),
        ("vo_aliases: {a: b, a: c}", "studies.accounting.preprocess.vo_aliases.a is given twice, on line 5 and on line 5"),
    ],
)
def test_a_name_that_is_no_text_or_stands_twice_is_refused_at_any_depth(tmp_path, text, line):
    head = "day: 2026-01-31\nstudies:\n  accounting:\n    extract: {source: sample}\n"
    [found] = mistakes(tmp_path, f"{head}    preprocess: {{{text}}}\n")
    assert found.startswith(line)


def test_a_setting_that_stands_twice_is_named_with_both_lines(tmp_path):
    assert mistakes(tmp_path, f"{HEAD}day: 2026-01-30\n") == ["day is given twice, on line 1 and on line 5"]


@pytest.mark.parametrize("text", ["a: [", "", "3", "- a", "\tx: 1"])
def test_what_is_no_configuration_is_one_line(tmp_path, text):
    [line] = mistakes(tmp_path, text) if text else mistakes(tmp_path, "studies: {accounting: {}}")
    assert line
    with pytest.raises(ConfigError, match="there is no configuration"):
        read_yaml(tmp_path / "none.yaml")


def test_numbers_of_yaml_1_2_and_text_that_looks_like_one(tmp_path):
    text = "a: 010\nb: 0x1F\nc: 12:30\nd: 1_000\ne: -3\nf: .inf\ng: 1.\nh: e5\ni: 2026-01-31\nj: 0o17\nk: 08"
    read = read_yaml(written(tmp_path, text))
    assert [read[name] for name in "abcdefghjk"] == [10, 31, "12:30", 1000, -3, math.inf, 1.0, "e5", 15, 8]
    assert str(read["i"]) == "2026-01-31"


def test_a_number_that_is_not_finite_is_refused_wherever_it_stands(tmp_path):
    lines = mistakes(tmp_path, HEAD + "    train: {l1: .nan, seeds: [1, .inf]}\n")
    assert any(line.startswith("studies.certification.train.l1 is nan: it must be a number") for line in lines)
    assert any(line.startswith("studies.certification.train.seeds[1] is inf: it must be a whole number in [0, inf)") for line in lines)


SOURCE = """source: str = "a # b"  # where from, so to speak
rate: float = 1e-3  # share; of what, nobody knows; in (0, 1)
days: int = 7  # days; in [1, inf)
layout: str = "auto"  # form; in {auto, csv, json}
names: list = ["a", "#"]  # only these
pairs: dict = {"a": 1}
"""


@pytest.mark.parametrize(
    ("step", "text", "line"),
    [
        ("analyse", "importance: {atlas: yes}", "analyse.importance.atlas is True: it must be a number in [0, inf)"),
        ("analyse", "importance: {atlas: -1}", "analyse.importance.atlas is -1: it must be a number in [0, inf)"),
        ("analyse", "importance: [atlas]", "analyse.importance is ['atlas']: it must be a mapping of names to values, each a number in [0, inf)"),
        ("preprocess", "vo_aliases: {old: no}", "preprocess.vo_aliases.old is False: it must be text (YAML reads no, off, yes and on as"),
        ("extract", "weeks: 99999999999", "extract.weeks is 99999999999: it must be a whole number in [1, 5200]"),
    ],
)
def test_the_values_of_lists_and_mappings_have_kinds_and_ranges(tmp_path, step, text, line):
    settings = {"extract": "source: sample"}
    settings[step] = ", ".join(filter(None, (settings.get(step), text)))
    steps = "".join(f"    {name}: {{{entries}}}\n" for name, entries in settings.items())
    [mistake] = mistakes(tmp_path, f"day: 2026-01-31\nstudies:\n  accounting:\n{steps}")
    assert mistake.startswith(f"studies.accounting.{line}")


def test_every_value_of_a_list_that_is_wrong_is_named_with_its_place(tmp_path):
    lines = mistakes(tmp_path, HEAD + "    train: {seeds: [1, a, 2.5], widths: [128, 0], candidates: []}\n")
    where = "studies.certification.train"
    assert lines == [
        f"{where}.seeds[1] is 'a': it must be a whole number in [0, inf)",
        f"{where}.seeds[2] is 2.5: it must be a whole number in [0, inf)",
        f"{where}.widths[1] is 0: it must be a whole number in [1, inf)",
    ]


def test_the_parameters_cell_is_read_as_python_reads_it():
    source, rate, days, layout, names, pairs = parameters_in(SOURCE)
    assert (source.default, source.meaning, source.range) == ("a # b", "where from, so to speak", None)
    assert (rate.default, rate.kind, rate.range) == (0.001, "float", Range(0.0, 1.0, False, False))
    assert (days.range, layout.range) == (Range(1.0, math.inf, True, False), Choice(("auto", "csv", "json")))
    assert (names.default, pairs.default, pairs.meaning) == (["a", "#"], {"a": 1}, "")
    assert declared({"cells": [{"metadata": {}, "source": "x: int = 1"}]}) == []


def test_the_ends_of_a_range_belong_to_it_or_not():
    bounds = Range(0.0, 1.0, False, True)
    assert [value in bounds for value in (-0.1, 0, 0.5, 1, 1.1)] == [False, False, True, True, False]
    assert str(bounds) == "(0, 1]"


@pytest.mark.parametrize("comment", ["share; in (1, 0)", "share; in (a, b)", "share; in [0, 1", "share; in (0, 1) or so"])
def test_a_range_that_nobody_can_read_is_an_error_and_no_missing_range(comment):
    with pytest.raises(ValueError, match="the range of the parameter rate"):
        parameters_in(f"rate: float = 0.5  # {comment}")


def test_a_path_that_exists_is_taken_as_it_is_and_is_a_pattern_otherwise(tmp_path):
    for name in ("data [2026]/a 1.txt", "data [2026]/a 2.txt", "data 2/a*.txt", "data 2/ab.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert matching_files(f"{tmp_path}/data [2026]/a 1.txt") == [f"{tmp_path}/data [2026]/a 1.txt"]
    assert matching_files(f"{tmp_path}/data 2/a*.txt") == [f"{tmp_path}/data 2/a*.txt"]
    assert matching_files(f"{tmp_path}/data 2/a?*.txt") == [f"{tmp_path}/data 2/a*.txt", f"{tmp_path}/data 2/ab.txt"]
    assert matching_files(f"{tmp_path}/data 3/*") == []
    assert no_file(str(tmp_path)) == f"{tmp_path} is a folder: name its files, such as {tmp_path}/*"


def test_a_day_that_no_month_has_is_refused_with_its_path(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("day: 2026-02-31\nstudies: {tickets: {extract: {source: ''}}}\n")
    with pytest.raises(ConfigError) as error:
        load(path)
    assert error.value.lines[0] == "day is '2026-02-31': it must be a date such as 2026-01-31"
    assert "studies.tickets.extract.source is empty: it must be sample, a path or pattern of files, or what is asked" in error.value.lines
