"""How good the verdicts of the certification study are: against labels, against the official certification,
against failures that are known.

    Models        beside their baselines                       model_table
    Labels        areas under the ROC curve with intervals     as_text, auc_rows, bad_run_rows, step_rows
    Difference    beside the official certification            difference_of, difference_table, ...
    Failures      known ones (the sample), what is found       parse_failures, failure_of, failure_rows, ...

`interval` is everywhere a function (values, bad, run=...) that gives (AUC, low, high): `auc_interval` with
its draws.
"""

import numpy as np
import pandas as pd

from nightshift.analysis.certification import WHOLE
from nightshift.detectors.certification import KEY
from nightshift.wording import plural

NAMES = {"good": "good", "expert": "bad by experts", "trivial": "fails DCS", "": "not labelled"}
STRENGTHS = {3: "strong", 2: "medium", 1: "weak"}

# ----------------------------------------------------------------------------------------------------- models


def model_table(models):
    """Put models beside their baselines: DataFrame, one row each.

    models : rows of metrics.json, at least one.
    """
    skill = [f"{one['skill']:.3f} ({one['skill_low']:.3f} to {one['skill_high']:.3f})" for one in models]
    table = pd.DataFrame(models)[["name", "metric", "model", "baseline_name", "baseline"]].assign(skill=skill)
    table["in use"] = ["yes" if one["in_use"] else "no" for one in models]
    names = {"name": "model", "metric": "measured by", "model": "figure", "baseline_name": "baseline"}
    return table.rename(columns=names | {"baseline": "its figure"})


# ----------------------------------------------------------------------------------------------------- labels


def as_text(auc, low, high):
    """Write an AUC with its interval, where there is one, as text; empty without an AUC."""
    if not np.isfinite(auc):
        return ""
    return f"{auc:.3f} ({low:.3f} to {high:.3f})" if np.isfinite(low) else f"{auc:.3f}"


def auc_rows(values, labels, *, where, weights, interval):
    """Compute the AUC of each column of `values` against expert and trivial bad lumisections: one dict per
    column.

    values : DataFrame, decision values, a column per dataset, "together" for all. labels : DataFrame run,
    label of the same rows. where : what the rows are. weights : {dataset in use: its share of the alarms}.
    """
    label, run, rows = labels.label.to_numpy(), labels.run.to_numpy(), []
    for name in values:
        in_use = "yes" if name in weights or name == "together" else "no"
        row = {"lumisections": where, "dataset": name, "in use": in_use}
        for kind in ("expert", "trivial"):
            subset = np.isin(label, ["good", kind])
            auc = interval(values[name].to_numpy()[subset], label[subset] == kind, run=run[subset])
            row[f"AUC, {NAMES[kind]}"] = as_text(*auc)
        rows.append(row)
    return rows


def bad_run_rows(experts, strange, *, interval):
    """Compute the AUC of bad lumisections in whole bad runs and of isolated ones, in all other runs: one dict
    for each of the two that there is.

    experts : DataFrame run, label (good or expert), score. strange : bool, whether the first threshold flags
    a lumisection, by the index of `experts`. A run is whole bad when experts rejected WHOLE of its
    lumisections or more.
    """
    bad_share = (experts.label == "expert").groupby(experts.run).mean()
    in_bad_run, rows = experts.run.isin(bad_share.index[bad_share >= WHOLE]), []
    for name, subset in (("in whole bad runs", in_bad_run), ("isolated", ~in_bad_run)):
        bad = experts[subset & (experts.label == "expert")]
        if len(bad):
            against = experts[(experts.label == "good") | experts.index.isin(bad.index)]
            is_bad, run = (against.label == "expert").to_numpy(), against.run.to_numpy()
            area = interval(against.score.to_numpy(), is_bad, run=run)
            row = {"bad by experts": name, "lumisections": len(bad), "runs": bad.run.nunique()}
            rows.append(row | {"AUC": as_text(*area), "flagged": strange[bad.index].mean()})
    return rows


def step_rows(verdicts, is_good):
    """Count what is kept of good lumisections and let through of bad ones by each way to judge: one dict
    each.

    verdicts : {name: words (n,)}. is_good : bool (n,).
    """

    def share(verdict, rows):
        return (verdict == "good")[rows].mean() if rows.any() else np.nan

    return [
        {
            "verdict by": name,
            "kept": share(verdict, is_good),
            "let through": share(verdict, ~is_good),
            "grey": (verdict == "grey").mean(),
            "lumisections": len(verdict),
        }
        for name, verdict in verdicts.items()
    ]


