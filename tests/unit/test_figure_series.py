"""The numbers of a figure over time, by which its page lets readers zoom."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers import show_figure
from nightshift.reporting.charts import Series, numbers_of
from nightshift.series import LEAST, MIME, MOST, NUMBERS, series_of, short, thinned

DAYS = pd.date_range("2026-01-01", periods=40, tz="UTC")


@pytest.fixture
def ax():
    _, ax = plt.subplots()
    yield ax
    plt.close("all")


def panel_of(ax):
    [panel] = json.loads(json.dumps(series_of(ax.figure), allow_nan=False))["panels"]
    return panel


def times_of(panel):
    return pd.to_datetime(np.cumsum([int(step) for step in panel["x"].split(",")]), unit="s", utc=True)


def values_of(text):
    return [None if one == "" else np.nan if one == "n" else float(one) for one in text.split(",")]


def test_a_line_over_days_is_kept_with_its_times_in_utc_its_name_and_its_gaps(ax):
    values = np.where(np.arange(40) == 7, np.nan, np.arange(40) * 12.34567)
    ax.plot(DAYS.tz_convert("Asia/Tokyo"), values, color="C3", label="seen")
    ax.set(title="a claim", ylabel="tickets a week", yscale="log")
    panel = panel_of(ax)
    assert (times_of(panel) == DAYS).all()
    [line] = panel["series"]
    assert (line["name"], line["k"], panel["y"], panel["log"], panel["unit"]) == ("seen", "line", "tickets a week", True, "")
    assert values_of(line["y"]) == pytest.approx(values, rel=1e-3, nan_ok=True)
    assert panel["of"] == 0


def test_lines_of_other_times_share_one_axis_and_lack_what_they_do_not_have(ax):
    ax.plot(DAYS, np.arange(40), label="all")
    ax.plot(DAYS[30:32], [1, 2], "o", ls="", label="few")
    few = panel_of(ax)["series"][1]
    assert few["k"] == "points"
    assert values_of(few["y"]) == [None] * 30 + [1, 2] + [None] * 8


def test_points_areas_bars_and_marked_stretches_are_kept(ax):
    ax.fill_between(DAYS, 1, np.arange(40) + 2, label="expected")
    ax.bar(DAYS, np.arange(40), width=0.8, label="tickets")
    ax.scatter(DAYS, np.arange(40) ** 2, label="flagged")
    ax.axvspan(DAYS[3], DAYS[5])
    ax.axhspan(2.0, 4.0)
    ax.axhline(9)
    panel = panel_of(ax)
    area, bars, points = panel["series"]
    assert [one["k"] for one in panel["series"]] == ["area", "bars", "points"]
    assert values_of(area["low"]) == [1] * 40
    assert values_of(area["y"]) == list(range(2, 42))
    assert values_of(bars["y"]) == list(range(40))
    assert values_of(points["y"]) == [day**2 for day in range(40)]
    assert panel["across"] == [[2.0, 4.0]]
    assert panel["along"] == [[DAYS[3].timestamp(), DAYS[5].timestamp()]]


def test_what_is_not_over_time_is_a_picture_and_nothing_else(ax):
    ax.plot(np.arange(40), np.arange(40))
    assert series_of(ax.figure) is None
    ax.xaxis.set_gid(f"{NUMBERS}minutes")
    assert panel_of(ax)["unit"] == "minutes"


def test_a_map_over_time_has_no_lines(ax):
    ax.pcolormesh(DAYS, np.arange(3), np.zeros((2, 39)))
    ax.plot(DAYS, np.ones(40), "o")
    assert series_of(ax.figure) is None


def test_too_few_points_are_nothing_to_zoom_into(ax):
    ax.plot(DAYS[: LEAST - 1], np.arange(LEAST - 1))
    assert series_of(ax.figure) is None


def test_many_points_are_thinned_and_the_odd_ones_are_kept(ax):
    times = pd.date_range("2026-01-01", periods=30_000, freq="min", tz="UTC")
    values = np.zeros(30_000)
    values[12_345] = 7.0
    ax.plot(times, values, label="many")
    ax.plot(times[:5], np.ones(5), label="few")
    panel = panel_of(ax)
    many, few = (values_of(one["y"]) for one in panel["series"])
    assert len([one for one in many + few if one is not None]) <= MOST
    assert 7.0 in many
    assert [one for one in few if one is not None] == [1.0] * 5, "a short series is kept whole"
    assert panel["of"] == 30_005
    assert len(json.dumps(panel)) < 25_000


def test_thinned_points_stay_in_order():
    points = np.column_stack([np.arange(1000.0), np.sin(np.arange(1000.0))])
    few = thinned(points, 90)
    assert len(few) == 90
    assert (np.diff(few[:, 0]) > 0).all()


@pytest.mark.parametrize(("number", "text"), [(0.0, "0"), (0.12345678, "0.1235"), (123456.0, "123500"), (2.1e12, "2.1e12"), (-1e-7, "-1e-7")])
def test_a_number_is_short(number, text):
    assert short(number) == text


def test_the_picture_of_a_figure_over_time_is_shown_with_its_numbers(ax, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    ax.plot(DAYS, np.arange(40))
    show_figure(ax, tmp_path / "x.png", "a claim", "day, UTC", "tickets")
    data, about = shown[0]._repr_mimebundle_()
    assert {"image/png", MIME} <= set(data)
    assert about["image/png"]["alt"] == "a claim"
    assert data[MIME]["panels"][0]["series"][0]["name"] == "tickets", "a lone line is named by its axis"


def test_nights_are_numbers_too_and_a_few_are_none():
    days = ["2026-01-29", "2026-01-30", "2026-01-31"]
    [panel] = json.loads(numbers_of(days, [Series("4_analyse", [1, None, 2.5], "c0")], "s"))["panels"]
    assert times_of(panel).strftime("%Y-%m-%d").tolist() == days
    assert panel["series"] == [{"name": "4 analyse", "mark": "c0", "k": "line", "y": "1,n,2.5"}]
    assert numbers_of(days[:2], [], "s") == ""
