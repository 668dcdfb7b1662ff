"""How well troubles are seen: average precision without point adjustment, skill with its interval, the alarm
rate across folds.
"""

import numpy as np
import pandas as pd

from helpers import table_key
from nightshift.statistics import AlarmShare, percentile_interval, skill_score


def precision(ill, score, weight):
    """Compute the average precision of windows: (draws,), scikit-learn's where no two scores are equal.

    ill : bool (n,). score : (n,), higher = stranger. weight : (draws, n). NaN in a draw without trouble.
    """
    order = np.argsort(-score, kind="stable")
    weight, ill = weight[:, order], ill[order]
    hits, seen = np.cumsum(weight * ill, axis=1), np.cumsum(weight, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nansum(weight * ill * hits / seen, axis=1) / hits[:, -1]


def mean_precision(windows, column, weight):
    """Average the precision of the score `column` over kinds, each against all healthy windows, or over nodes
    where there is one kind only: (draws,).

    windows : DataFrame truth ("none" is healthy), node_id and scores. weight : (draws, n).
    """
    kinds = sorted(set(windows.truth) - {"none"})
    parts, drawn = [], []
    for name in kinds if len(kinds) > 1 else windows.node_id[windows.truth != "none"].unique():
        chosen = windows.truth.isin([name, "none"]) if len(kinds) > 1 else windows.node_id == name
        rows = chosen.to_numpy()
        ill = (windows.truth != "none").to_numpy()[rows]
        parts.append(precision(ill, windows[column].to_numpy()[rows], weight[:, rows]))
        drawn.append(weight[:, rows][:, ill].mean(axis=1))
    with np.errstate(invalid="ignore"):
        return np.nansum(np.multiply(parts, drawn), axis=0) / np.sum(drawn, axis=0)


def precision_by(windows, by, methods):
    """Compute the average precision of every method for each kind (`by` "truth", against all healthy windows)
    or each node (`by` "node_id") with a trouble: DataFrame [kind or node, method].
    """
    names = sorted(set(windows[by][windows.truth != "none"]))
    parts = [windows[windows[by].isin([one, "none"] if by == "truth" else [one])] for one in names]
    ill = [(part.truth != "none").to_numpy() for part in parts]
    columns = {
        method: [
            precision(of_part, part[method].to_numpy(), np.ones((1, len(part))))[0]
            for of_part, part in zip(ill, parts, strict=True)
        ]
        for method in methods
    }
    return pd.DataFrame(columns, index=names)


def precision_rows(windows, area, *, chance, in_use):
    """Put down what each detector sees: DataFrame of ("" is all, else a kind, or a node where there is one
    kind only), detector, precision, in_use; no row where nothing is measured.

    windows : as for `mean_precision`. area : {detector: its figure}. chance : that of random scores. in_use :
    the detector that serves.
    """
    if not area:
        return pd.DataFrame(columns=["of", "detector", "precision", "in_use"])
    each = precision_by(windows, "truth" if windows.truth.nunique() > 2 else "node_id", list(area))
    of_all = pd.DataFrame(area | {"random scores": chance}, index=[""])
    rows = pd.concat([of_all, each]).rename_axis("of").reset_index()
    rows = rows.melt("of", var_name="detector", value_name="precision").dropna(ignore_index=True)
    return rows.assign(in_use=rows.detector == in_use)


def skill_rows(values, drawn, *, baseline, metric):
    """Give one row of metrics.json per model, as `skill_row` does.

    values : {model: figure}. drawn : {model: figures of resampled draws}. baseline : name of one of them.
    """
    return [
        skill_row(
            name,
            value,
            metric=metric,
            baseline=(baseline, values[baseline]),
            skills=skill_score(drawn[name], drawn[baseline]),
        )
        for name, value in values.items()
    ]


def skill_row(name, value, *, metric, baseline, skills):
    """Give one row of metrics.json: a model's figure beside its baseline's, and its skill with a 95%
    interval.

    baseline : (name, figure). skills : those of resampled draws, NaN where one holds no trouble.
    """
    baseline_name, figure = baseline
    low, high = percentile_interval(skills)
    return {
        "name": name,
        "metric": metric,
        "model": float(value),
        "baseline_name": baseline_name,
        "baseline": float(figure),
        "skill": float(skill_score(value, figure)),
        "skill_low": float(low),
        "skill_high": float(high),
    }


def independent_lengths(windows):
    """Measure the length of windows and the step from one to the next of the same run: (length_s, step_s);
    the step is the length where no run has two windows.
    """
    length = (windows.end - windows.start).median() / pd.Timedelta("1s")
    step = windows.groupby(["job_id", "node_id"]).start.diff().median() / pd.Timedelta("1s")
    return length, length if pd.isna(step) else step


def alarms_among(stated, windows, items=""):
    """Count the alarms among windows that should be healthy, DataFrame node_id, job_id, start, flagged, as an
    AlarmShare. Those of one run and day overlap and share their luck.
    """
    day = windows.start.dt.strftime("%Y-%m-%d")
    group = table_key(windows.assign(day=day), ["node_id", "job_id", "day"])
    return AlarmShare.of(stated, windows.flagged, group, items)