def steps_in_words(rows):
    """Say in one sentence what each way to judge keeps of the good and lets through of the bad; rows : as
    `step_rows` gives them.
    """
    numbers = ["kept", "let through", "grey"]
    first, *others = rows
    parts = [
        f"by {first['verdict by']}, of {plural(first['lumisections'], 'lumisection')} that experts judged, "
        f"{first['kept']:.1%} of the good are kept and {first['let through']:.1%} of the bad let through, "
        f"{first['grey']:.1%} of all are grey"
    ]
    for other in others:
        texts = [f"{other[name]:.1%}" for name in numbers]
        same = texts == [f"{first[name]:.1%}" for name in numbers]
        parts.append(f"{other['verdict by']}, {'the same' if same else ', '.join(texts)}")
    sentence = "; ".join(parts).replace("nan%", "not known")
    return f"{sentence[0].upper()}{sentence[1:]}."


def bad_runs_in_words(rows):
    """Say in one sentence how well bad lumisections in whole bad runs and isolated ones are found; rows : as
    `bad_run_rows` gives them, at least one.
    """
    parts = [
        f"{row['bad by experts']}: {row['flagged']:.1%} of {plural(row['lumisections'], 'lumisection')} in "
        f"{plural(row['runs'], 'run')} are flagged, AUC {row['AUC']}"
        for row in rows
    ]
    return f"Bad by experts, {'; '.join(parts)}."


# ------------------------------------------------------------------------------------------------- difference


def why_lost(row, first_three):
    """Say why a lumisection is not in our Golden JSON, in a few words.

    row : run, lumisection, verdict. first_three : {(run, lumisection): its first reasons}.
    """
    if row.verdict == "undecided":
        return "measured in no dataset"
    return ", ".join(first_three.get((row.run, row.lumisection), [])) or "its run as a whole"


def difference_of(scored, differs, *, first_three):
    """Find the lumisections on which we and the official certification differ: DataFrame as `scored`, with
    side (gained or lost) and why.

    scored : DataFrame run, lumisection, verdict, p_value. differs : bool (n,).
    """
    rows = scored[differs].copy()
    rows["side"] = np.where(rows.verdict == "good", "gained", "lost")
    rows["why"] = [
        f"not flagged: p-value {row.p_value:.2g}" if row.side == "gained" else why_lost(row, first_three)
        for row in rows.itertuples()
    ]
    return rows


def side_by_run(difference, side, *, lumi_known):
    """Sum lumisections and luminosity of one side of the difference per run, and count its first
    reasons: DataFrame [run].

    difference : as `difference_of` gives it, with amount. side : gained or lost. lumi_known : whether amount
    is luminosity.
    """
    rows = difference[difference.side == side]

    def in_words(why):
        return ", ".join(f"{word} {n}" for word, n in why.value_counts()[:3].items())

    table = pd.DataFrame(
        {
            side: rows.run.value_counts(),
            f"{side}, /pb": rows.amount.groupby(rows.run).sum(),
            f"why {side}": rows.why.str.split(", ").str[0].groupby(rows.run).agg(in_words),
        }
    )
    if not lumi_known:
        table = table.drop(columns=f"{side}, /pb")
    return table.drop(columns=f"why {side}") if side == "gained" else table


def difference_table(difference, *, lumi_known):
    """Put what is gained and lost in each run side by side, the largest difference first: DataFrame run, ...

    difference : as `difference_of` gives it, with amount. lumi_known : whether amount is luminosity.
    """
    sides = [side_by_run(difference, side, lumi_known=lumi_known) for side in ("gained", "lost")]
    table = pd.concat(sides, axis=1).rename_axis("run").fillna({"why lost": ""})
    order = table[["gained", "lost"]].sum(axis=1).sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index()


def difference_words(difference, *, lumi_known):
    """Say how much is gained and lost: difference, lumi_known as in `difference_table`."""
    gain, loss = (difference[difference.side == side] for side in ("gained", "lost"))
    words = f"Gained against the official Golden JSON: {len(gain):,} lumisections"
    if not lumi_known:
        unknown = "The source gives no luminosity, so lumisections are counted."
        return f"{words}; lost: {len(loss):,}. {unknown}"
    return f"{words}, {gain.amount.sum():.3g} /pb; lost: {len(loss):,}, {loss.amount.sum():.3g} /pb."


# --------------------------------------------------------------------------------------------------- failures


