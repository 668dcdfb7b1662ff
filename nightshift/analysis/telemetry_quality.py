"""How good the diagnoses and the detector of the telemetry study are: filters over a run, delays and false
alarms, confidence, what each detector sees, and known incidents.

    Models      what is stored, beside baselines             read_stored, models_table, kinds_table, ...
    Runs        filters of the diagnoses of a run            last_values, majority, in_a_row, filter_table
    Delays      how long until an alarm                      LabelledRuns, delays_and_alarms
    Labels      confidence, kinds, detectors, nodes          confidence_bins, kinds_against_health, ...
    Incidents   which are found of those that are known      read_truth, true_incidents, meeting, reliability
"""

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score, roc_auc_score

from nightshift.analysis.telemetry import kind_in_words
from nightshift.detectors.telemetry_diagnosis import confusion_rates
from nightshift.detectors.telemetry_incidents import RUN, rule_of
from nightshift.sources.tables import read_optional

# ----------------------------------------------------------------------------------------------------- Models


def read_stored(path):
    """Read a table that a step may have left; a DataFrame without rows and columns where it is not there."""
    return pd.read_parquet(path) if path.exists() else pd.DataFrame()


def models_table(models, chance=np.nan):
    """Put every model beside its baseline: DataFrame model, measured by, value, baseline, its value, skill,
    low, high, in use; no row where nothing was measured.

    models : rows of metrics.json. chance : average precision of random scores, which gets a line of its own.
    """
    names = {
        "name": "model",
        "metric": "measured by",
        "model": "value",
        "baseline_name": "baseline",
        "baseline": "its value",
        "skill": "skill",
        "skill_low": "low",
        "skill_high": "high",
        "in_use": "in use",
    }
    table = pd.DataFrame(models, columns=list(names)).rename(columns=names)
    table["in use"] = np.where(table["in use"].astype(bool), "yes", "")
    if np.isfinite(chance):
        by_precision = next(
            model["metric"] for model in models if model["metric"].startswith("average precision")
        )
        table.loc[len(table), ["model", "measured by", "value"]] = ["random scores", by_precision, chance]
    return table.fillna({"baseline": "", "in use": ""})


def kinds_table(experiments):
    """Tabulate what each classifier makes of each kind: DataFrame model, macro F1, false alarms, misses, F1
    <kind>; no row where there is no classifier.

    experiments : as `3_train` stores them; those of the experiment "default" are shown.
    """
    if not len(experiments):
        return pd.DataFrame()
    by_default = experiments[experiments.experiment == "default"]
    columns = ["model", "macro_f1", "false_alarms", "misses"]
    table = by_default[[*columns, *(name for name in experiments if name.startswith("f1 "))]]
    f1 = {name: f"F1 {kind_in_words(name[3:])}" for name in table if name.startswith("f1 ")}
    return table.rename(columns=f1 | {"macro_f1": "macro F1", "false_alarms": "false alarms"})


def stated_and_observed(models, n_learned, flagged, alarm_rate):
    """Put the stated share of alarms beside the observed one: DataFrame where, healthy windows, stated,
    observed; no line where there is no window.

    models : rows of metrics.json. n_learned : healthy windows that their rate was observed on. flagged : of
    the healthy judged windows, bool Series.
    """
    rows = [("judged tonight", len(flagged), alarm_rate, flagged.mean())] if len(flagged) else []
    if models:
        rates = models[0]["alarm_rate_stated"], models[0]["alarm_rate_observed"]
        rows.insert(0, ("across folds of the training", n_learned, *rates))
    return pd.DataFrame(rows, columns=["where", "healthy windows", "stated", "observed"])


def shares_in_words(rates):
    """Say in a sentence why the share of alarms in training and that of the judged days differ; "" where one
    of them is not known.

    rates : as `stated_and_observed` gives them.
    """
    if len(rates) < 2:
        return ""
    trained, judged = rates.itertuples()
    return (
        f"In training {trained.observed:.2%} of the healthy windows were flagged, each judged by models that "
        "had never seen its job (of a server, its days so far); of those judged tonight it is "
        f"{judged.observed:.2%}, by models that have learned from the whole training: the first share holds "
        "for work that is new to the models, the second for work like tonight's. A warning of the first "
        "stands: nobody knows which of tonight's work is new."
    )


