"""From the scored weeks of the accounting to findings: one row per problem, whatever number of series it has.

    Events     flagged weeks of one series as one event        find_events, kind_of
    Causes     what has one cause is one finding               merge_totals, follow_losses
    Rows       the weeks of the series of a finding            rows_of
    Beside     sites that changed, series long silent          changes_by_site, silent_for_long

`grid` is a SeriesGrid throughout, whose weeks are months where the records are monthly. An event, and a
finding, has row (of the series), site, vo, kind, start and end (numbers of its first and last week),
observed, expected, low, high (core hours a week), change_hours (gained, below 0 lost), score and p_value.
"""

import numpy as np
import pandas as pd

from nightshift.detectors.accounting_trials import REGULAR_SHARE
from nightshift.sources.accounting.steps import WEEK

LOSS, GAIN = ("silent", "drop"), ("surge", "returned")
SHAPES = {  # other jobs for as many hours: unit, and quantities of which it is the quotient
    "efficiency_drop": ("CPU h per core h", "cpu_hours", "core_hours"),
    "longer_jobs": ("h per job", "wall_hours", "jobs"),
    "more_jobs": ("jobs a {step}", "jobs", None),
}
EVENT_COLUMNS = [
    *("row", "site", "vo", "kind", "start", "end", "observed", "expected", "low", "high"),
    *("change_hours", "score", "p_value"),
]
FINDING_COLUMNS = [*EVENT_COLUMNS, "share", "members", "to", "gained", "new_name", "new_hours", "sites"]


def quantity_of(grid, kind):
    """Return (unit, float (S, W)) of the quantity that changes in a finding of the `kind`: one of SHAPES,
    else the core hours.
    """
    unit, amount, per = SHAPES.get(kind, ("core hours a {step}", "core_hours", None))
    unit, panel = unit.format(step=grid.step.name), grid.panel
    if per is None:
        return unit, panel[amount]
    with np.errstate(divide="ignore", invalid="ignore"):
        return unit, panel[amount] / panel[per]


# ----------------------------------------------------------------------------------------------------- Events


def kind_of(grid, test, row, week):
    """Tell the kind of change of one flagged week, by its strongest `test`, or by its direction where the
    test has none, as the forest and the baselines.
    """
    if test not in ("unusual", "robust_z", "season"):
        return test
    features = grid.features
    core, expected, low, high = (
        x[row, week] for x in (grid.core, *(features[name] for name in ("expected", "low", "high")))
    )
    shape = {"efficiency_drop": -features["efficiency"][row, week]}
    shape["longer_jobs"] = features["job_length"][row, week]
    kind, distance = max(shape.items(), key=lambda pair: np.nan_to_num(pair[1]))
    if low <= core <= high and distance > 3:
        return kind
    if core < expected:
        return "silent" if core == 0 else "drop"
    return "returned" if features["absent"][row, week] else "surge"


def event_of(grid, row, flagged, *, n_judged):
    """Take the flagged weeks of one series as one event, a dict of EVENT_COLUMNS: from the first to the last
    of its kind with all between them; a silence lasts until the series computes again.

    flagged : its rows of the scores. n_judged : number of judged weeks, by which the p-value is multiplied.
    """
    weeks = grid.weeks
    kinds = [kind_of(grid, f.test, row, weeks.get_loc(f.week)) for f in flagged.itertuples()]
    worst, kind = flagged.loc[flagged.p_value.idxmin()], kinds[flagged.p_value.argmin()]
    # a last half week before the silence is no week of the silence
    alike = flagged.week[[one == kind for one in kinds]]
    start = weeks.get_loc(alike.min())
    over = grid.core[row, start:] > 0 if kind == "silent" else weeks[start:] > alike.max()
    length = int(np.argmax(over)) if over.any() else len(over)
    # where no week of the long window was active, nothing was usual
    expected, low, high = (
        np.nan_to_num(grid.features[name][row, start]) for name in ("expected", "low", "high")
    )
    observed = float(np.nanmean(grid.core[row, start : start + length]))
    return {
        "row": row,
        "site": grid.series.site[row],
        "vo": grid.series.vo[row],
        "kind": kind,
        "start": start,
        "end": start + length - 1,
        "observed": observed,
        "expected": expected,
        "low": low,
        "high": high,
        "change_hours": (observed - expected) * length,
        "score": worst.score,
        "p_value": min(worst.p_value * n_judged, 1.0),
    }