def parse_failures(truth, runs):
    """Parse the known failures of certification in a table of truth that lie in the runs: its rows with run,
    first, last (lumisections), elements (text), strength (float) and words, its name, "unknown" without one.

    truth : DataFrame entity, strength, kind, ...; an entity is "run 400123: 3-17: element, element".
    """
    pattern = r"^run (?P<run>\d+): (?P<first>\d+)-(?P<last>\d+): (?P<elements>.+)$"
    parts = truth.entity.astype(str).str.extract(pattern)
    failures = truth.join(parts)[parts.run.notna()]
    failures = failures.astype({"run": int, "first": int, "last": int, "strength": float})
    failures = failures[failures.run.isin(runs)].reset_index(drop=True)
    words = failures.strength.map(lambda one: STRENGTHS.get(one, str(one))).astype("str")
    return failures.assign(words=words.where(failures.strength.notna(), "unknown"))


def ranges_of(findings):
    """Read the ranges of lumisections in the entities of findings: DataFrame run, first, last."""
    pattern = r"^run (?P<run>\d+), lumisections (?P<first>\d+)-(?P<last>\d+)$"
    return findings.entity.astype(str).str.extract(pattern).astype("int64")


def failure_of(scored, failures):
    """Find which known failure each lumisection lies in: its number in `failures`, -1 for none; int (n,)."""
    number = np.full(len(scored), -1)
    for one in failures.itertuples():
        inside = (scored.run == one.run) & scored.lumisection.between(one.first, one.last)
        number[inside.to_numpy()] = one.Index
    return number


def overlapped(failures, ranges):
    """Check whether some range of `ranges` overlaps each known failure: bool (n,); both are DataFrames run,
    first, last, and may change places.
    """
    met = [
        ((ranges.run == one.run) & (ranges["first"] <= one.last) & (ranges["last"] >= one.first)).any()
        for one in failures.itertuples()
    ]
    return np.array(met, bool)


def failure_rows(failures, scored, *, inside, reference, interval):
    """Count what is found of each strength and kind of known failures, strongest first: DataFrame strength,
    kind, failures, found, lumisections, flagged, AUC.

    failures : as `parse_failures` gives them, at least one, with found; those of unknown strength come last.
    scored : DataFrame run, score, failure (see `failure_of`), strange (whether the first threshold flags it).
    inside : bool (n,), lumisections of failures that count. reference : bool (n,), good ones that they are
    held against.
    """
    by_strength = ((strength, group) for strength, group in failures.groupby("strength", dropna=False))
    groups = [
        *failures.groupby(["strength", "kind"], dropna=False),
        *(((strength, "all kinds"), group) for strength, group in by_strength),
    ]
    rows = []
    for (strength, kind), group in groups:
        bad = inside & np.isin(scored.failure, group.index)
        either = bad | reference
        area = interval(scored.score.to_numpy()[either], bad[either], run=scored.run.to_numpy()[either])
        rows.append(
            {
                "strength": group.words.iloc[0],
                "kind": kind.replace("_", " "),
                "failures": len(group),
                "found": int(group.found.sum()),
                "lumisections": int(bad.sum()),
                "flagged": scored.strange.to_numpy()[bad].mean(),
                "AUC": as_text(*area),
                "order": -strength,
            }
        )
    return pd.DataFrame(rows).sort_values(["order", "kind"], ignore_index=True).drop(columns="order")


def named_shares(failures, scored, *, first_three):
    """Say, per flagged lumisection of a known failure, its number (failure), whether one and whether all of
    its histograms are among the first three reasons (one, all).

    scored : DataFrame run, lumisection, failure. first_three : {(run, lumisection): its first reasons}.
    """
    rows = []
    for at, number in zip(pd.MultiIndex.from_frame(scored[KEY]), scored.failure, strict=True):
        if number >= 0 and at in first_three:
            spoiled = set(failures.elements[number].split(", "))
            rows.append((number, bool(spoiled & set(first_three[at])), spoiled <= set(first_three[at])))
    return pd.DataFrame(rows, columns=["failure", "one", "all"])


def named_by_strength(named, failures):
    """Average `named_shares` by strength, strongest first: DataFrame strength, failures, flagged, one and
    all.
    """
    each = named.groupby("failure").agg(one=("one", "mean"), all=("all", "mean"), flagged=("one", "size"))
    each = each.join(failures[["words", "strength"]])
    each = each.sort_values("strength", ascending=False, kind="stable").groupby("words", sort=False)
    table = each.agg(
        failures=("one", "size"), flagged=("flagged", "sum"), one=("one", "mean"), all=("all", "mean")
    )
    return table.reset_index(names="strength")