# ------------------------------------------------------------------------------------------------------- Runs


def last_values(values, run, n):
    """Give each window's own value and those of the n - 1 before it in its run: (windows, n); -1 before the
    run began.
    """
    grouped = pd.Series(values).groupby(np.asarray(run))
    return np.column_stack([grouped.shift(k, fill_value=-1) for k in range(n)])


def majority(codes, run, n):
    """Find the most frequent code of the last n windows of each run; of equally frequent ones the latest."""
    last, recency = last_values(codes, run, n), 1 + 0.5 ** np.arange(1, n + 1) / n
    return np.stack([(last == code) @ recency for code in range(codes.max() + 1)], axis=1).argmax(axis=1)


def in_a_row(codes, run, n, none):
    """Keep each code that the last n windows of its run all have; the others become the code `none`."""
    return np.where((last_values(codes, run, n) == codes[:, None]).all(axis=1), codes, none)


def filter_table(folds, run, *, classes, kinds):
    """Measure filters of the diagnoses of a run: DataFrame filter, macro F1, false alarms, misses, "F1
    <kind>".

    folds : labelled windows, DataFrame anomaly, diagnosis. run : int (n,). kinds : those of which there is a
    window. The last row is what Aksar et al. (2021) publish of E2EWatch on other data.
    """
    codes, none = pd.Index(classes).get_indexer(folds.diagnosis), classes.index("none")
    space = "\N{NO-BREAK SPACE}"
    filtered = {"none": codes}
    filtered |= {f"majority{space}of{space}{n}": majority(codes, run, n) for n in (2, 3, 5)}
    filtered |= {f"{n} in a row": in_a_row(codes, run, n, none) for n in (2, 3, 5)}
    rows = []
    for name, chosen in filtered.items():
        counts = confusion_matrix(folds.anomaly, np.array(classes)[chosen], labels=classes)
        rows.append({"filter": name} | confusion_rates(counts, classes))
    table = pd.DataFrame(rows)
    published = {"macro_f1": 0.91, "false_alarms": 0.0009, "misses": 0.05}
    table.loc[len(table)] = {"filter": "E2EWatch, other data"} | published
    names = {"macro_f1": "macro F1", "false_alarms": "false alarms"} | {
        f"f1 {c}": f"F1 {kind_in_words(c)}" for c in kinds
    }
    shown = ["filter", "macro F1", "false alarms", "misses", *(f"F1 {kind_in_words(c)}" for c in kinds)]
    return table.rename(columns=names)[shown]


# ----------------------------------------------------------------------------------------------------- Delays


@dataclass(frozen=True)
class LabelledRuns:
    """Labelled windows in their runs.

    windows : DataFrame node_id, job_id, start, end, anomaly ("none" is healthy), sorted by run and start.
    smoothing : the detector averages over so many windows, half of them ahead.
    """

    windows: pd.DataFrame
    smoothing: int

    @cached_property
    def run(self):
        """Return the number of each window's run, Series (n,)."""
        return self.windows.groupby(RUN).ngroup()

    @cached_property
    def step(self):
        """Return the median time from one window to the next of its run; the length of one, where runs have
        one.
        """
        step = self.windows.groupby(self.run).start.diff().median()
        return (self.windows.end - self.windows.start).median() if pd.isna(step) else step

    @cached_property
    def ahead(self):
        """Return the time of the windows after the last one that the detector averages over."""
        return self.smoothing // 2 * self.step


