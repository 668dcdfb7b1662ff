"""Scores of a stream judged by its own recent past, night after night.

A threshold from one old block of data fails as soon as the level drifts: on real services a stated share of
1% flagged 45% and more of the healthy windows. Here every night is judged by the nights just before it, of
the same entity; the share of alarms is steered towards the stated one; and a finding is a stretch of windows
whose strength is held against that of usual days.

    Level        what is usual, followed              follow_level
    Streams      entities, night by night             StreamSettings, Stream, judge_streams, judge_night
    Stretches    from windows to findings             Maxima, stretches_of
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

ONE_DAY, TWO_HOURS = pd.Timedelta(days=1), pd.Timedelta(hours=2)
HOURS = (pd.Timedelta(hours=1), pd.Timedelta(hours=6))
# a night without any alarm raises the level of alarms by half, one with twice as many lowers it by a third
STEERING = 0.4
STEERED = (0.05, 3.0)  # it stays between these multiples of the stated rate
LEAST_SPREAD = 0.05  # of the logarithm of a score: below lies only rounding
FITTED = np.array([0.25, 0.6])  # quantiles of the daily maxima that fit their distribution
BEGINS = 0.4  # of the limit: a stretch begins and ends where the strength passes this
LEAST_DAYS = 3  # daily maxima that it takes to fit one
SHARED = 14  # days that the spread of the median entity counts beside an entity's own


def follow_level(values, half_life, clip=5.0):
    """Follow what is usual in each column, causally and with bounded influence.

    values : (T, F), deviations in units of the usual spread, in the order of time, evenly spaced. half_life :
    steps. The level at t is the exponentially weighted mean of the values before t, each within +-`clip`, 0
    at the first: an outage moves it by at most `clip` / half_life a step, and a lasting change becomes the
    new usual. Returns (T, F); no row gives none.
    """
    before = pd.DataFrame(np.clip(values, -clip, clip)).shift(1, fill_value=0.0)
    return before.ewm(halflife=half_life, adjust=False).mean().to_numpy()


@dataclass(frozen=True)
class StreamSettings:
    """How a stream is judged.

    alarm_rate : share of the windows that may be flagged. finding_rate : false findings per entity and day.
    days : nights before that calibrate. gap : pause within a stretch. longest : a longer stretch is the new
    usual, and calibrates the nights to come. scales : lengths over which scores are averaged besides the
    window itself: a moderate trouble of many hours is clear only over hours.
    """

    alarm_rate: float
    finding_rate: float = 0.02
    days: int = 7
    gap: pd.Timedelta = TWO_HOURS
    longest: pd.Timedelta = ONE_DAY
    scales: tuple = HOURS


class Maxima:
    """How strong the strongest of a usual day is: Gumbel distributions of several entities, fitted together.

    fit : from {entity: (days, K) maxima}, K of them a day. Each distribution goes through two quantiles of
    the days, so that up to two days in five may be troubled ones, and reaches beyond all that was seen. The
    spread of an entity with n days counts n, that of the median entity SHARED days: a fortnight alone is too
    little for a tail. An entity with fewer than LEAST_DAYS days has no distribution. Source: Gumbel 1958, for
    maxima of many values.
    """

    def __init__(self, maxima):
        reduced = -np.log(-np.log(FITTED))
        long_enough = {name: days for name, days in maxima.items() if len(days) >= LEAST_DAYS}
        quantiles = {name: np.quantile(days, FITTED, axis=0) for name, days in long_enough.items()}
        spreads = {name: np.diff(ends, axis=0)[0] / np.diff(reduced) for name, ends in quantiles.items()}
        pooled = np.median(list(spreads.values()), axis=0) if spreads else None
        self.location, self.spread = {}, {}
        for name, days in long_enough.items():
            spread = (len(days) * spreads[name] + SHARED * pooled) / (len(days) + SHARED)
            self.spread[name] = np.maximum(spread, LEAST_SPREAD)
            self.location[name] = quantiles[name].mean(axis=0) - self.spread[name] * reduced.mean()

    def limits(self, name, rate):
        """Give the strengths that a usual day of an entity exceeds with the chance `rate`: (K,); None
        where it has no distribution.
        """
        if name not in self.location:
            return None
        return self.location[name] - self.spread[name] * np.log(-np.log1p(-rate))

    def chance(self, name, strengths):
        """Give the chance of a usual day of an entity to hold each of `strengths` (K,) or more: (K,)."""
        return -np.expm1(-np.exp(-(strengths - self.location[name]) / self.spread[name]))


def stretches_of(marked, starts, gap):
    """Merge marked windows to stretches, with pauses of up to `gap` between them: list of (first, last) rows.

    marked : bool (n,). starts : datetimes (n,), rising. None marked gives an empty list.
    """
    rows = np.flatnonzero(marked)
    if not len(rows):
        return []
    apart = np.flatnonzero(np.diff(starts[rows]) > gap)
    return list(zip(rows[np.r_[0, apart + 1]], rows[np.r_[apart, len(rows) - 1]], strict=True))


class Stream:
    """The windows of one entity, judged night by night.

    scores : (n,), finite, higher = stranger, on a logarithmic scale, smoothed as the detector wants. starts :
    datetimes (n,), rising. After `judge`: p_value (n,), 1 where the past is too short; flagged; strength (K,
    n) per scale, 0 in the median of the past and 1 at its 95th percentile; chance (n,), of a usual day to
    hold a stretch as strong, 1 outside stretches; stretch (n,), the number of the stretch, -1 outside.
    """

    def __init__(self, scores, starts, settings):
        self.settings, self.starts = settings, np.asarray(pd.DatetimeIndex(starts).tz_localize(None))
        self.scores = self.averaged(np.asarray(scores, float))
        n = self.scores.shape[1]
        self.p_value, self.chance, self.flagged = np.ones(n), np.ones(n), np.zeros(n, bool)
        self.strength, self.stretch = np.zeros(self.scores.shape), np.full(n, -1)
        self.has_past = np.zeros(n, bool)  # long enough for a p-value as small as the alarm rate
        self.is_trouble = np.zeros(n, bool)  # does not calibrate the nights to come
        self.level, self.maxima = settings.alarm_rate, []

    def averaged(self, scores):
        """Return the scores themselves and averaged over each scale, half of it ahead: (1 + K, n)."""
        series = pd.Series(scores, self.starts)
        longer = [series.rolling(scale, center=True, min_periods=1).mean() for scale in self.settings.scales]
        return np.stack([scores, *longer])

    def rows_of(self, day):
        """Return the rows of a day, a datetime64[D]: (first, behind the last)."""
        return np.searchsorted(self.starts, [day, day + np.timedelta64(1, "D")])

    def past_of(self, begin):
        """Rows of the nights that calibrate the one that begins with row `begin`: those without trouble,
        all where fewer than a day's worth are.
        """
        first = np.searchsorted(self.starts, self.starts[begin] - np.timedelta64(self.settings.days, "D"))
        rows = np.arange(first, begin)
        calm = rows[~self.is_trouble[rows]]
        return calm if len(calm) * self.settings.days >= len(rows) else rows

    def rank_night(self, begin, end):
        """Rank the rows [begin, end) among the nights before, and steer the level of alarms."""
        settings, past, night = self.settings, self.past_of(begin), slice(begin, end)
        if not len(past):
            return
        middle, high = np.quantile(self.scores[:, past], [0.5, 0.95], axis=1)
        spread = np.maximum(high - middle, LEAST_SPREAD)
        self.strength[:, night] = (self.scores[:, night] - middle[:, None]) / spread[:, None]
        usual = np.sort(self.scores[0, past])
        self.has_past[night] = (len(usual) + 1) * settings.alarm_rate >= 1
        above = len(usual) - np.searchsorted(usual, self.scores[0, night], side="left")
        ranks = (1 + above) / (len(usual) + 1)
        self.p_value[night] = np.minimum(ranks * settings.alarm_rate / self.level, 1)
        self.flagged[night] = self.p_value[night] <= settings.alarm_rate
        share = self.flagged[night].mean() / settings.alarm_rate
        low, high = (multiple * settings.alarm_rate for multiple in STEERED)
        self.level = float(np.clip(self.level * np.exp(STEERING * (1 - share)), low, high))
        self.maxima.append(self.strength[:, night].max(axis=1))

    def find_stretches(self, begin, end, maxima, name):
        """Merge the strong windows of this night and the one before to stretches, and keep those that a usual
        day does not hold.

        maxima : a Maxima of the nights before, in which the stream has a `name`.
        """
        limits = maxima.limits(name, self.settings.finding_rate / len(self.strength))
        if limits is None:
            return
        first = np.searchsorted(self.starts, self.starts[begin] - np.timedelta64(1, "D"))
        relative, starts = self.strength[:, first:end] / limits[:, None], self.starts[first:end]
        marked = (relative > BEGINS).any(axis=0)
        for low, high in stretches_of(marked, starts, self.settings.gap.to_timedelta64()):
            if relative[:, low : high + 1].max() <= 1 or first + high < begin:
                continue
            rows = slice(first + low, first + high + 1)
            chances = maxima.chance(name, self.strength[:, rows].max(axis=1))
            self.chance[rows] = min(1.0, len(chances) * chances.min())
            before = self.stretch[rows][self.stretch[rows] >= 0]
            self.stretch[rows] = before[0] if len(before) else self.stretch.max() + 1
            self.is_trouble[rows] = starts[high] - starts[low] <= self.settings.longest.to_timedelta64()


def judge_streams(windows, settings, *, entity="node_id", score="score"):
    """Judge the streams of all entities: DataFrame p_value, flagged, strength, chance, stretch, has_past, a
    row per row of `windows`.

    windows : DataFrame entity, start, score, sorted by entity and start. Numbers of stretches count per
    entity; -1 is none. No window gives no row. ValueError where a score is not finite.

    Sources: conformal p-values of a trailing window with a level that corrects itself, after Gibbs & Candes
    2021 (adaptive conformal inference), here nightly and on a logarithmic scale, so that it never leaves its
    bounds; trouble that was found does not calibrate, up to `longest`.
    """
    if not np.isfinite(windows[score].to_numpy(float)).all():
        raise ValueError("judge_streams: a score is not finite")
    rows_of = windows.groupby(entity, sort=False).indices
    streams = {
        name: Stream(windows[score].iloc[rows], windows.start.iloc[rows], settings)
        for name, rows in rows_of.items()
    }
    days = np.unique(pd.DatetimeIndex(windows.start).tz_localize(None).to_numpy().astype("datetime64[D]"))
    for day in days:
        judge_night(streams, day, memory=2 * settings.days)
    columns = {"p_value": 1.0, "flagged": False, "strength": 0.0, "chance": 1.0, "stretch": -1}
    columns |= {"has_past": False}
    judged = {name: np.full(len(windows), value) for name, value in columns.items()}
    for name, rows in rows_of.items():
        for column, values in judged.items():
            found = getattr(streams[name], column)
            values[rows] = found[0] if column == "strength" else found
    return pd.DataFrame(judged, index=windows.index)


def judge_night(streams, day, *, memory):
    """Judge one day of all streams, {entity: Stream}, by the nights before.

    memory : nights whose maxima say what a usual day holds.
    """
    edges = {name: stream.rows_of(day) for name, stream in streams.items()}
    edges = {name: edge for name, edge in edges.items() if edge[0] < edge[1]}
    maxima = {name: np.array(streams[name].maxima[-memory:]) for name in edges}
    distributions = Maxima(maxima)
    for name, (begin, end) in edges.items():
        streams[name].rank_night(begin, end)
        streams[name].find_stretches(begin, end, distributions, name)