def find_events(grid, scored, *, n_judged):
    """Make one event per series with a flagged week, least p-value first: DataFrame of EVENT_COLUMNS, without
    a row where nothing is flagged.

    scored : DataFrame row, week, test, score, p_value, flagged; one row per series and judged week.
    """
    flagged = scored[scored.flagged].groupby("row")
    events = [event_of(grid, row, weeks_of_one, n_judged=n_judged) for row, weeks_of_one in flagged]
    return pd.DataFrame(events, columns=EVENT_COLUMNS).sort_values("p_value", ignore_index=True)


# ----------------------------------------------------------------------------------------------------- Causes


def members_of(grid, total):
    """Return the row numbers of the series behind a total, int (n,)."""
    name = "site" if total.vo == "" else "vo"
    return np.flatnonzero((grid.series[name] == getattr(total, name)) & grid.single)


def common_cause(grid, total):
    """Tell what the fall of a total is, if most of its members fell with it: a dict of kind, members, share
    (of them that fell) and sites (where the members of a VO fell, the largest loss first, separated by ", ";
    "" for the total of a site). Else None, also where one member explains it.
    """
    rows = members_of(grid, total)
    rows = rows[grid.features["weeks_active"][rows, total.start] > 0]
    now = np.nan_to_num(grid.core[rows, total.start])
    usual = np.nan_to_num(grid.features["expected"][rows, total.start])
    lost, fell = np.maximum(usual - now, 0), now < 0.67 * usual
    one_explains_it = len(rows) and lost.max() > 0.8 * lost.sum() and not fell.all()
    if total.kind not in LOSS or fell.sum() < 2 or fell.mean() < 0.6 or one_explains_it:
        return None
    kind = "reporting_gap" if total.vo == "" and total.kind == "silent" else "global_dip"
    by_loss = rows[fell][np.argsort(-lost[fell], kind="stable")]
    sites = ", ".join(dict.fromkeys(grid.series.site[by_loss])) if total.vo else ""
    return {"kind": kind, "members": len(rows), "share": float(fell.mean()), "sites": sites}


def merge_totals(grid, events):
    """Merge totals with their members: (findings of totals, dicts, with the losses of their members taken in;
    the events that stand alone).

    A total that only repeats one of its members is left out, and so is one whose efficiency or jobs change:
    these follow from the mix of its members.
    """
    findings, taken = [], set()
    totals = events[(events.site == "") | (events.vo == "")].sort_values("change_hours")
    for total in totals.itertuples():
        inside = events["row"].isin(members_of(grid, total)) & (events.start - total.start).abs().le(1)
        if cause := common_cause(grid, total):
            findings.append(total._asdict() | cause)
            taken |= {total.Index, *events.index[inside & ~events.kind.isin(GAIN)]}
        elif inside.any() or total.kind in SHAPES:
            taken.add(total.Index)
    return findings, events.drop(index=list(taken))


def gained_elsewhere(grid, lost):
    """Find the site at which the VO of a loss gained what it lost, and the core hours gained; (None, 0) where
    there is none.

    Any site counts, flagged or not, old or new, that gained between half and twice as much in the same weeks.
    """
    inside, n_weeks = slice(lost.start, lost.end + 1), lost.end + 1 - lost.start
    best = None, 0.0
    series, expected = grid.series, grid.features["expected"]
    for row in np.flatnonzero((series.vo == lost.vo) & (series.site != lost.site) & (series.site != "")):
        gained = np.nansum(grid.core[row, inside]) - np.nan_to_num(expected[row, lost.start]) * n_weeks
        # a new series has no range yet
        above = not grid.core[row, lost.start] <= grid.features["high"][row, lost.start]
        if above and 0.5 <= gained / -lost.change_hours <= 2 and gained > best[1]:
            best = series.site[row], float(gained)
    return best


def new_name_of(grid, lost):
    """Find a VO that appeared at the site of a loss with between half and twice as many core hours as were
    lost: (its name, its core hours); (None, 0) where there is none.
    """
    inside, core = slice(lost.start, lost.end + 1), grid.core
    at_site = (grid.series.site == lost.site) & (grid.series.vo != "")
    rows = np.flatnonzero(at_site & ~np.isfinite(core[:, lost.start - 1]))
    hours = np.nansum(core[rows, inside], axis=1)
    fits = (hours > -0.5 * lost.change_hours) & (hours < -2 * lost.change_hours)
    if not fits.any():
        return None, 0.0
    return grid.series.vo[rows[fits][hours[fits].argmax()]], float(hours[fits].max())


