"""Who asks, when, and who calls it urgent: groups of tickets as tables in which small ones are hidden."""

import numpy as np
import pandas as pd
from scipy import stats

from nightshift.analysis.tickets_texts import UNNAMED, readable
from nightshift.detectors.tickets import welch_ratio


def units_of(names, min_group):
    """Find the groups of at least `min_group` tickets: (names, object (U,), and number (n,) of each ticket).

    names : Series of str, one per ticket; the largest group comes first. The number is -1 for a ticket of
    none of them; unnamed groups are none.
    """
    sizes = names.value_counts()
    sizes = sizes[(sizes >= min_group) & ~sizes.index.isin(UNNAMED)]
    return sizes.index.to_numpy(object), pd.Index(sizes.index).get_indexer(names)


def sizes_of(tickets, column, *, min_group, recent=None):
    """Count the tickets of each group of a column: DataFrame column, tickets, share, last year, open.

    recent : bool (n,), which tickets are of the last year; None, without times, leaves out the last two
    columns. Counts below `min_group` say only that. Small and unnamed groups are left out; the largest first.
    """
    names, unit = units_of(tickets[column].fillna("").astype(str), min_group)

    def count(chosen):
        return np.bincount(unit[(unit >= 0) & chosen], minlength=len(names))

    shown = [readable(name) for name in names]
    table = pd.DataFrame({column: shown, "tickets": count(np.ones(len(tickets), bool))})
    table["share"] = table.tickets / max(len(tickets), 1)
    if recent is not None:
        counts = pd.DataFrame({"last year": count(recent), "open": count(tickets.open.to_numpy())})
        masked = counts.astype(object).mask(counts < min_group, f"under {min_group}")
        table = pd.concat([table, masked], axis=1)
    return table


# ----------------------------------------------------------------------------------------------------- Months


def monthly(created, *, end, semesters):
    """Count the tickets per day of each month: DataFrame [first day of the month] rate, trend, semester.

    created : Series of datetime64, UTC, not empty. end : end of the night. A month that is cut counts by its
    own days. trend : mean of the twelve months around each, NaN at the ends. semester : bool, whether a
    semester begins in it; `semesters` are numbers of months.
    """
    created, until = created.dt.tz_localize(None), end.tz_localize(None)
    months = pd.date_range(created.min().to_period("M").to_timestamp(), until - pd.Timedelta(1), freq="MS")
    next_month = months + pd.offsets.MonthBegin()
    length = next_month.where(next_month < until, until)
    length = length - months.where(months > created.min(), created.min().floor("D"))
    counts = created.dt.to_period("M").value_counts().reindex(months.to_period("M"), fill_value=0).to_numpy()
    rate = pd.Series(counts / np.maximum(length / pd.Timedelta(days=1), 1), months)

    def centred_year(x):
        return (x[1:-1].sum() + (x[0] + x[-1]) / 2) / 12  # half of the months that are a year apart

    trend = rate.rolling(13, center=True).apply(centred_year, raw=True)
    return pd.DataFrame({"rate": rate, "trend": trend, "semester": months.month.isin(semesters)})


def semester_ratio(months):
    """Compare tickets a day in semester months with those in others, beside the trend: (ratio, low, high).

    months : as `monthly` gives them. As from `welch_ratio`, NaN where there are too few months.
    """
    height = np.log((months.rate / months.trend).where(months.trend > 0))
    height = height.replace(-np.inf, np.nan).dropna()
    return welch_ratio(height[months.semester], height[~months.semester])


def season_words(months):
    """Say how many tickets the months bring in which a semester begins, or that this is not known yet."""
    ratio, low, high = semester_ratio(months)
    if not ratio > 0:
        return f"{months.rate.iloc[-1]:.1f} tickets a day in the last month; too few months to know a season"
    interval = f"({low:.2f} to {high:.2f})" if np.isfinite(low) else "(interval not known)"
    return (
        f"Months in which a semester begins (orange) bring {ratio:.2f} times the tickets of others {interval}"
    )


# ---------------------------------------------------------------------------------------------------- Urgency


def shrunken_rates(hits, n):
    """Draw shares of hits (G,) among n (G,) to the whole by empirical Bayes: (rate, low, high), each (G,).

    low, high : 95% interval. The spread between groups comes from moments. Where groups do not differ beyond
    luck, the whole still weighs no more than a group of average size: that few groups look alike proves
    little. n must not be empty, nor all 0. Source: Kleinman 1973.
    """
    hits, n = np.asarray(hits, float), np.asarray(n, float)
    whole = min(max(hits.sum() / n.sum(), 1e-6), 1 - 1e-6)
    freedom = n.sum() - (n**2).sum() / n.sum()
    luck = (len(n) - 1) * whole * (1 - whole)
    between = max(((n * (hits / n - whole) ** 2).sum() - luck) / freedom, 0) if freedom else 0.0
    strength = np.clip(whole * (1 - whole) / max(between, 1e-9) - 1, 1, max(n.mean(), 1))
    a, b = whole * strength + hits, (1 - whole) * strength + n - hits
    return a / (a + b), *stats.beta.ppf([[0.025], [0.975]], a, b)


def urgent_by(rated, column, *, urgent, min_group):
    """Estimate the share of high-priority tickets of each group: DataFrame group, tickets, share, low, high.

    rated : tickets with an urgency, which is high from `urgent` down. The highest share comes first; groups
    of fewer than `min_group` tickets are left out.
    """
    names, unit = units_of(rated[column].fillna("").astype(str), min_group)
    n = np.bincount(unit[unit >= 0], minlength=len(names))
    is_urgent = (rated.urgency <= urgent).to_numpy(float)
    hits = np.bincount(unit[unit >= 0], is_urgent[unit >= 0], len(names))
    rate, low, high = shrunken_rates(hits, n) if len(n) else (np.zeros(0),) * 3
    shown = [readable(name) for name in names]
    table = pd.DataFrame({"group": shown, "tickets": n, "share": rate, "low": low, "high": high})
    return table.sort_values("share", ascending=False, ignore_index=True)


def cross_table(rows, columns, *, index, min_group):
    """Count two columns against each other, as text: DataFrame [group of `index`] one column per group.

    Groups of fewer than `min_group` tickets are left out, cells under it say "small". A cell that is masked
    alone in its line would follow from the sum of the line: the smallest other one is masked with it.
    """
    large = [units_of(rows[name].fillna("").astype(str), min_group)[0] for name in (index, columns)]
    inside = rows[rows[index].isin(large[0]) & rows[columns].isin(large[1])]
    counts = pd.crosstab(inside[index], inside[columns])
    hidden = (counts < min_group).to_numpy(bool, copy=True)
    for _ in range(2):  # what a row hides may be alone in its column
        for cells, values in ((hidden, counts.to_numpy()), (hidden.T, counts.to_numpy().T)):
            for line in np.flatnonzero(cells.sum(axis=1) == 1):
                cells[line, np.where(cells[line], np.inf, values[line]).argmin()] = True
    text = counts.astype(object).mask(hidden, "small")
    return text.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index]