def delays_and_alarms(p_value, runs, *, limit, n):
    """Measure an alarm rule: (mean delay in s over the runs of a trouble, share of them found, false alarms
    per node-day of healthy windows).

    An alarm needs n windows in a row with a p-value at or below `limit`. Time counts from the first labelled
    window of a run until an alarm's last window has passed, and the windows after it that the detector
    averages over; a run never alarmed counts with its whole length. runs : LabelledRuns, of the windows of
    `p_value` (n,).
    """
    windows, run = runs.windows, runs.run
    flagged = (np.asarray(p_value) <= limit).astype(int)
    alarm = (last_values(flagged, run, n) == 1).all(axis=1)
    begins = alarm & ~np.r_[False, alarm[:-1] & (np.diff(run) == 0)]
    sick = (windows.anomaly != "none").to_numpy()
    first = windows.start[sick].groupby(run[sick]).min()
    alarmed = windows.end[sick & alarm].groupby(run[sick & alarm]).min().reindex(first.index)
    last = windows.end[sick].groupby(run[sick]).max()  # a run without an alarm counts with its whole length
    delay = (alarmed + runs.ahead).fillna(last) - first
    watched = (~sick).sum() * (runs.step / pd.Timedelta(days=1))  # node-days
    return (
        delay.mean() / pd.Timedelta(seconds=1),
        alarmed.notna().mean(),
        (begins & ~sick).sum() / max(watched, 1e-9),
    )


def plot_delays(curves, in_use, ax):
    """Draw the mean time to detect against false alarms: a line for each number of windows in a row, with a
    square for the rule that is in use.

    curves : {windows in a row: [(delay, share found, false alarms)]}. in_use : one such triple.
    """
    for color, (n, points) in enumerate(curves.items()):
        points = pd.DataFrame(points, columns=["delay", "found", "alarms"])
        ax.plot(points.alarms, points.delay, color=f"C{color}", marker="o", ms=3, lw=1)
        end = points[["alarms", "delay"]].iloc[-1]
        ax.annotate(f" {n} in a row", end, color=f"C{color}", va="center", fontsize="small")
    ax.plot(in_use[2], in_use[0], color="k", marker="s", ms=7, lw=0, mfc="none")
    ax.set_xscale("symlog", linthresh=1)
    return ax


# ----------------------------------------------------------------------------------------------------- Labels


def plot_confusion(ax, counts, *, classes, kinds):
    """Draw what windows of each true kind, a row, are called, a column, in shares of the row. Returns `ax`.

    counts : int (n, n) of the `classes`. kinds : those of which there is a window.
    """
    import seaborn as sns

    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    table = pd.DataFrame(shares, classes, list(map(kind_in_words, classes))).loc[kinds]
    look = {"annot": True, "fmt": ".2f", "vmin": 0, "vmax": 1, "cmap": "Blues", "cbar": False}
    sns.heatmap(table.rename(index=kind_in_words), ax=ax, **look)
    ax.tick_params(axis="y", rotation=0)
    return ax


def kinds_against_health(folds, kinds):
    """Measure each kind against health alone, where found is whatever is not called healthy: DataFrame kind,
    windows, F1 against healthy.
    """
    rows = []
    for kind in [name for name in kinds if name != "none"]:
        pair = folds[folds.anomaly.isin([kind, "none"])]
        f1 = f1_score(pair.anomaly != "none", pair.diagnosis != "none", zero_division=0.0)
        rows.append((kind_in_words(kind), int((pair.anomaly == kind).sum()), f1))
    return pd.DataFrame(rows, columns=["kind", "windows", "F1 against healthy"])


def confidence_bins(folds, chance):
    """Compare the probability of what is named with the share that is right, in ten bins: (DataFrame [bin]
    mean probability `named`, share `right`, `size`, `part` of all; edges of the bins).

    folds : labelled windows, DataFrame anomaly, diagnosis. chance : probability of the diagnosis, (n,).
    """
    lowest = min(float(np.floor(chance.min() * 10)) / 10, 0.9)
    edges = np.linspace(lowest, 1, 11)
    bins = pd.cut(chance, edges, include_lowest=True)
    right = (folds.diagnosis == folds.anomaly).groupby(bins, observed=True).agg(["mean", "size"])
    named = chance.groupby(bins, observed=True).mean()
    table = pd.DataFrame({"named": named, "right": right["mean"], "size": right["size"]})
    return table.assign(part=table["size"] / len(folds)), edges


