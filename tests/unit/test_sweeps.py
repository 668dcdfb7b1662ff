"""Sweeps without running anything: what a command line means, which points follow, and what a comparison computes."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY

from helpers import write_json, write_parquet, write_test_errors
from nightshift.night import held
from nightshift.parameters import declared_at
from nightshift.runs import write_record
from nightshift.sweeps import charts, command, comparison, results, tracking
from nightshift.sweeps.plan import INPUTS, begin_run, copy_inputs, default_name, make_plan, night_files, open_sweep, read_sweep, steps_before
from nightshift.sweeps.runs import Run, find_runs, point_in_words
from nightshift.sweeps.search import Search
from nightshift.sweeps.space import Axis, grid_points, random_points, read_axes
from nightshift.sweeps.tables import ALWAYS, OF_MODEL, curves_of, paired_difference, results_of, varying_models

TRANSFERS, DAY = "notebooks/transfers/3_train.ipynb", "2026-01-31"
STUDIES, STEPS = "transfers, accounting, telemetry, certification, tickets", "1_extract, 2_preprocess, 3_train, 4_analyse"


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


# ----------------------------------------------------------------------------------------------- the command line


def axes_of(*words, notebook=TRANSFERS):
    return read_axes(words, notebook, "transfers 3_train")


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("lstm_units=64,128", (64, 128)),
        ("lstm_units=64, 64, 1e2", (64, 100)),
        ("learning_rate=log:1e-4:1e-2:5", (0.0001, 0.000316228, 0.001, 0.00316228, 0.01)),
        ("test_share=lin:0.1:0.4:4", (0.1, 0.2, 0.3, 0.4)),
        ("lstm_units=log:1:8:4", (1, 2, 4, 8)),
        ("seed=lin:1:3:5", (1, 2, 3)),
        ("learning_rate=log:1e-4:1e-2", ()),
        ("seed=7", (7,)),
    ],
)
def test_a_word_names_the_values_of_a_parameter(word, values):
    [axis] = axes_of(word)
    assert axis.values == pytest.approx(values)
    assert [type(value) for value in axis.values] == [type(value) for value in values]


def test_a_parameter_that_is_a_list_takes_lists_and_text_may_look_like_a_range():
    [widths, variants] = axes_of("widths=[64, 16],[32]", "candidates=[vanilla],[log:x, sparse]", notebook="notebooks/certification/3_train.ipynb")
    assert widths.values == ([64, 16], [32])
    assert variants.values == (["vanilla"], ["log:x", "sparse"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "name at least one parameter with its values, such as seed=1,2,3"),
        (["lstm_units"], "'lstm_units' is no parameter with its values"),
        (["lstm_units="], "'lstm_units=' is no parameter with its values"),
        (["lstm_unit=64"], "declares no parameter 'lstm_unit'"),
        (["lstm_unit=64"], "; the nearest is lstm_units"),
        (["lstm_units=64,many"], "lstm_units is 'many': it must be a whole number in [1, inf)"),
        (["lstm_units=64,0"], "lstm_units is 0: it must be a whole number in [1, inf)"),
        (["lstm_units=1.5"], "lstm_units is 1.5: it must be a whole number"),
        (["learning_rate=.nan"], "learning_rate is nan: it must be a number in (0, 1)"),
        (["learning_rate=log:1e-4:2:3"], "learning_rate is 2.0: it must be a number in (0, 1)"),
        (["learning_rate=log:0:1e-2:3"], "begins at 0: a logarithm needs more than 0"),
        (["learning_rate=log:1e-2:1e-4:3"], "holds nothing: LOW must be below HIGH"),
        (["learning_rate=log:1e-4"], "is no range: it must be log:LOW:HIGH or log:LOW:HIGH:NUMBER"),
        (["learning_rate=log:a:b:3"], "is no range"),
        (["learning_rate=lin:0.1:0.2:1"], "1 is no number of values: it must be a whole number in [2, 1000]"),
        (["learning_rate=lin:0.1:0.2:1.5"], "1.5 is no number of values"),
        (["seed=1,,2"], "'1,,2' cannot be read"),
        (["seed=1,~"], "has an empty value"),
        (["seed=[1"], "'[1' cannot be read"),
        (["day=2026-01-30"], "day cannot be varied: the night is that of --day"),
        (["products=/tmp"], "products cannot be varied: each run has a folder of its own"),
        (["seed=1", "seed=2"], "seed is given twice"),
    ],
)
def test_what_is_wrong_with_a_word_is_one_line(words, line):
    with pytest.raises(ValueError, match=r"^transfers 3_train") as error:
        axes_of(*words)
    assert len(str(error.value).splitlines()) == 1
    assert line in str(error.value)


def test_all_mistakes_are_said_at_once():
    with pytest.raises(ValueError, match="lstm_unit") as error:
        axes_of("lstm_unit=64", "seed=1", "epochs=0")
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("study", "step", "options", "line"),
    [
        ("transfer", "3_train", {}, f"unknown study 'transfer'; the configuration names {STUDIES}; the nearest is transfers"),
        ("transfers", "3_trian", {}, f"unknown step '3_trian' of transfers; known are {STEPS}, 5_quality; the nearest is 3_train"),
        ("transfers", "train", {"random": 3, "optuna": 3}, "--random and --optuna exclude each other"),
        ("transfers", "train", {"optuna": 3}, "Optuna is not installed: `pip install optuna`, or use --random"),
        ("transfers", "analyse", {"optuna": 3}, "--optuna chooses by the skills of models, and 4_analyse trains none: use --random"),
    ],
)
def test_a_wrong_command_ends_with_2_and_one_line(study, step, options, line, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code = command.sweep(study, step, ["seed=1,2"], command.Options(REPOSITORY / "config.yaml", **options))
    assert (code, capsys.readouterr().err) == (2, f"nightshift: {line}\n")


def test_products_that_are_no_folder_are_one_line(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("products: [a, b]\n")
    code = command.compare([], command.Choices(tmp_path / "config.yaml"))
    assert (code, capsys.readouterr().err) == (2, "nightshift: products is ['a', 'b']: it must be a path\n")


def test_two_sweeps_of_one_name_do_not_run_at_once(tmp_path, capsys):
    config = (REPOSITORY / "config.yaml").read_text().replace('products: ""', f"products: {tmp_path}")
    (tmp_path / "config.yaml").write_text(config)
    with held(tmp_path / "sweeps/x"):
        code = command.sweep("transfers", "train", ["seed=1,2"], command.Options(tmp_path / "config.yaml", name="x"))
    assert code == 3
    assert capsys.readouterr().err.startswith(f"nightshift: another run (process {os.getpid()}) writes to {tmp_path}/sweeps/x")
    code = command.sweep("transfers", "train", ["seed=1,2"], command.Options(tmp_path / "config.yaml", name="x"))
    line = f"nightshift: {tmp_path} has no data/raw/transfers/status.json: `nightshift run --day {DAY}` makes it\n"
    assert (code, capsys.readouterr().err) == (2, line)


# ------------------------------------------------------------------------------------------------------ the points


def test_a_grid_has_every_combination_once_and_the_last_parameter_varies_fastest():
    points = grid_points([Axis("a", (1, 2)), Axis("b", ("x", "y", "z"))])
    assert [tuple(point.values()) for point in points] == [(a, b) for a in (1, 2) for b in "xyz"]
    with pytest.raises(ValueError, match=r"^b is a range without a number of values"):
        grid_points([Axis("a", (1,)), Axis("b", (), "log", 1.0, 2.0)])
    with pytest.raises(ValueError, match=r"^the grid has 1,600 points, more than 1,000: use --random or --optuna$"):
        grid_points([Axis("a", tuple(range(40))), Axis("b", tuple(range(40)))])


def test_random_points_are_drawn_from_the_whole_range_and_a_longer_search_begins_with_the_shorter():
    axes = [Axis("rate", (), "log", 1e-4, 1e-2), Axis("units", (), "lin", 1.0, 9.0, True), Axis("kind", ("a", "b"))]
    points = random_points(axes, 400, seed=3)
    assert points[:7] == random_points(axes, 7, seed=3)
    assert points[:7] != random_points(axes, 7, seed=4)
    frame = pd.DataFrame(points)
    assert frame.rate.between(1e-4, 1e-2).all()
    assert np.mean(frame.rate < 1e-3) == pytest.approx(0.5, abs=0.1), "half of them below the middle of the logarithm"
    assert set(frame.units) == set(range(1, 10))
    assert set(frame.kind) == {"a", "b"}


def test_no_point_is_drawn_twice_where_there_are_few():
    points = random_points([Axis("a", (1, 2)), Axis("b", (1, 2))], 9, seed=1)
    assert sorted(tuple(point.values()) for point in points) == [(1, 1), (1, 2), (2, 1), (2, 2)]


# -------------------------------------------------------------------------------------------------------- the plan


def plan_of(points=({"width": 1}, {"width": 2}), **other):
    asked = {"study": "transfers", "step": "3_train", "day": DAY, "parameters": {"day": DAY}, "search": "grid", "seed": None}
    return make_plan(asked | other, [Axis("width", (1, 2))], list(points))


def test_the_same_command_finds_its_sweep_and_another_one_is_refused(tmp_path):
    made = open_sweep(tmp_path / "a", plan_of())
    again = open_sweep(tmp_path / "a", plan_of())
    assert again.plan == made.plan == read_sweep(tmp_path / "a").plan
    assert default_name(plan_of()) == default_name(plan_of(points=[])) != default_name(plan_of(seed=2))
    with pytest.raises(ValueError, match=r"holds a sweep with other day and seed; choose another --name for this one"):
        open_sweep(tmp_path / "a", plan_of(day="2026-01-30", seed=3))
    (tmp_path / "b").mkdir()
    (tmp_path / "b/mine.txt").touch()
    with pytest.raises(ValueError, match="b is no sweep, and not empty; choose another --name"):
        open_sweep(tmp_path / "b", plan_of())


def test_a_search_may_grow(tmp_path):
    open_sweep(tmp_path, plan_of(points=[{"width": 1}]))
    assert list(open_sweep(tmp_path, plan_of()).plan["runs"]) == ["001", "002"]
    assert list(open_sweep(tmp_path, plan_of(points=[{"width": 1}])).plan["runs"]) == ["001", "002"]


def test_a_step_reads_what_the_steps_before_it_left():
    assert steps_before("transfers", "1_extract") == ["simulate"]
    assert steps_before("transfers", "3_train") == ["1_extract", "2_preprocess"]
    assert steps_before("transfers", "5_quality")[-1] == "4_analyse"
    assert steps_before("telemetry", "5_accelerators") == ["1_extract", "2_preprocess"]


def night(root):
    """A night after which transfers can be trained; what an earlier training left lies there too."""
    from nightshift.products import fingerprint

    (root / "data/raw/transfers").mkdir(parents=True)
    write_json({}, root / "data/raw/transfers/status.json")
    write_parquet(pd.DataFrame({"x": [1]}), root / "data/clean/transfers.parquet")
    write_json({}, root / "encoders/transfers/categories.json")
    write_json({}, root / "encoders/transfers/inputs.json")
    write_json({}, root / "models/transfers/metrics.json")
    wrote = {"1_extract": ["data/raw/transfers/status.json"], "2_preprocess": ["data/clean/transfers.parquet", "encoders/transfers/categories.json"]}
    for step, names in wrote.items():
        run = {"version": 1, "outcome": "ok", "products": {name: fingerprint(root / name) for name in names}}
        write_record(run, root / "reports" / DAY / "transfers" / f"{step}.json")
    return root


def test_training_begins_without_what_an_earlier_training_left(tmp_path):
    night(tmp_path)
    read = ["data/clean/transfers.parquet", "data/raw/transfers/status.json", "encoders/transfers/categories.json"]
    assert night_files(tmp_path, DAY, "transfers", "3_train") == read
    later = {*read, "encoders/transfers/inputs.json", "models/transfers/metrics.json"}
    assert set(night_files(tmp_path, DAY, "transfers", "4_analyse")) == later


def test_parts_that_were_kept_and_tables_in_folders_are_read_too(tmp_path):
    raw = night(tmp_path / "night") / "data/raw/transfers"
    for name in ("file-0.parquet", "rows.parquet/0.parquet"):  # the record names neither
        write_parquet(pd.DataFrame({"x": [1]}), raw / name)
    names = night_files(tmp_path / "night", DAY, "transfers", "3_train")
    assert [Path(name).name for name in names if "raw" in name] == ["file-0.parquet", "rows.parquet", "status.json"]
    sweep = SimpleNamespace(folder=tmp_path, run_folder=lambda run: tmp_path / run)
    copy_inputs(tmp_path / "night", names, tmp_path / INPUTS)
    begin_run(sweep, "001")
    assert pd.read_parquet(tmp_path / "001/data/raw/transfers/rows.parquet").x.tolist() == [1]


def test_a_night_that_is_no_input_is_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match=rf"has no data/raw/transfers/status.json: `nightshift run --day {DAY}` makes it$"):
        night_files(tmp_path, DAY, "transfers", "3_train")
    night(tmp_path)
    write_parquet(pd.DataFrame({"x": [2, 3]}), tmp_path / "data/clean/transfers.parquet")
    with pytest.raises(ValueError, match=rf"^data/clean/transfers.parquet is not as 2_preprocess of {DAY} left it: run that night again$"):
        night_files(tmp_path, DAY, "transfers", "3_train")
    failed = {"version": 1, "outcome": "failed", "error": "no rows"}
    write_record(failed, tmp_path / "reports" / DAY / "transfers/2_preprocess.json")
    with pytest.raises(ValueError, match=f"^transfers/2_preprocess of {DAY} is no input, since it failed: no rows$"):
        night_files(tmp_path, DAY, "transfers", "3_train")


# ------------------------------------------------------------------------------------------------- what runs left


def model(name, value, *, in_use=False, metric="loss"):
    skill = 1 - value / 2.0
    about = {"name": name, "metric": metric, "model": value, "baseline_name": "mean", "baseline": 2.0, "n_train": 9, "n_test": 4, "split": "time"}
    rates = {"alarm_rate_stated": 0.01, "alarm_rate_observed": None, "in_use": in_use}
    return about | {"skill": skill, "skill_low": skill - 0.1, "skill_high": skill + 0.1} | rates


def errors(factor):
    """Errors of two models on four rows of two groups; of the first one `factor` times 1, 2, 3 and 4."""
    return pd.DataFrame({"net": factor * np.array([1.0, 2.0, 3.0, 4.0]), "mean": [2.0, 2.0, 2.0, 2.0]})


@pytest.fixture
def runs(tmp_path):
    """Three runs of a training with widths 1, 2 and 4, the net of which errs 1, 0.5 and 0.6 times as much; the last one is of another seed too."""
    made = open_sweep(tmp_path / "sweeps/toy", plan_of([{"width": 1, "seed": 1}, {"width": 2, "seed": 1}, {"width": 4, "seed": 2}]))
    for run, factor in zip(made.plan["runs"], (1.0, 0.5, 0.6), strict=True):
        folder = made.run_folder(run) / "models/transfers"
        table = errors(factor)
        write_test_errors(folder, table, row=pd.Series(list("abcd")), group=pd.Series([0, 0, 1, 1]), measure="absolute error")
        models = [model("net", 2.5 * factor / 2, in_use=True), model("mean", 2.0)]
        write_json({"study": "transfers", "day": DAY, "git": "abc", "models": models}, folder / "metrics.json")
        losses = {"network": ["net"] * 3, "epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "validation_loss": np.array([3.0, 2.0, 2.5]) * factor}
        write_parquet(pd.DataFrame(losses), folder / "losses.parquet")
        record = {"version": 1, "outcome": "ok", "parameters": {"day": DAY, "products": run, "epochs": 5, **made.plan["runs"][run]}, "seconds": 7.0}
        write_record(record, made.record_path(run))
    return find_runs(["toy"], tmp_path / "sweeps")


def test_results_are_a_row_per_run_and_model(runs):
    frame = results(runs[0].folder.parent)
    assert frame[["run", "model", "value", "width", "epochs"]].values.tolist()[2:4] == [["002", "net", 0.625, 2, 5], ["002", "mean", 2.0, 2, 5]]
    assert not set(frame) & {"day", "products"}
    with pytest.raises(ValueError, match="holds no sweep"):
        results(runs[0].folder)


def test_a_run_without_metrics_keeps_its_row_and_what_it_recorded(runs):
    made = read_sweep(runs[0].folder.parent)
    failed = {"version": 1, "outcome": "failed", "error": "too few rows", "values": {"kept": 3}, "parameters": {"width": 1, "seed": 1, "epochs": 5}}
    write_record(failed, made.record_path("001"))
    frame = results(made.folder)
    first = frame[frame.run == "001"].to_dict("records")
    assert [(row["outcome"], row["error"], row["kept"]) for row in first] == [("failed", "too few rows", 3)]
    assert np.isnan(first[0]["skill"])
    assert set(ALWAYS) <= set(results_of([Run("001", runs[0].folder, "transfers", "3_train")]))


def test_no_parameter_of_any_notebook_is_called_like_a_column_of_the_results():
    columns = {*model("a", 1.0), *OF_MODEL.values(), *ALWAYS, "run", "outcome", "error", "seconds", "git"} - set(OF_MODEL)
    for path in REPOSITORY.glob("notebooks/*/*.ipynb"):
        assert not columns & set(declared_at(path)), path


def test_a_paired_difference_is_the_share_by_which_the_errors_on_the_same_rows_are_larger(runs):
    one, two, three = runs
    assert paired_difference(one, two, "net", "net") == pytest.approx((1.0, 1.0, 1.0, 4)), "twice as large in every row: no doubt is left"
    assert paired_difference(three, two, "net", "net")[:3] == pytest.approx((0.2, 0.2, 0.2))
    share, low, high, n = paired_difference(two, three, "net", "mean")  # groups err 1.5 and 3.5 against 4 and 4
    assert (share, n) == (pytest.approx(5.0 / 8.0 - 1), 4)
    assert (low, high) == pytest.approx((1.5 / 4 - 1, 3.5 / 4 - 1)), "all four draws of two groups: one group twice at each end"
    assert paired_difference(one, two, "tree", "net") is None


def test_only_rows_that_both_have_are_compared(runs):
    folder = runs[0].folder / "models/transfers"
    write_test_errors(folder, errors(1.0), row=pd.Series(list("axcz")), group=pd.Series([0, 0, 1, 1]), measure="absolute error")
    assert paired_difference(runs[0], runs[1], "net", "net") == pytest.approx((1.0, 1.0, 1.0, 2))
    write_test_errors(folder, errors(1.0), row=pd.Series(list("wxyz")), group=pd.Series([0, 0, 1, 1]), measure="absolute error")
    del runs[0].__dict__["test_errors"]
    assert paired_difference(runs[0], runs[1], "net", "net") is None


def test_rows_of_one_name_stay_apart_and_those_without_an_error_are_left_out(tmp_path):
    table = errors(1.0)
    table.loc[3, "net"] = np.nan
    write_test_errors(tmp_path, table, row=pd.Series(list("aabc")), group=pd.Series([0, 0, 1, 1]), measure="error in hours")
    back = pd.read_parquet(tmp_path / "test_errors.parquet")
    assert back[["row", "net", "group"]].values.tolist() == [["a", 1.0, "0"], ["a #2", 2.0, "0"], ["b", 3.0, "1"]]
    assert back.attrs == {"measure": "error in hours"}


def test_curves_are_means_over_repetitions_in_which_a_stopped_network_keeps_its_last_loss(runs):
    table = pd.DataFrame(
        {"dataset": ["a", "a", "b"], "variant": "net", "seed": 1, "epoch": [1, 2, 1], "loss": 0.0, "validation_loss": [4.0, 2.0, 8.0]}
    )
    write_parquet(table, runs[0].folder / "models/transfers/losses.parquet")
    curves = curves_of(runs[:1])
    assert {name: line.to_dict() for name, line in curves["net"].items()} == {"001": {1: 6.0, 2: 5.0}}


def test_the_table_of_a_comparison_by_hand(runs):
    compared = comparison.compare(runs)
    assert compared.names == ["width", "seed"]
    assert (compared.best.name, compared.reference.name) == ("002", "002")
    assert varying_models(runs) == ["net"]
    first, table, *notes = comparison.as_text(compared)
    assert first == (
        "Run 002 (width=2 seed=1) is best: net has a skill of 0.69 (0.59 to 0.79) against mean. Of the other 2, on the same test rows, "
        "2 are clearly worse than it."
    )
    rows = [line.split() for line in table.splitlines()]
    assert rows[0] == ["loss"]
    assert rows[2] == ["001", "1", "1", "net", "1.25", "0.38", "(0.28", "to", "0.47)", "+100.0%", "(+100.0", "to", "+100.0)"]
    assert rows[3] == ["002", "2", "1", "net", "0.625", "0.69", "(0.59", "to", "0.79)"]
    assert rows[4] == ["003", "4", "2", "net", "0.75", "0.62", "(0.53", "to", "0.72)", "+20.0%", "(+20.0", "to", "+20.0)"]
    assert [note.partition(":")[2].strip()[:24] for note in notes] == ["The best of 3 is flatter"]


def test_another_model_and_another_reference_may_be_asked_for(runs):
    compared = comparison.compare(runs, model="mean", reference="003")
    assert [row["model_name"] for row in compared.sections["loss"]] == ["mean"] * 3
    assert compared.differences["mean"]["001"] == pytest.approx((0.0, 0.0, 0.0, 4))
    assert comparison.difference_in_words(compared.differences["mean"]["001"]) == "the same"
    assert comparison.lead(compared).startswith("All 3 runs are alike: mean has a skill of 0.00")
    with pytest.raises(ValueError, match="no model here is called 'nett', only net, mean; the nearest is net"):
        comparison.compare(runs, model="nett")
    with pytest.raises(ValueError, match="no run here is called '004', only 001, 002, 003"):
        comparison.compare(runs, reference="004")


def test_runs_that_are_measured_by_different_metrics_are_not_ranked(runs):
    write_json({"models": [model("net", 0.1, in_use=True, metric="another")]}, runs[2].folder / "models/transfers/metrics.json")
    compared = comparison.compare(runs)
    assert (compared.best, list(compared.sections)) == (None, ["loss", "another"])
    first, loss, another, *_ = comparison.as_text(compared)
    assert first == "3 runs; none is best, since they are measured by other metrics."
    assert loss.splitlines()[2].split()[:5] == ["001", "1", "1", "net", "1.25"]
    assert "error against" not in loss + another


def test_a_comparison_says_what_makes_it_doubtful(runs):
    metrics = runs[0].folder / "models/transfers/metrics.json"
    content = json.loads(metrics.read_text()) | {"day": "2026-01-30", "git": "def"}
    metrics.write_text(json.dumps(content))
    folder = runs[0].folder / "models/transfers"
    write_test_errors(folder, errors(1.0), row=pd.Series(list("abcz")), group=pd.Series([0, 0, 1, 1]), measure="absolute error")
    write_record({"version": 1, "outcome": "failed", "error": "killed"}, read_sweep(runs[2].folder.parent).record_path("003"))
    notes = " ".join(comparison.notes(comparison.compare(runs)))
    for words in ("1 run failed. 003: killed.", "different nights (2026-01-30 and 2026-01-31)", "different versions of the code (abc and def)"):
        assert words in notes
    assert "share 3 test rows of up to 4" in notes


def test_runs_are_found_by_name_by_folder_and_in_a_night(runs, tmp_path, monkeypatch):
    sweeps = tmp_path / "sweeps"
    assert [run.name for run in find_runs(["toy/001", "toy/003"], sweeps)] == ["001", "003"]
    night = tmp_path / "night"
    write_json({"models": []}, night / "models/transfers/metrics.json")
    assert [run.name for run in find_runs(["toy/001", str(night), "toy/001"], sweeps)] == ["001", "night"]
    monkeypatch.chdir(night)
    assert [run.name for run in find_runs([".", "toy/001"], sweeps)] == ["night", "001"]
    write_json({"models": []}, night / "models/tickets/metrics.json")
    assert [run.study for run in find_runs(["toy/001", str(night)], sweeps, "transfers")] == ["transfers"] * 2
    with pytest.raises(ValueError, match=r"night has trained tickets, transfers, and not telemetry$"):
        find_runs(["toy/001", str(night)], sweeps, "telemetry")


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["toy/001"], "a comparison takes two runs at least, or a sweep of several"),
        (["toi", "toy/001"], "there is no run or sweep toi; sweeps are toy"),
        (["toy", "night"], "night has trained tickets, transfers: say which one by --study"),
        (["toy", "night/models"], "night/models is no run: it has no models/*/metrics.json"),
        (["toy", "other"], "these are runs of tickets 3_train and transfers 3_train: compare those of one step"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(runs, tmp_path, names, line):
    for place, study in (("night", "transfers"), ("night", "tickets"), ("other", "tickets")):
        write_json({"models": []}, tmp_path / place / f"models/{study}/metrics.json")
    names = [str(tmp_path / name) if name.startswith(("night", "other")) else name for name in names]
    with pytest.raises(ValueError, match=r"run|trained") as error:
        find_runs(names, tmp_path / "sweeps")
    assert str(error.value).replace(f"{tmp_path}/", "") == line


def test_the_colours_show_the_parameter_that_moves_the_losses(runs):
    drawn = charts.curve_charts(curves_of(runs), runs, ["seed", "width"], best=runs[1])
    [panel] = drawn["panels"]
    assert (panel["network"], drawn["best"]) == ("net", "002")
    assert [line["least"] for line in panel["lines"]] == ["2", "1", "1.2"]
    ends = [float(points.rpartition(",")[2]) for points in (line["points"] for line in panel["lines"])]
    assert ends[0] < ends[2] < ends[1], "a higher loss stands higher, and y grows downwards"
    assert charts.strongest(curves_of(runs), runs, ["seed"]) == "seed"
    assert charts.curve_charts({}, runs, [], best=None)["panels"] == []


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.11), (0.09, 3.0), (1e-5, 4.0), (0.1, 0.1004)])
def test_ticks_are_few_and_lie_within(low, high):
    ticks = charts.loss_ticks(low, high, True)
    assert 2 <= len(ticks) <= 6
    assert ticks == sorted(ticks)
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in ticks)


def test_points_are_written_as_users_write_them():
    assert point_in_words({"rate": 1e-3, "widths": [64, 16], "kind": "a"}) == "rate=0.001 widths=[64, 16] kind=a"


# ----------------------------------------------------------------------------------------- Optuna and MLflow, if there


class Distributions:
    """Those of Optuna, as pairs."""

    @staticmethod
    def CategoricalDistribution(choices):
        return ("categorical", choices)

    @staticmethod
    def FloatDistribution(low, high, log=False):
        return ("float", low, high, log)

    @staticmethod
    def IntDistribution(low, high, log=False):
        return ("int", low, high, log)


def stand_in_for_optuna(events):
    """A module with what a search calls, which writes down what it is told."""
    study = SimpleNamespace(
        ask=lambda spaces: SimpleNamespace(params={name: space[1][-1] if space[0] == "categorical" else space[2] for name, space in spaces.items()}),
        tell=lambda trial, value, state: events.append((trial.params, value, state)),
        add_trial=lambda trial: events.append(trial),
    )
    trial = SimpleNamespace(create_trial=lambda **what: what, TrialState=SimpleNamespace(COMPLETE="complete", FAIL="failed"))
    samplers = SimpleNamespace(TPESampler=lambda seed: seed)
    logging = SimpleNamespace(set_verbosity=lambda level: None, WARNING=30)

    def create_study(direction, sampler):
        events.append(sampler)
        return study

    parts = {"trial": trial, "samplers": samplers, "logging": logging, "distributions": Distributions}
    return SimpleNamespace(create_study=create_study, **parts)


def test_optuna_is_asked_for_points_and_learns_from_every_run(monkeypatch):
    events = []
    monkeypatch.setitem(sys.modules, "optuna", stand_in_for_optuna(events))
    axes = [Axis("widths", ([64], [32])), Axis("rate", (), "log", 0.1, 0.5), Axis("units", (), "lin", 1.0, 9.0, True)]
    search = Search(axes, model="", seed=1)
    search.begin(4)
    assert events.pop() == 5, "after four runs, the first points of seed 1 would come once more"
    assert search.spaces == {"widths": ("categorical", [0, 1]), "rate": ("float", 0.1, 0.5, True), "units": ("int", 1, 9, False)}
    models = [{"name": "net", "skill": 0.4, "in_use": True}]
    search.answer("001", {"widths": [32], "rate": 0.2, "units": 3}, models)
    assert events.pop() == {"params": {"widths": 1, "rate": 0.2, "units": 3}, "distributions": search.spaces, "value": 0.4}
    point = search.ask("002")
    assert point == {"widths": [32], "rate": 0.5, "units": 9}
    search.answer("002", point, models)
    assert events.pop()[1:] == (0.4, "complete")
    search.answer("003", search.ask("003"), [])
    assert events.pop()[1:] == (None, "failed")
    search.answer("001", point, [])
    assert events == [], "a run without a skill teaches nothing"


def test_a_model_that_a_run_does_not_have_is_named_where_optuna_asks_for_its_skill(monkeypatch, capsys):
    models = [{"name": name, "skill": 0.4, "in_use": name == "net"} for name in ("net", "tree")]
    monkeypatch.setattr(command, "runs_of_sweep", lambda made: [SimpleNamespace(name="001", models=models)])
    answers = []
    for model in ("", "tree", "nett"):
        search = SimpleNamespace(model=model, answer=lambda *of: answers.append(of))
        command.learner(SimpleNamespace(plan={"runs": {"001": {"seed": 1}}}), search)("001")
    assert answers == [("001", {"seed": 1}, models)] * 3
    assert capsys.readouterr().err == "nightshift: Optuna learns nothing from run 001: its models are net and tree, not nett\n"


class Tracker:
    """A stand-in for MLflow that remembers what is logged."""

    def __init__(self):
        self.runs = []

    def set_experiment(self, name):
        self.experiment = name

    def search_runs(self, experiment_names, output_format):
        assert (experiment_names, output_format) == ([self.experiment], "list")
        return [SimpleNamespace(data=SimpleNamespace(tags=run["tags"])) for run in self.runs]

    def start_run(self, run_name, tags):
        import contextlib

        self.runs.append({"name": run_name, "tags": tags, "metrics": {}})
        return contextlib.nullcontext()

    def log_params(self, params):
        self.runs[-1]["params"] = params

    def log_metrics(self, metrics):
        self.runs[-1]["metrics"] |= metrics

    def log_metric(self, name, value):
        self.runs[-1]["metrics"][name] = value


def test_runs_are_logged_to_mlflow_once(runs, monkeypatch):
    tracker = Tracker()
    monkeypatch.setitem(sys.modules, "mlflow", tracker)
    assert tracking.log_runs(runs) == "MLflow: 3 runs logged to the experiment 'nightshift transfers 3_train', 0 left out."
    assert tracking.log_runs(runs) == "MLflow: 0 runs logged to the experiment 'nightshift transfers 3_train', 3 left out."
    second = tracker.runs[1]
    assert (second["name"], second["params"]) == ("002", {"epochs": 5, "width": 2, "seed": 1})
    assert second["metrics"]["net.skill"] == 0.6875
    assert second["metrics"]["seconds"] == 7.0
    assert "net.alarm_rate_observed" not in second["metrics"], "what was not observed is no number"


def test_without_mlflow_one_line_says_so(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ValueError, match=r"^MLflow is not installed: pip install mlflow$"):
        tracking.log_runs(runs)
