"""Tests and estimates of the tickets study that can be impossible on few tickets, and what is said then."""

from typing import NamedTuple

import numpy as np


class LogRank(NamedTuple):
    """A log-rank test. p_value : NaN where it could not be made; why : the reason then, else ""; left_out :
    groups about which it says nothing.
    """

    p_value: float
    why: str
    left_out: list


def log_rank(hours, seen, group):
    """Test whether the groups wait alike, by the log-rank test; it never raises for want of data.

    hours (n,) : waiting times, not negative. seen (n,) : whether the wait ended; else it goes on. group
    (n,) : names. A group none of whose tickets has waited as long as the shortest wait that ended, in any
    group, was never watched while anything happened: it expects no end, makes the covariance singular, and is
    left out (as in R's survdiff). Source: Mantel 1966; Peto and Peto 1972.
    """
    from statsmodels.duration.survfunc import survdiff

    hours, seen, group = np.asarray(hours, float), np.asarray(seen, bool), np.asarray(group, str)
    names = np.unique(group)
    if len(names) < 2:
        return LogRank(np.nan, "there are fewer than two groups of enough tickets", [])
    if not seen.any():
        return LogRank(np.nan, "no wait has ended yet in any group", [])
    first = hours[seen].min()
    watched = {name: hours[group == name].max() >= first for name in names}
    left_out = [str(name) for name in names if not watched[name]]
    inside = np.isin(group, [name for name in names if watched[name]])
    if len(names) - len(left_out) < 2:
        return LogRank(np.nan, "only one group has tickets as old as the shortest wait that ended", left_out)
    try:
        with np.errstate(all="ignore"):
            p_value = float(survdiff(hours[inside], seen[inside], group[inside])[1])
    except (np.linalg.LinAlgError, ValueError, ZeroDivisionError, IndexError):
        p_value = np.nan
    if not np.isfinite(p_value):
        return LogRank(
            np.nan, "hardly any two groups had open tickets of one age when a wait ended", left_out
        )
    return LogRank(p_value, "", left_out)


def kaplan_meier_median(hours, seen):
    """Estimate the median wait, in hours: (median, low, high), 95% interval; inf where it is not
    reached, or nothing ended.

    hours (n,) : how long each ticket waited, or waits; seen (n,) : whether the wait ended. Source:
    Kaplan and Meier 1958; the interval is that of Brookmeyer and Crowley 1982.
    """
    from statsmodels.duration.survfunc import SurvfuncRight

    hours, seen = np.asarray(hours, float), np.asarray(seen, bool)
    if not seen.any():
        return np.inf, np.inf, np.inf
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # at both ends of the curve, where its interval is a point
        curve = SurvfuncRight(hours, seen)
        median = curve.quantile(0.5)
        try:
            low, high = curve.quantile_ci(0.5)
        except (ValueError, IndexError):
            low, high = np.nan, np.nan
    return tuple(np.inf if np.isnan(x) else float(x) for x in (median, low, high))


def welch_ratio(ours, others):
    """Compare the means of two samples of logarithms: (ratio, low, high), 95% interval by Welch.

    All are NaN with fewer than two values in a sample; the interval is NaN where neither sample has any
    spread. Source: Welch 1947.
    """
    from scipy import stats

    ours, others = np.asarray(ours, float), np.asarray(others, float)
    if min(len(ours), len(others)) < 2:
        return np.nan, np.nan, np.nan
    ratio = float(np.exp(ours.mean() - others.mean()))
    if max(np.ptp(ours), np.ptp(others)) < 1e-12:
        return ratio, np.nan, np.nan
    low, high = stats.ttest_ind(ours, others, equal_var=False).confidence_interval()
    return ratio, float(np.exp(low)), float(np.exp(high))


def history_verdict(n_tickets, timed, n_weeks, tested, *, least_weeks, least_values=100):
    """Judge whether anything can be found tonight: ("ok", "") or ("too little history", one sentence
    with the reason).

    timed : whether the source gives times of creation. tested : kinds that could be tested tonight.
    least_weeks : weeks of memory that a test needs; least_values : earlier values among which it is ranked,
    which take some weeks more.
    """
    if tested:
        return "ok", ""
    what = "Topics that grow, departments that surge, backlogs and slow topics cannot be found tonight"
    if not n_tickets:
        return "too little history", f"{what}: there is no ticket."
    if not timed:
        return (
            "too little history",
            f"{what}: the source gives no times of creation, so there are no weeks to compare.",
        )
    weeks, count = (
        "1 week" if n_weeks == 1 else f"{n_weeks} weeks",
        "1 ticket" if n_tickets == 1 else f"{n_tickets:,} tickets",
    )
    return "too little history", (
        f"{what}: a past of {weeks} with {count} is too short; a test needs {least_weeks} weeks of memory, "
        f"and after them at least {least_values} earlier values to know how rare a surprise is."
    )