def follow_losses(grid, findings, alone):
    """Complete the findings, DataFrame of FINDING_COLUMNS: those of totals, and the events `alone`. A gain at
    the site that a VO moved to belongs to the finding of its loss.
    """
    findings, moved_to = list(findings), set()
    losses = alone.kind.isin(LOSS) & (alone.site != "") & (alone.vo != "")
    for lost in alone[losses].itertuples():
        to, gained = gained_elsewhere(grid, lost)
        new_name, hours = new_name_of(grid, lost)
        where = {"kind": "moved" if to else lost.kind, "to": to, "gained": gained}
        where |= {"sites": f"{lost.site}, {to}"} if to else {}
        findings.append(lost._asdict() | where | {"new_name": new_name, "new_hours": hours})
        if to:
            moved_to.add((lost.vo, to))
    for one in alone[~losses].itertuples():
        if one.kind not in GAIN or (one.vo, one.site) not in moved_to:
            findings.append(one._asdict())
    return pd.DataFrame(findings, columns=FINDING_COLUMNS)


# ------------------------------------------------------------------------------------------------------- Rows


def rows_of(finding, grid, scored):
    """List the weeks of the series of a finding, the newest first, back to the long window before it, which
    says what is usual: DataFrame time (their starts), core_hours, expected, low, high (of core hours; eight
    of ten weeks lie between the latter two), cpu_hours, jobs, counted (whether the week is one of the
    change), flagged (whether it is rare by itself).

    scored : DataFrame row, week, flagged, one row per series and judged week.
    """
    inside = slice(max(finding.start - grid.step.long, 0), len(grid.weeks))
    usual = {name: grid.features[name][finding.row, inside] for name in ("expected", "low", "high")}
    counted = {name: grid.panel[name][finding.row, inside] for name in ("cpu_hours", "jobs")}
    columns = {"core_hours": grid.core[finding.row, inside]} | usual | counted
    rows = pd.DataFrame({"time": grid.weeks[inside]} | columns)
    flagged = scored.week[(scored.row == finding.row) & scored.flagged]
    of_change = grid.weeks[finding.start : finding.end + 1]
    rows = rows.assign(counted=rows.time.isin(of_change), flagged=rows.time.isin(flagged))
    return rows[rows.core_hours.notna()].sort_values("time", ascending=False)


# ----------------------------------------------------------------------------------------------------- Beside


def changes_by_site(clean, weeks, *, n_judged, step=WEEK, n=10):
    """List the `n` sites whose core hours a week differ most from their usual: DataFrame site, now (mean of
    the `n_judged` last weeks), usual (sum of the medians of its series over the long window of the
    `step` before them), difference, vo (of the series that differs most, in that direction) and idle (in how
    many weeks of the long window this series computed nothing, where it is so in a judged week, else 0).

    clean : DataFrame site, vo, week, core_hours. weeks : all weeks; one without a row counts as 0.
    """
    wide = clean.pivot(index=["site", "vo"], columns="week", values="core_hours")
    wide, first = wide.reindex(columns=weeks).fillna(0), len(weeks) - n_judged
    judged, before = wide.iloc[:, first:], wide.iloc[:, max(first - step.long, 0) : first]
    series = pd.DataFrame({"now": judged.mean(axis=1), "usual": before.median(axis=1)})
    series["difference"] = series.now - series.usual
    series["idle"] = (before == 0).sum(axis=1).where((judged == 0).any(axis=1), 0)
    table = series.groupby("site")[["now", "usual", "difference"]].sum()
    share = series.difference * np.sign(table.difference.reindex(series.index, level="site"))
    share = share.fillna(-np.inf)  # of a series without a week before
    most = series.loc[share.groupby("site").idxmax()].reset_index("vo").reindex(table.index)
    table = table.assign(vo=most.vo, idle=most.idle.astype(int))
    return table.sort_values("difference", key=np.abs, ascending=False).head(n).reset_index()


def silent_for_long(grid, alive, n_judged):
    """List the series that used to be regular and have been silent for longer than the `n_judged` last weeks:
    DataFrame vo, site, weeks silent, core hours a week before (months by the step); the largest first.

    alive : bool (S,), the series that were judged in the last week.
    """
    features = grid.features
    silent_for = np.nan_to_num(features["weeks_silent"][:, -1]).astype(int)
    waiting = np.flatnonzero(grid.single & (silent_for > n_judged) & alive)
    then = len(grid.weeks) - silent_for[waiting]  # the first silent week
    step, before = grid.step, f"core hours a {grid.step.name} before"
    columns = {f"{step.name}s silent": silent_for[waiting], before: features["expected"][waiting, then]}
    table = grid.series.loc[waiting, ["vo", "site"]].assign(**columns)
    regular = features["weeks_active"][waiting, then] >= REGULAR_SHARE * step.long
    return table[regular].sort_values(before, ascending=False)
