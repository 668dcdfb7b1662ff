"""What a healthy node looks like: medians of each node and half hour, windows to compare with, distances from
them; what is stored of it, and what a stored detector makes of windows.

    Usual       groups of windows, their medians, spreads    half_hours, groups_of, is_late, fit_usual
    Distances   all that healthy windows teach               side_by_side, fit_health, health_of, median_units
    Stored      the files of a detector, and their use       store_detector, load_detector, node_tests, Before
"""

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers import write_json, write_parquet
from nightshift.detectors.base import is_whole
from nightshift.detectors.telemetry_diagnosis import temperature_scale
from nightshift.detectors.telemetry_distances import (
    normalise_scores,
    novelty_scores,
    robust_z_scores,
    smooth_runs,
    without_level,
)
from nightshift.models import load_model, save_model
from nightshift.products import read_json


@dataclass(frozen=True)
class HealthSettings:
    """How health is learned.

    inputs : features that the detector reads. min_healthy : healthy windows that a node without jobs needs to
    have a detector of its own. reference_rows : healthy windows per detector that are kept for comparison, at
    most. smoothing : detector scores are averaged over so many windows of a run.
    """

    inputs: list
    min_healthy: int
    reference_rows: int
    smoothing: int


@dataclass(frozen=True)
class Health:
    """All that healthy windows teach.

    usual : DataFrame [(detector, when), feature] as `robust_z_scores` reads it. reference :
    {detector: deviations of healthy windows (m, F)}. network : Keras model (B, G, F) -> the same, what it
    cannot rebuild.
    """

    usual: pd.DataFrame
    reference: dict
    network: object


# ------------------------------------------------------------------------------------------------------ Usual


