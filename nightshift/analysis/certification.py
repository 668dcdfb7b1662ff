"""Findings of the certification study: why lumisections are strange, and one sentence on each range of bad
ones.

    Words      official verdicts                           official_words
    Reasons    histograms that are rebuilt badly           Trained, usual_rows, reasons_of, telling, ...
    Ranges     their reasons and numbers                   Strange, range_reasons, numbers_of
    Findings   evidence and findings                       evidence_of, finding_of
    Rows       the lumisections of a range                 rows_of
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nightshift.detectors.certification import KEY, feature_errors, members_of, scale_features
from nightshift.models import load_model
from nightshift.sources.certification.luminosity import LUMISECTION_S
from nightshift.wording import first_few

WHOLE = 0.9  # share of a run's lumisections from which on it is bad as a whole
MIN_USUAL = 50  # good validation lumisections: with fewer, those of all learned runs say what is usual

# ------------------------------------------------------------------------------------------------------ words


def luminosity_share(scored, chosen, among=None):
    """Compute the share of the luminosity (of the lumisections, where none is known) that the rows `chosen`
    hold, of that of `among`, or of all; 0 of nothing.

    scored : DataFrame amount. chosen, among : bool (n,).
    """
    whole = scored.amount[among].sum() if among is not None else scored.amount.sum()
    return float(scored.amount[chosen].sum() / whole) if whole else 0.0


def official_words(rows):
    """Say what the official certification says of the rows of a range, in words."""
    if rows.golden.isna().all():
        return "not certified yet"
    share = rows.golden.astype("float").mean()
    words = {1: "officially good", 0: "officially bad"}
    return words.get(share, f"officially {share:.0%} good")


# ---------------------------------------------------------------------------------------------------- reasons


@dataclass(frozen=True)
class Trained:
    """What the training has left that says what is usual."""

    detector: dict  # the content of detector.json
    folder: Path  # that holds its models
    usual: dict  # {dataset in use: its usual lumisections}, see `usual_rows`

    @property
    def in_order(self):
        """List the datasets in use, those with the largest share of the alarms first."""
        weights = self.detector["weights"]
        return sorted(weights, key=lambda name: -weights[name])

    @property
    def features(self):
        """List all features in use, in the order of the datasets."""
        of_set = self.detector["datasets"]
        return list(dict.fromkeys(f for name in self.in_order for f in of_set[name]["scaling"]))


def element_of(feature):
    """Name the histogram, or column, that a feature belongs to."""
    return feature.rpartition("|")[0]


def number_of(feature):
    """Name which number of its histogram a feature is: q10, q30, q50, q70, q90, mean, rms; value, where there
    is one only.
    """
    return feature.rpartition("|")[2]


def usual_rows(good, judged):
    """Select the lumisections that say what is usual: the validation part, or all, where that part has fewer
    than MIN_USUAL; of a model so old that none of its runs is in the table any more, the judged ones.

    good : rows of the clean table, the good measured lumisections of one dataset in learned runs. judged :
    the measured ones in judged runs.
    """
    if not len(good):
        return judged
    held_out = good[good.part == "validation"]
    return held_out if len(held_out) >= MIN_USUAL else good


def errors_of(rows, name, *, trained):
    """Compute the squared error of each feature of the lumisections `rows` of the dataset `name`, by its
    model, or the first of its models that rebuilds features: float (n, F).
    """
    one = trained.detector["datasets"][name]
    members = members_of(one)
    rebuilds = next((member for member in members if member["usual"] is not None), members[0])
    model = load_model(trained.folder / rebuilds["file"])
    return feature_errors(model, scale_features(rows, one["scaling"]))


def reasons_of(rows, trained):
    """Compute how many times its usual error each histogram is beyond it: DataFrame [(run, lumisection),
    element], NaN where it is not measured; no row in use gives none.

    rows : the clean table of certification. Each number of a histogram has its squared error in units of the
    mean one among usual lumisections; what exceeds one unit is averaged over the numbers of a histogram, and
    over the datasets that have it.
    """
    tables = []
    for name in trained.detector["weights"]:
        part = rows[(rows.dataset == name) & rows.measured]
        if len(part):
            usual = errors_of(trained.usual[name], name, trained=trained).mean(axis=0)
            # beside a number that is always rebuilt well, a trifle would look enormous
            usual = np.maximum(usual, 0.1 * np.median(usual) + 1e-12)
            beyond = np.maximum(errors_of(part, name, trained=trained) / usual - 1, 0)
            features = list(trained.detector["datasets"][name]["scaling"])
            table = pd.DataFrame(beyond, pd.MultiIndex.from_frame(part[KEY]), features)
            tables.append(table.T.groupby(element_of).mean().T)
    if not tables:
        return pd.DataFrame(index=pd.MultiIndex.from_tuples([], names=KEY))
    return pd.concat(tables).groupby(level=[0, 1]).mean()


def telling(beyond, chance):
    """Keep, of reasons in falling order, a Series [element], the first and those of the next two that are
    above `chance`, a Series [element]: what nineteen of twenty good lumisections have in it.
    """
    first = beyond[:3]
    return first[(first > chance.reindex(first.index)) | (np.arange(len(first)) == 0)]


def first_reasons(reasons, chance):
    """Name the `telling` reasons of each lumisection: {(run, lumisection): histograms, the first one first}.

    reasons : as `reasons_of` gives them. chance : Series [element].
    """
    in_order = (
        (at, row.dropna().sort_values(ascending=False, kind="stable")) for at, row in reasons.iterrows()
    )
    return {at: list(telling(row, chance).index) for at, row in in_order}


def histogram_table(reasons, chance):
    """Count how often each histogram is the first reason, and one of the three that are named, and how many
    times its usual error it then has, in the median: DataFrame, the most frequent one first.

    reasons : as `reasons_of` gives them. chance : Series [element].
    """
    ranks = reasons.rank(axis=1, ascending=False, method="first")
    named = (ranks == 1) | (ranks <= 3) & (reasons > chance.reindex(reasons.columns))
    table = pd.DataFrame(
        {
            "histogram": reasons.columns,
            "first reason": (ranks == 1).sum().to_numpy(),
            "among three": named.sum().to_numpy(),
            "times its usual error": (1 + reasons.where(named).median()).to_numpy(),
        }
    )
    return table.sort_values(["first reason", "among three"], ascending=False, kind="stable")


# ----------------------------------------------------------------------------------------------------- ranges


@dataclass(frozen=True)
class Strange:
    """Why the flagged lumisections of a night are strange."""

    trained: Trained
    judged: pd.DataFrame  # rows of the clean table whose runs no model has seen
    flagged: pd.MultiIndex  # (run, lumisection) of those that are flagged and pass DCS
    reasons: pd.DataFrame  # of these, as `reasons_of` gives them
    chance: pd.Series  # what nineteen of twenty good lumisections have in each histogram


def in_range(frame, one, *, flagged):
    """Find which rows of a DataFrame run, lumisection lie in a range and are flagged: bool Series."""
    inside = (frame.run == one.run) & frame.lumisection.between(one.first, one.last)
    return inside & pd.MultiIndex.from_frame(frame[KEY]).isin(flagged)


def range_reasons(strange, one):
    """Average the reasons of the flagged lumisections of a range: Series [element], strongest first.

    one : a row of `bad_ranges`.
    """
    inside = in_range(strange.reasons.reset_index()[KEY], one, flagged=strange.flagged)
    means = strange.reasons[inside.to_numpy()].mean().dropna()
    return means.sort_values(ascending=False, kind="stable")


def numbers_of(strange, one, *, elements):
    """Put the numbers of some histograms in a range beside usual ones: DataFrame [feature] observed, low,
    usual, high, z; farthest first. Nine of ten usual lumisections lie between low and high.
    """
    tables, trained = [], strange.trained
    for name in trained.in_order:
        features = [f for f in trained.detector["datasets"][name]["scaling"] if element_of(f) in elements]
        rows = strange.judged[(strange.judged.dataset == name) & strange.judged.measured]
        rows = rows.loc[in_range(rows, one, flagged=strange.flagged), features]
        if features and len(rows):
            quantiles = trained.usual[name][features].astype(float).quantile([0.05, 0.5, 0.95])
            low, usual, high = quantiles.to_numpy()
            observed = rows.astype(float).mean()
            tables.append(pd.DataFrame({"observed": observed, "low": low, "usual": usual, "high": high}))
    table = pd.concat(tables)
    table = table[~table.index.duplicated()]  # of several datasets that have it, the weightiest
    # of what never varies, something small
    spread = np.maximum((table.high - table.low) / 3.29, 1e-6 * table.usual.abs() + 1e-12)
    table = table.assign(z=(table.observed - table.usual) / spread)
    return table.sort_values("z", key=np.abs, ascending=False, kind="stable")


# --------------------------------------------------------------------------------------------------- findings


def evidence_of(strange, one, *, rows, lumi_known):
    """Write one sentence on a range: how much of it is flagged, the histograms that are its reasons (up to
    three), and what the official certification says.

    rows : DataFrame flagged, golden, amount and dataset (see `strange_datasets`) of the lumisections of the
    range. lumi_known : whether amount is luminosity, /pb.
    """
    why = telling(range_reasons(strange, one), strange.chance)
    number = numbers_of(strange, one, elements=[why.index[0]]).iloc[0]
    reasons = [f"{element} {1 + times:,.3g}" for element, times in why.items()]
    reasons[0] += f" times its usual squared error ({number_of(number.name)} {number.observed:.4g}, "
    reasons[0] += f"usually {number.low:.4g} to {number.high:.4g})"
    cost = f", {rows.amount[rows.flagged].sum():.3g} /pb recorded in them" if lumi_known else ""
    of = first_few(strange_datasets(rows))
    share = f"{one.flagged} of {len(rows)} lumisections flagged{f' in {of}' if of else ''}{cost}"
    return f"{share}: {', '.join(reasons)}; {official_words(rows)}"


def finding_of(strange, one, *, scored, lumi_known):
    """Describe one range as a finding, a dict. A range that holds WHOLE of the lumisections of its run that
    could be flagged is a bad run, any other are bad lumisections; its impact is the luminosity that was
    recorded in its flagged lumisections.

    scored : DataFrame run, lumisection, time, flagged, dataset, golden, amount, recorded_lumi.
    """
    rows = scored[(scored.run == one.run) & scored.lumisection.between(one.first, one.last)]
    return {
        "kind": "bad_run" if one.flagged >= WHOLE * one.looked_at else "bad_lumisections",
        "entity": f"run {one.run}, lumisections {one.first}-{one.last}",
        "start": rows.time.min(),
        "score": one.score,
        "p_value": one.p_value,
        "end": rows.time.max() + pd.Timedelta(seconds=LUMISECTION_S),
        "observed": 1 + range_reasons(strange, one).iloc[0],
        "expected": 1.0,
        "unit": "times the usual error",
        "evidence": evidence_of(strange, one, rows=rows, lumi_known=lumi_known),
        "impact": rows.recorded_lumi[rows.flagged].sum(min_count=1),
        "datasets": ", ".join(strange_datasets(rows)),
    }


def strange_datasets(rows):
    """List the primary datasets in which flagged lumisections are strangest, that of most of them first.

    rows : DataFrame flagged and dataset, in which each is strangest; one row per lumisection.
    """
    return list(rows.dataset[rows.flagged].value_counts().index)


# ------------------------------------------------------------------------------------------------------- rows


def rows_of(one, scored):
    """List the lumisections of a range, the strangest first: DataFrame time, run, lumisection, score,
    p_value, verdict, recorded_invpb, strangest_dataset and histograms, the named reasons of those that are
    flagged.

    one : a row of `bad_ranges`. scored : DataFrame with these columns; dataset and named among them.
    """
    rows = scored[(scored.run == one.run) & scored.lumisection.between(one.first, one.last)]
    rows = rows.assign(histograms=[", ".join(names) for names in rows.named])
    names = {"recorded_lumi": "recorded_invpb", "dataset": "strangest_dataset"}
    rows = rows.rename(columns=names).sort_values("score", ascending=False, kind="stable")
    columns = ["time", "run", "lumisection", "score", "p_value", "verdict", "recorded_invpb"]
    return rows[[*columns, "strangest_dataset", "histograms"]]
