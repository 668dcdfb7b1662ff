"""The four tests of the tickets study: growing topics, surges of departments, backlogs and slow topics.

Each asks, at the end of every week and of what was known by then, how unlikely the tickets of a unit are
beside what its own past promises. A surprise is minus the logarithm of that chance, under a negative binomial
law. Units are the rows (U), weeks the columns (W).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from nightshift.catalog import study_of
from nightshift.statistics import benjamini_hochberg, p_values

PAST = 52  # weeks of memory
# weeks of memory at least; weeks between it and the night, so that a trouble that goes on is not part of what
# is usual
LEAST, GAP = study_of("tickets").least_history.weeks
WINDOWS = (1, 2, 4, 8)  # weeks over which tickets are counted; that with the largest surprise counts
SLOW_WINDOWS = (4, 8)  # weeks whose tickets are asked for their closings
LEAST_CLOSINGS = 20  # of a unit, from which its hazards are learned
LEAST_EARLIER = 100  # surprises of earlier weeks, from which a p-value is read
MOST = -np.log(np.finfo(float).tiny)  # 708: a burst of hundreds has a chance that is 0 in floating point


@dataclass(frozen=True)
class Spans:
    """When tickets were opened and closed, in hours of the clock.

    opened, closed : float (n,), `closed` NaN where a ticket is open or nobody knows when it was closed.
    unknown : bool (n,), the latter; they are in no waiting time and in no backlog.
    """

    opened: np.ndarray
    closed: np.ndarray
    unknown: np.ndarray


@dataclass(frozen=True)
class WeeklyTest:
    """One question asked of all its units at the ends of all weeks.

    surprise, observed, expected : float (U, W); NaN and 0 where nothing is expected. window : int (U, W),
    weeks that are counted. names : object (U,). by_week : float (U, W), tickets of each week; None where the
    question is not one of counts of tickets.
    """

    surprise: np.ndarray
    observed: np.ndarray
    expected: np.ndarray
    window: np.ndarray
    names: np.ndarray
    by_week: Any = None


def surprise(observed, expected, *, spread, below=False):
    """Compute minus the log of the chance of `observed` or more (or fewer, with `below`), MOST at most: float
    (U, W).

    expected (U, W) : mean of the law; the surprise is NaN where it is not above 0. spread (U, W) : squared
    relative error of that mean. The variance also holds the overdispersion, pooled over the units and learned
    from weeks that ended GAP weeks before or earlier; squared deviations count at most nine variances there,
    so that a trouble of the past does not hide one of today.
    """
    testable = expected > 0
    o, e = np.where(testable, observed, 0.0), np.where(testable, expected, 1.0)
    luck = e + np.where(testable, spread, 0.0) * e**2
    more = np.where(testable, np.minimum((o - e) ** 2, 9 * luck) - luck, 0.0).sum(axis=0).cumsum()
    weight = np.where(testable, e**2, 0.0).sum(axis=0).cumsum()
    more, weight = (np.concatenate([np.zeros(GAP), sums])[: len(sums)] for sums in (more, weight))
    overdispersion = np.divide(more, weight, out=np.zeros_like(more), where=weight > 0)
    variance = luck + np.maximum(overdispersion, 1e-3) * e**2
    law = stats.nbinom(e**2 / (variance - e), e / variance)
    with np.errstate(divide="ignore"):
        log_chance = law.logcdf(o) if below else law.logsf(o - 1)
    return np.where(testable, np.minimum(-log_chance, MOST), np.nan)


# ------------------------------------------------------------------------------------------ Counts and shares


def counts_in(first, second, *, shape):
    """Count the tickets of each pair of numbers, such as of a unit and a week: float `shape`.

    first, second : int (n,); tickets with a negative number are left out.
    """
    counts, inside = np.zeros(shape), (first >= 0) & (second >= 0)
    np.add.at(counts, (first[inside], second[inside]), 1)
    return counts


def share_surprise(counts, window):
    """Compare the tickets of the last `window` weeks with the share of all tickets that each unit had before.

    counts : float (U, W). Gives (surprise, observed, expected), each (U, W). A share is taken of all *other*
    tickets, so that a unit that grows does not hide itself, and bursts elsewhere are cut at three deviations:
    they do not mean that everybody should have written more. The share of the same weeks a year ago counts
    instead where it is larger.
    """
    sums = np.pad(counts.cumsum(axis=1), ((0, 0), (1, 0)))
    whole, t = sums.sum(axis=0), np.arange(counts.shape[1]) + 1

    def between(first, last):
        first, last = np.clip(first, 0, None), np.clip(last, 0, None)
        own = sums[:, last] - sums[:, first]
        return own, whole[last] - whole[first] - own

    now, others = between(t - window, t)
    past, others_past = between(t - window - PAST, t - window)
    # the same weeks a year ago, and one more at each side
    season, others_season = between(t - window - PAST - 1, t - PAST + 1)
    usual = (past + 0.5) / (others_past + 1)
    promised = others * usual
    # bursts elsewhere are no growth of the whole
    calm = np.minimum(now, promised + 3 * np.sqrt(promised) + 1)
    others = calm.sum(axis=0) - calm
    # as if 50 other tickets of that season had been as usual
    in_season = (season + 50 * usual) / (others_season + 50)
    expected = others * np.maximum(usual, in_season) * (t - window >= LEAST)
    # where the season counts; not `in_season > usual`, which rounding makes true of a season without a ticket
    counts_season = season > others_season * usual
    spread = 1 / (np.where(counts_season, season, past) + 0.5)
    return surprise(now, expected, spread=spread), now, expected


def whole_weeks(counts):
    """Compare all tickets of each week with the half year before and the same weeks a year ago.

    counts : float (W,). Gives (two-sided p-value, expected), each (W,), NaN where no half year is behind.
    """
    sums, t = np.pad(counts.cumsum(), (1, 0)), np.arange(len(counts))
    level = np.where(t >= LEAST, sums[t] - sums[np.maximum(t - LEAST, 0)], np.nan) / LEAST
    ago = np.maximum(t - PAST, 0)
    season = (sums[np.minimum(ago + 2, len(counts))] - sums[np.maximum(ago - 1, 0)]) / 3
    # drawn to one, as if five more tickets had been counted
    ratio = np.where(t >= PAST + LEAST, (season + 5) / (level[ago] + 5), 1.0)
    expected = (level * ratio)[None]
    spread = 1 / np.maximum(level * LEAST, 1)[None]
    more, fewer = (
        np.exp(-surprise(counts[None], np.nan_to_num(expected), spread=spread, below=below))[0]
        for below in (False, True)
    )
    return np.minimum(2 * np.fmin(more, fewer), 1), expected[0]


class OddWeeks(NamedTuple):
    """Weeks with more, or fewer, tickets than usual.

    expected : float (W,), NaN where unknown. judged : int (k,), numbers of the weeks that could be judged.
    p_law, p_rank : float (k,), by the law of the counts and by the rank among all weeks. odd : int, numbers
    of the weeks that are anomalous by their ranks.
    """

    expected: np.ndarray
    judged: np.ndarray
    p_law: np.ndarray
    p_rank: np.ndarray
    odd: np.ndarray


def judge_weeks(counts, *, false_discovery_rate):
    """Judge the tickets of each week, float (W,), by `whole_weeks` and the ranks of its p-values: OddWeeks.

    Fewer than LEAST weeks that can be judged are not judged at all. Adjusted by Benjamini & Hochberg 1995.
    """
    p_law, expected = np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    if len(counts) > LEAST:
        p_law, expected = whole_weeks(counts)
    judged = np.flatnonzero(np.isfinite(p_law))
    if len(judged) < LEAST:
        none = np.zeros(0, int)
        return OddWeeks(expected, none, np.zeros(0), np.zeros(0), none)
    surprises = -np.log(p_law[judged])
    p_rank = tail_p_values(surprises, surprises)
    odd = judged[benjamini_hochberg(p_rank) <= false_discovery_rate]
    return OddWeeks(expected, judged, p_law[judged], p_rank, odd)


# ---------------------------------------------------------------------------------------------------- Hazards


def cumulative_hazard(base, group, *, hours):
    """Sum up the hazards of `base` up to the `hours` (n,) of tickets of `group` (n,): float (n,).

    base : (group, hours, seen), arrays (m,) of the tickets to learn from; groups are numbers from 0, hours
    not negative, seen says whether the wait ended. At each end of a wait, the hazard is one over the number
    of tickets that still waited after as many hours. 0 where the group has no ticket in `base`. Source:
    Nelson 1972; Aalen 1978.
    """
    if not len(base[0]):
        return np.zeros(len(hours))
    order = np.lexsort((base[1], base[0]))
    g, h, seen = (np.asarray(x)[order] for x in base)
    first, last = np.searchsorted(g, g), np.searchsorted(g, g, side="right")
    step = seen / (last - np.arange(len(g)))
    total = step.cumsum()
    total = total - (total - step)[first]
    far = 1e7  # hours, more than any ticket is old: one search serves all groups
    at = np.searchsorted(g * far + h, group * far + hours, side="right") - 1
    return np.where((at >= 0) & (g[at] == group), total[at], 0.0)


def waits_at(spans, moment, *, since, until):
    """Select the tickets created after `since` and up to `until`, with their waits as they were at `moment`.

    since, until, moment : hours of the clock. Gives (rows, hours, seen): places in the `spans`, float and
    bool, where `seen` says whether the wait had ended.
    """
    opened, closed = spans.opened, spans.closed
    rows = np.flatnonzero((opened > since) & (opened <= until) & ~spans.unknown)
    seen = closed[rows] <= moment  # False where it is not closed
    return rows, np.where(seen, closed[rows], moment) - opened[rows], seen


def backlog_surprise(spans, unit, *, n_units, week_ends):
    """Compare the open tickets of each unit with what its usual hazards would leave open.

    unit : int (n,) of the tickets, from 0. week_ends : float (W,), hours of the clock. Gives (surprise,
    observed, expected), each (U, W). Hazards say what share of tickets of every age usually is still open;
    these shares add up to the expected number, so that many new tickets are no backlog by themselves.
    """
    observed, expected = np.zeros((n_units, len(week_ends))), np.zeros((n_units, len(week_ends)))
    for w in range(LEAST + GAP, len(week_ends)):
        then, now = week_ends[w - GAP], week_ends[w]
        rows, hours, seen = waits_at(spans, then, since=week_ends[max(w - GAP - PAST, 0)], until=then)
        asked, _, done = waits_at(spans, now, since=week_ends[max(w - PAST, 0)], until=now)
        enough = np.bincount(unit[rows], seen, n_units) >= LEAST_CLOSINGS
        ages = now - spans.opened[asked]
        left = np.exp(-cumulative_hazard((unit[rows], hours, seen), unit[asked], hours=ages))
        observed[:, w] = np.bincount(unit[asked], ~done, n_units)
        expected[:, w] = np.bincount(unit[asked], left, n_units) * enough
    return surprise(observed, expected, spread=np.zeros_like(expected)), observed, expected


def closings_of_others(closings, family):
    """Sum the closings (U,) of the other units of each one's `family`, and of all other units: (near, whole).

    family : int (U,), such as the number of the queue. `whole` has one added, so that it is never 0.
    """
    whole = closings.sum() - closings
    return np.bincount(family, closings)[family] - closings, whole + 1


def slow_surprise(spans, unit, *, family, week_ends, window):
    """Compare the closings among recent tickets of each unit with those that its hazards promise.

    unit : int (n,) of the tickets, from 0. family : int (U,), number of the queue of each unit. week_ends :
    float (W,), hours of the clock. window : weeks whose tickets are asked. Gives (surprise, closings seen,
    closings expected), each (U, W), by a one-sample log-rank test. What is promised is cut to the pace of the
    others of the queue, as if five closings of all queues were its own: a queue that is late is no news of
    one topic.
    """
    n_units = len(family)
    seen_now, expected, spread = (np.zeros((n_units, len(week_ends))) for _ in range(3))
    for w in range(LEAST + GAP, len(week_ends)):
        then, now = week_ends[w - GAP], week_ends[w]
        rows, hours, seen = waits_at(spans, now, since=week_ends[max(w - GAP - PAST, 0)], until=then)
        asked, ages, done = waits_at(spans, now, since=week_ends[w - window], until=now)
        closings = np.bincount(unit[rows], seen, n_units)
        hazards = cumulative_hazard((unit[rows], hours, seen), unit[asked], hours=ages)
        promised = np.bincount(unit[asked], hazards, n_units) * (closings >= LEAST_CLOSINGS)
        o = np.bincount(unit[asked], done, n_units)
        near, whole = closings_of_others(o, family)
        near_promised, whole_promised = closings_of_others(promised, family)
        # below one: all of them wait longer
        pace = (near + 5 * whole / whole_promised) / (near_promised + 5)
        seen_now[:, w], expected[:, w] = o, promised * np.clip(pace, 0.2, 1)
        spread[:, w] = 1 / np.maximum(closings, 1)
    expected[expected < 1] = 0  # one closing too few surprises nobody
    return surprise(seen_now, expected, spread=spread, below=True), seen_now, expected


# --------------------------------------------------------------------------------------- The tests of a night


def tail_p_values(scores, past, *, tail=0.2):
    """Compute the p-value of each of the `scores` (n,): its rank among `past` (m,), and beyond them a law.

    Beyond the upper share `tail` of the past, an exponential law goes on. Its scale is the median excess
    there, over log 2 (troubles of the past in fewer than a tenth of all weeks move it little), and at least
    1, which a surprise, minus a log probability, would have if its law were right. ValueError as from
    `p_values`.
    """
    p, limit = p_values(scores, past), np.quantile(past, 1 - tail)
    excess = past[past > limit] - limit
    scale = max(1.0, np.median(excess) / np.log(2)) if len(excess) else 1.0
    beyond = np.asarray(scores) > limit
    share = (1 + len(excess)) / (len(past) + 1)
    return np.where(beyond, share * np.exp(-np.maximum(scores - limit, 0) / scale), p)


def earlier(surprises, w):
    """Select the finite surprises (m,) of the weeks that ended GAP weeks before week `w` or earlier."""
    past = surprises[:, : max(w - GAP + 1, 0)]
    return past[np.isfinite(past)]


def night_tests(surprises, w):
    """Test all units at the end of week `w`: DataFrame kind, unit (its number), surprise, p_value, adjusted.

    surprises : {kind: float (U, W)}. A kind with fewer than LEAST_EARLIER earlier surprises is not tested;
    the table may be empty. adjusted : by Benjamini & Hochberg 1995 over all kinds.
    """
    tables = []
    for kind, of_kind in surprises.items():
        unit = np.flatnonzero(np.isfinite(of_kind[:, w]))
        past = earlier(of_kind, w)
        if len(unit) and len(past) >= LEAST_EARLIER:
            now = of_kind[unit, w]
            p = tail_p_values(now, past)
            tables.append(pd.DataFrame({"kind": kind, "unit": unit, "surprise": now, "p_value": p}))
    none = pd.DataFrame({name: [] for name in ("kind", "unit", "surprise", "p_value")})
    table = pd.concat(tables, ignore_index=True) if tables else none
    return table.assign(adjusted=benjamini_hochberg(table.p_value))


def best_window(tried, windows, *, names, by_week=None):
    """Keep the strongest of the (surprise, observed, expected) of several windows, as one WeeklyTest.

    tried : one such triple of (U, W) per window. Looking several times would make every p-value too small,
    were it not that the past is looked at as often.
    """
    surprises = np.stack([np.where(np.isnan(found[0]), -1.0, found[0]) for found in tried])
    best = surprises.argmax(axis=0)[None]
    chosen = [np.take_along_axis(np.stack(part), best, axis=0)[0] for part in zip(*tried, strict=True)]
    return WeeklyTest(*chosen, window=np.asarray(windows)[best[0]], names=names, by_week=by_week)


def growth_tests(group, week, *, n_weeks):
    """Test the growth of each unit.

    group : (names (U,), number (n,) of each ticket). week : int (n,), number of its week.
    """
    names, unit = group
    counts = counts_in(unit, week, shape=(len(names), n_weeks))
    tried = [share_surprise(counts, window) for window in WINDOWS]
    return best_window(tried, WINDOWS, names=names, by_week=counts)


def slow_tests(groups, spans, *, week_ends):
    """Test how slow each topic is, beside the other topics of the queue that most of its tickets lie in."""
    (names, unit), (queues, queue) = groups["topic"], groups["queue"]
    shape = (len(names) + 1, len(queues) + 1)
    family = counts_in(unit + 1, queue + 1, shape=shape).argmax(axis=1)
    # unit 0 are the tickets without a topic, which are no unit of their own
    tried = [
        slow_surprise(spans, unit + 1, family=family, week_ends=week_ends, window=window)
        for window in SLOW_WINDOWS
    ]
    return best_window([tuple(part[1:] for part in found) for found in tried], SLOW_WINDOWS, names=names)


def backlog_tests(group, spans, *, week_ends):
    """Test the backlog of all queues together and, where there are several, of each queue of the `group`."""
    queues, queue = group
    whole = backlog_surprise(spans, np.zeros(len(queue), int), n_units=1, week_ends=week_ends)
    each = backlog_surprise(spans, queue + 1, n_units=len(queues) + 1, week_ends=week_ends)
    rows = slice(1, None) if len(queues) > 1 else slice(0, 0)
    piles = tuple(np.concatenate([one, more[rows]]) for one, more in zip(whole, each, strict=True))
    names = np.array(["all queues", *queues[: len(piles[0]) - 1]], object)
    return best_window([piles], [1], names=names)


def all_tests(groups, spans, *, week, week_ends):
    """Ask the four questions: {kind: WeeklyTest}.

    groups : {"topic", "department", "queue": (names, number (n,) of each ticket's group, -1 for none)}.
    week : int (n,), number of the week of each ticket. week_ends : float (W,), hours of the clock.
    """
    return {
        "growing_topic": growth_tests(groups["topic"], week, n_weeks=len(week_ends)),
        "department_surge": growth_tests(groups["department"], week, n_weeks=len(week_ends)),
        "backlog": backlog_tests(groups["queue"], spans, week_ends=week_ends),
        "slow_topic": slow_tests(groups, spans, week_ends=week_ends),
    }