def plot_confidence(bins, edges, ax):
    """Draw the share that is right against the probability of what is named, with the number of windows; the
    grey line is where the two are equal.
    """
    ax.plot([0, 1], [0, 1], color="0.6", lw=1)
    sizes = 15 + 100 * np.sqrt(bins.part)
    ax.scatter(bins.named, bins.right, s=sizes, color="C0", zorder=3)
    look = {"textcoords": "offset points", "ha": "center", "va": "top", "fontsize": "x-small"}
    for x, y, n in zip(bins.named, bins.right, bins["size"], strict=True):
        ax.annotate(f"{n:,}", (x, y), xytext=(0, -11), **look)
    ax.set(xlim=(edges[0] - 0.03, 1.03), ylim=(min(bins.right.min(), edges[0]) - 0.15, 1.05))
    return ax


def plot_labels_needed(needed, means, ax):
    """Draw macro F1 against the number of labelled jobs, a line for each way of choosing them, with a band of
    all repeats.

    needed : DataFrame labels, part, macro_f1. means : of macro_f1 by part, of the largest number of labels.
    """
    import seaborn as sns

    look = {"errorbar": ("pi", 100), "marker": "o", "legend": False}
    sns.lineplot(needed, x="labels", y="macro_f1", hue="part", ax=ax, **look)
    for color, part in enumerate(needed.part.unique()):
        at = (needed.labels.max(), means.get(part, np.nan))
        above = means.get(part, 0) == means.max()
        ax.annotate(f" {part}", at, color=f"C{color}", annotation_clip=False, va="bottom" if above else "top")
    return ax


def labels_enough(needed):
    """Find how many labelled jobs it takes for 95% of the best mean macro F1: ({part: jobs}, that best mean).

    needed : DataFrame part, labels, macro_f1. A way of choosing that never comes so far is left out.
    """
    mean = needed.groupby(["part", "labels"]).macro_f1.mean()
    enough = {}
    for part in needed.part.unique():
        reached = mean[part] >= 0.95 * mean.max()
        if reached.any():
            enough[part] = mean[part].index[int(np.argmax(reached))]
    return enough, float(mean.max())


def detector_table(folds, detectors):
    """Say what each healthy-only detector sees of each kind, "AUROC (AUPRC)" of its windows among the healthy
    ones, as text; the last row is what random scores have.

    folds : labelled windows, DataFrame anomaly and a score per detector; "" where there is no window of both.
    """
    kinds = sorted(set(folds.anomaly) - {"none"})

    def seen(name, kind):
        rows = folds[folds.anomaly.isin([kind, "none"])].dropna(subset=name)
        sick = rows.anomaly == kind
        if not 0 < sick.sum() < len(sick):
            return ""
        return f"{roc_auc_score(sick, rows[name]):.2f} ({average_precision_score(sick, rows[name]):.2f})"

    table = pd.DataFrame(
        [{"detector": name} | {kind_in_words(kind): seen(name, kind) for kind in kinds} for name in detectors]
    )
    counts = folds.anomaly.value_counts()
    healthy = counts.get("none", 0)
    by_coin = [f"0.50 ({counts[kind] / (counts[kind] + healthy):.2f})" for kind in kinds]
    table.loc[len(table)] = ["random", *by_coin]
    return table


def held_out_areas(held_out, methods):
    """Measure the area under the precision-recall curve of each node and method, without point adjustment:
    DataFrame node, methods, random (the share of windows of a trouble).

    held_out : labelled windows, DataFrame node_id, anomaly and the methods; a node needs windows of both.
    """
    rows = []
    for node, windows in held_out.assign(sick=held_out.anomaly != "none").groupby("node_id"):
        if 0 < windows.sick.sum() < len(windows):
            areas = {name: average_precision_score(windows.sick, windows[name]) for name in methods}
            rows.append({"node": node} | areas | {"random": windows.sick.mean()})
    return pd.DataFrame(rows, columns=["node", *methods, "random"])


# -------------------------------------------------------------------------------------------------- Incidents


