"""The results of runs as one table, and how two runs differ on the same test rows."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers import write_csv, write_parquet
from nightshift.statistics import percentile_interval, resampled_sums

OF_MODEL = {"name": "model", "model": "value"}  # keys of metrics.json whose columns have other names
# columns of the table of results, even where there are no runs
ALWAYS = ("model", "metric", "value", "skill", "skill_low", "skill_high", "in_use")
RESAMPLES = 1000


def results_of(runs):
    """Collect the results of `runs`, [Run], as `nightshift.sweeps.results` describes them: DataFrame."""
    rows = []
    for run in runs:
        ending = run.ending
        about = {"run": run.name, **{key: ending[key] for key in ("outcome", "error", "seconds")}}
        about |= run.parameters | {"git": run.metrics.get("git")}
        models = [{OF_MODEL.get(key, key): value for key, value in one.items()} for one in run.models]
        rows += [about | model for model in models or [run.recorded_numbers()]]
    frame = pd.DataFrame(rows)
    return frame.reindex(columns=[*frame, *(name for name in ALWAYS if name not in frame)])


def write_results(frame, folder):
    """Write the table of results as results.parquet and results.csv, lists and mappings as text."""
    frame = frame.copy()
    for column in frame.columns[
        [frame[c].map(lambda one: isinstance(one, list | dict)).any() for c in frame]
    ]:
        frame[column] = frame[column].astype(str)
    write_parquet(frame, Path(folder) / "results.parquet")
    write_csv(frame, Path(folder) / "results.csv")


def differing_parameters(runs):
    """Name the parameters that are not the same in all `runs`, in the order of the notebook; a run without
    recorded parameters is left out.
    """
    recorded = [run.parameters for run in runs if run.parameters]
    names = list(dict.fromkeys(name for parameters in recorded for name in parameters))
    return [name for name in names if any(one.get(name) != recorded[0].get(name) for one in recorded)]


class Difference(NamedTuple):
    """How much larger the mean error of a run is than that of the reference, as a share of the latter, with
    its 95% interval, on the `n` test rows that both have.
    """

    share: float
    low: float
    high: float
    n: int

    @property
    def is_clear(self):
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_difference(run, reference, model, other):
    """Measure the Difference of `model` in a run from the model `other` in the reference, on the test rows of
    both; None where one has no errors of its model, their common rows are of fewer than two groups, or the
    reference makes no error.

    Groups of rows that share their luck, such as hours or jobs, are drawn together (paired bootstrap, Efron &
    Tibshirani 1993, chapter 8). Another metric needs no other care: an error is any number that is smaller
    where a prediction is better.
    """
    errors, others = run.test_errors, reference.test_errors
    if errors is None or others is None or model not in errors or other not in others:
        return None
    both = pd.concat(
        {"here": errors[model], "there": others[other], "group": errors.group}, axis=1, join="inner"
    )
    if both.group.nunique() < 2 or not both.there.sum():
        return None
    rng = np.random.default_rng(1)
    sums = resampled_sums(both[["here", "there"]], both.group, rng=rng, resamples=RESAMPLES)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(sums[:, 1] > 0, sums[:, 0] / sums[:, 1] - 1, np.nan)
    return Difference(float(shares[0]), *percentile_interval(shares[1:]), len(both))


def varying_models(runs):
    """Name the models whose metrics differ between `runs`; the others, such as baselines that have none of
    the parameters that vary, are the same in all.
    """
    values = {}
    for run in runs:
        for one in run.models:
            values.setdefault((one["metric"], one["name"]), []).append(one["model"])
    return list(dict.fromkeys(name for (_, name), seen in values.items() if len(set(seen)) > 1))


def curves_of(runs):
    """Validation losses by epoch: {network: {name of the run: Series by epoch}}, empty without any.

    The last column of text in losses.parquet says which network; over the others, such as data sets and
    seeds, the mean is taken, in which a network that has stopped keeps its last loss.
    """
    curves = {}
    for run in runs:
        frame = run.losses
        if frame is None or "validation_loss" not in frame:
            continue
        keys = [c for c in frame if c not in ("epoch", "loss", "validation_loss")]
        texts = [c for c in keys if not pd.api.types.is_numeric_dtype(frame[c])]
        network = frame[texts[-1]] if texts else pd.Series("network", frame.index)
        for name, part in frame.groupby(network, sort=False, observed=True):
            wide = part.pivot_table(
                index="epoch", columns=keys or None, values="validation_loss", observed=True
            )
            curves.setdefault(str(name), {})[run.name] = wide.ffill().mean(axis=1)
    return curves