def half_hours(windows):
    """Name the half hour of the day, "0" to "47", of windows without a job; "" of the others: object (n,)."""
    numbers = (windows.end.dt.hour * 2 + windows.end.dt.minute // 30).astype(str)
    return numbers.where(windows.job_id == "", "").to_numpy(object)


def groups_of(healthy, min_healthy):
    """Give the rows of every detector: {"all": of all nodes}, and of each node without jobs that has
    `min_healthy` windows or more, for one of its own.

    "all" has as many rows as the others have on average, evenly spaced.
    """
    servers = healthy.node_id[healthy.job_id == ""].value_counts()
    names = servers.index[servers >= min_healthy].sort_values()
    rows = {node: np.flatnonzero(healthy.node_id == node) for node in names}
    return {"all": np.arange(0, len(healthy), len(rows) or 1)} | rows


def is_late(healthy, rows):
    """Tell which of the rows belong to the last tenth by time, jobs whole: bool (rows,).

    They stop the training of the network and scale its errors. Where all jobs began at once, the windows
    themselves are ranked.
    """
    began = healthy.groupby(["job_id", "node_id"]).start.transform("min")
    began = began.where(healthy.job_id != "", healthy.start)
    late = began.iloc[rows].rank(pct=True, method="max").to_numpy() > 0.9
    if late.all():
        late = healthy.start.iloc[rows].rank(pct=True, method="first").to_numpy() > 0.9
    return late


def fit_usual(healthy, inputs, *, min_healthy):
    """Fit medians per detector and half hour, and the spread around them: DataFrame [(detector, when),
    feature] as `robust_z_scores` reads it.

    The median of a half hour is kept where it comes closer to the last tenth of the windows than the node's
    one median does. A feature that hardly varies on a node gets a twentieth of its spread over all nodes: a
    change there is strange, but finite. Where it varies nowhere, a hundredth of its size (at least 0.01)
    counts as that spread.
    """
    values, when, tables, spreads = healthy[inputs], half_hours(healthy), {}, {}
    for name, rows in groups_of(healthy, min_healthy).items():
        late, v, at = is_late(healthy, rows), values.iloc[rows], when[rows]
        plain = v[~late].median()
        timed = v[~late].groupby(at[~late]).median()
        timed = timed[(timed.index != "") & (name != "all")]
        error = ((v[late] - timed.reindex(at[late]).set_axis(v[late].index)) ** 2).mean()
        timed = timed.loc[:, error < ((v[late] - plain) ** 2).mean()].reindex(columns=inputs)
        left = v[~late] - timed.reindex(at[~late]).set_axis(v[~late].index).fillna(plain)
        tables[name], spreads[name] = pd.concat([plain.to_frame("").T, timed]), left.std()
    everywhere = spreads["all"].where(spreads["all"] > 0, 0.01 * values.abs().max().clip(lower=1))
    for name, table in tables.items():
        spread = np.hypot(spreads[name].fillna(0), 0.05 * everywhere)
        tables[name] = pd.concat([table, spread.to_frame("spread").T])
    return pd.concat(tables)


# -------------------------------------------------------------------------------------------------- Distances


def side_by_side(z, rows_of, late_of, *, late):
    """Put rows of z (n, F) of every group beside each other, cut at 5 spreads: (B, G, F).

    rows_of : {group: row numbers}. late_of : {group: which of these are late}. late : whether these are
    taken, or the others. A group with fewer rows than the longest begins again.
    """
    parts = [rows[late_of[name] == late] for name, rows in rows_of.items()]
    longest = max(map(len, parts))
    return z[np.stack([np.resize(part, longest) for part in parts], axis=1)].clip(-5, 5)


def fit_health(healthy, settings, *, train_network):
    """Learn all that healthy windows teach: a Health.

    healthy : DataFrame job_id, node_id, start, end and features, sorted by node and time. train_network(z,
    rows_of, late_of) gives the network, from deviations z (n, F), {detector: row numbers} and {detector:
    which of these are late, bool}.
    """
    healthy = healthy.reset_index(drop=True)
    usual = fit_usual(healthy, settings.inputs, min_healthy=settings.min_healthy)
    rows_of = groups_of(healthy, settings.min_healthy)
    z = without_level(robust_z_scores(healthy, usual)[0], healthy)
    network = train_network(z, rows_of, {name: is_late(healthy, rows) for name, rows in rows_of.items()})
    most = settings.reference_rows
    reference = {name: z[rows[:: -(-len(rows) // most)]] for name, rows in rows_of.items()}
    return Health(usual, reference, network)


def health_of(health, windows, *, smoothing, fitted=None, levels=None, wanted=None):
    """Measure smoothed distances from health of every window, and whose detector that is (column `group`).

    health : a Health, or what `load_detector` gives. windows : sorted by node_id and start. fitted : as for
    `novelty_scores`. levels : as for `without_level`. wanted : bool (n,), which windows are measured; the
    others only say how the level of a server came to be.
    """
    z, group = robust_z_scores(windows, health.usual)
    z = without_level(z, windows, levels)
    if wanted is not None:
        z, group, windows = z[wanted], group[wanted], windows[wanted]
    distances = novelty_scores(z, group, health.reference, health.network, fitted)
    return smooth_runs(distances, windows, smoothing).assign(group=group)


def median_units(distances, detectors):
    """Give the unit of each distance and detector: DataFrame [detector, distance], the median over healthy
    windows; that of all windows where a detector has none among them.

    distances : of healthy windows that the models had not seen, as `health_of` gives them. detectors : names.
    """
    names = [name for name in distances if name != "group"]
    units = distances.groupby("group")[names].median().reindex(detectors)
    return units.fillna(distances[names].median())


# ----------------------------------------------------------------------------------------------------- Stored


def store_detector(folder, description, *, health, units, calibration, classifier=None):
    """Write the models that a night needs to `folder`. detector.json, without which nothing scores, is
    removed first and written last, so that a run that is killed in between never leaves halves of two models.

    description : content of detector.json, with `inputs`. units : of `median_units`. calibration : healthy
    windows with which others are compared. classifier : a scikit-learn model, None where there are no labels.
    """
    (folder / "detector.json").unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    if classifier is not None:
        save_model(classifier, folder / "classifier.skops")
    save_model(health.network, folder / "network.keras")
    write_parquet(health.usual.rename_axis(["detector", "when"]).reset_index(), folder / "usual.parquet")
    write_parquet(units.rename_axis("detector").reset_index(), folder / "units.parquet")
    reference = [
        pd.DataFrame(z, columns=description["inputs"]).assign(detector=name)
        for name, z in health.reference.items()
    ]
    write_parquet(pd.concat(reference), folder / "reference.parquet")
    write_parquet(calibration, folder / "calibration.parquet")
    write_json(description, folder / "detector.json")


def load_detector(folder):
    """Load what `store_detector` has written: detector.json as attributes, with usual, units, reference,
    network and classifier, which is None where there are no labels.
    """
    description = json.loads((folder / "detector.json").read_text())
    reference, inputs = (
        pd.read_parquet(folder / "reference.parquet").groupby("detector"),
        description["inputs"],
    )
    return SimpleNamespace(
        **description,
        usual=pd.read_parquet(folder / "usual.parquet").set_index(["detector", "when"]),
        units=pd.read_parquet(folder / "units.parquet").set_index("detector"),
        network=load_model(folder / "network.keras"),
        reference={name: reference.get_group(name)[inputs].to_numpy() for name in description["detectors"]},
        classifier=load_model(folder / "classifier.skops") if description["classes"] else None,
    )


def node_tests(windows, detector, *, fitted=None, levels=None, wanted=None):
    """Test windows, sorted by node_id and start: DataFrame `health`, `classifier` (log odds of not being
    healthy), "p <class>" and each distance; higher = stranger.

    detector : of `load_detector`; without labels there is neither classifier nor "p <class>". No window gives
    no row. A metric that the windows lack counts as not sampled. fitted, levels : as for `health_of`. wanted
    : bool (n,), which windows are tested, all by default; there is a row for each of them.
    """
    how = {"fitted": fitted, "levels": levels, "wanted": wanted}
    distances = health_of(detector, windows, smoothing=detector.smoothing, **how)
    windows = windows if wanted is None else windows[wanted]
    tests = normalise_scores(distances, distances.group.to_numpy(), detector.units)
    tests.insert(0, "health", tests[detector.in_use])
    if not detector.classes:
        return tests
    p = np.zeros((len(windows), len(detector.classes)))
    if len(windows):
        x = windows.reindex(columns=detector.features).to_numpy()
        p = temperature_scale(detector.classifier.predict_proba(x), detector.temperature)
    healthy = p[:, detector.classes.index("none")]
    tests.insert(0, "classifier", np.log((1 - healthy) / healthy))
    return tests.join(pd.DataFrame(p, columns=[f"p {name}" for name in detector.classes]))


class Before(NamedTuple):
    """What an earlier training has stored.

    models : rows of its metrics.json, [] without one. description : its detector.json. about_data : what a
    training of today says there of its data: their `source`, "" where nobody says, and how their `windows`
    were cut from samples, which is what 2_preprocess says of it in its metrics.json. fits : whether its
    classifier is there and can serve. figure : macro-F1 of the classifier in use, -1 without one.
    """

    models: list
    description: dict
    about_data: dict
    fits: bool
    figure: float

    def rows_in_use(self):
        """Return the rows of the models in use, named as stored ones."""
        rows = [model for model in self.models if model["in_use"]]
        return [row | {"name": f"stored {row['name'].removeprefix('stored ')}"} for row in rows]


def stored_before(paths, features):
    """Tell what an earlier training has stored in `paths.models`: a Before.

    features : set of today's features. A stored classifier fits today's data when they come from the same
    source, in windows of the same length and step, as long as it measures what the models read.
    """
    detector, metrics, status = (
        paths.models / "detector.json",
        paths.models / "metrics.json",
        paths.raw / "status.json",
    )
    source = json.loads(status.read_text())["source"] if status.exists() else ""
    encoded = read_json(paths.encoders / "metrics.json")
    counters = [name for name, is_a in encoded.get("metrics", {}).items() if is_a["kind"] == "counter"]
    about_data = {"source": source, "windows": encoded.get("windows", {}) | {"counters": counters}}
    models = read_json(metrics).get("models", []) if is_whole(paths.models, detector.name) else []
    description = read_json(detector) if models else {}
    reads = {*description.get("inputs", []), *description.get("features", [])}
    same_source, cut = description.get("source") == source, description.get("windows", {})
    same_cut = all(
        cut[name] == about_data["windows"].get(name) for name in ("window_s", "step_s") if name in cut
    )
    fits = reads <= features and same_source and same_cut and (paths.models / "classifier.skops").exists()
    figures = [m["model"] for m in models if m["in_use"] and m["metric"].startswith("macro-F1")]
    return Before(models, description, about_data, fits, max(figures, default=-1.0))