def read_truth(truth, paths, judged, *, window, classes):
    """Read the known incidents that can be seen in the judged windows, as `true_incidents` chooses them.

    truth : path of the table, "" for none, "sample" for that of the sample, where the raw data are of it.
    paths : of the study.
    """
    of_sample = json.loads((paths.raw / "status.json").read_text())["source"] == "sample"
    default = paths.sample / "truth.csv" if of_sample else None
    table = read_optional(truth, default, ["incident", "kind", "start", "end", "entity"])
    table["entity"] = table.entity.astype("str")  # the names of nodes may be numbers
    table[["start", "end"]] = table[["start", "end"]].apply(pd.to_datetime, utc=True)
    return true_incidents(table, judged, window=window, classes=classes)


def true_incidents(table, judged, *, window, classes):
    """Choose the known incidents that can be seen in the judged windows, with the `name` that they should
    get.

    table : DataFrame incident, kind, start, end, entity. window : (begin, end) of the judged time. A kind
    that is none of `classes` should be called "unknown".
    """
    at = [
        ((judged.node_id == one.entity) & (judged.end > one.start) & (judged.start < one.end)).any()
        for one in table.itertuples()
    ]
    inside = table.entity.isin(judged.node_id) & (table.end > window[0]) & (table.start < window[1])
    true = table[inside & np.array(at, bool)].reset_index(drop=True)
    true["name"] = true.kind.where(true.kind.isin(classes), "unknown")
    return true


def meeting(true, incidents):
    """Tell which of the `incidents` overlap which of the known ones on the same node: bool (known,
    incidents).
    """
    met = [
        (incidents.node_id == one.entity) & (incidents.start < one.end) & (incidents.end > one.start)
        for one in true.itertuples()
    ]
    return np.array(met, bool).reshape(len(true), len(incidents))


def delays_of(true, reported, ahead):
    """Measure from the beginning of each known incident until it was called: s, NaN where it was not.

    reported : incidents with called_at. ahead : s of the windows after it that the detector averages over.
    """
    called_at, hits = pd.to_datetime(reported.called_at, utc=True), meeting(true, reported)
    first = pd.Series([called_at[hit].min() for hit in hits], true.index, dtype="datetime64[us, UTC]")
    return (first - true.start) / pd.Timedelta(seconds=1) + ahead


def called_as(true, reported, by_chance):
    """Say what each known incident was called: the names of the incidents that meet it, or of those that are
    not kept, or "not found".
    """
    pairs = zip(meeting(true, reported), meeting(true, by_chance), strict=True)
    return [
        ", ".join(map(kind_in_words, reported.diagnosis[hit]))
        or ", ".join(f"{kind_in_words(kind)}, not kept" for kind in by_chance.diagnosis[near])
        or "not found"
        for hit, near in pairs
    ]


def true_states(scored, true):
    """Tell what each window truly is: the name of a trouble, "" healthy, "?" outside a trouble, but in its
    run.

    scored : DataFrame node_id, job_id, start, end. true : as `true_incidents` gives them. Runs count up to a
    day before and after the trouble.
    """
    state, one_day = pd.Series("", scored.index), pd.Timedelta(days=1)
    for one in true.itertuples():
        near = (scored.node_id == one.entity) & (scored.end > one.start - one_day)
        near &= scored.start < one.end + one_day
        hit = near & (scored.end > one.start) & (scored.start < one.end)
        beside = near & scored.job_id.isin(scored.job_id[hit]) & (state == "")
        state = state.mask(beside, "?").mask(hit, one.name)
    return state


def reliability(chances, flagged, true, *, where, least_confidence):
    """Measure each line of the rule of `diagnose`: DataFrame where, line, windows, share of them of a
    trouble, share that the classifier calls rightly.

    chances, flagged : as for `diagnose`. true : what the windows are, (n,), "none" is healthy. where : a
    name.
    """
    line, probable = rule_of(chances, flagged, least_confidence=least_confidence)
    columns = {
        "line": line,
        "windows": 1,
        "of a trouble": true != "none",
        "classifier right": probable == true,
    }
    how = {"windows": "sum", "of a trouble": "mean", "classifier right": "mean"}
    table = pd.DataFrame(columns).groupby("line").agg(how).reset_index()
    return table.assign(where=where)[["where", "line", "windows", "of a trouble", "classifier right"]]
