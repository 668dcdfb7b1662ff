"""Scores of a stream judged by its own recent past, night after night.

A threshold from one old block of data fails as soon as the level drifts: on real services a stated share of
1% flagged 45% and more of the healthy windows. Here every night is judged by the nights just before it, of
the same entity; the share of alarms is steered towards the stated one; and a finding is a stretch of windows
whose strength is held against that of usual days.

    Level        what is usual, and the alarms         follow_level, steered
    Streams      entities, night by night             StreamSettings, Stream, judge_streams, judge_night
    Stretches    from windows to findings             fit_maxima, Maxima, stretches_of
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm, t

ONE_DAY, TWO_HOURS = pd.Timedelta(days=1), pd.Timedelta(hours=2)
HOURS = (pd.Timedelta(hours=1), pd.Timedelta(hours=6))
# a night without any alarm raises the level of alarms by half, one with twice as many lowers it by a third
STEERING = 0.4
STEERED = (0.05, 3.0)  # it stays between these multiples of the stated rate
LEAST_SPREAD = 0.05  # of the logarithm of a score: below lies only rounding
FITTED = (0.5, 0.75)  # quantiles of the daily maxima that fit their distribution
PER_DEGREE = 6.4  # of so many days these quantiles tell as much of a spread as one degree of freedom does
BEGINS = 0.7  # a stretch begins and ends where the strength passes this, however strict the limit
LEAST_DAYS = 3  # daily maxima that it takes to judge an entity
MEMORY = 3  # times the nights that calibrate: so many daily maxima say what a usual day holds


def follow_level(values, half_life, clip=5.0):
    """Follow what is usual in each column, causally and with bounded influence.

    values : (T, F), deviations in units of the usual spread, in the order of time, evenly spaced. half_life :
    steps. The level at t is the exponentially weighted mean of the values before t, each within +-`clip`, 0
    at the first: an outage moves it by at most `clip` / half_life a step, and a lasting change becomes the
    new usual. Returns (T, F); no row gives none.
    """
    before = pd.DataFrame(np.clip(values, -clip, clip)).shift(1, fill_value=0.0)
    return before.ewm(halflife=half_life, adjust=False).mean().to_numpy()


def steered(level, share, alarm_rate):
    """Steer the level of alarms, after a stretch with the share `share` of them, towards the `alarm_rate`."""
    low, high = (multiple * alarm_rate for multiple in STEERED)
    return float(np.clip(level * np.exp(STEERING * (1 - share / alarm_rate)), low, high))


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


def fit_maxima(days):
    """Fit Student's distribution to daily maxima (n,) by their median and third quartile: (degrees of
    freedom, location, scale), as `scipy.stats.t` takes them.

    So a quarter of the days may be troubled. For many days it is normal, since means over hours have a
    lighter tail than the Gumbel distribution of single values: fitted likewise, that has its limit for one
    day in fifty 0.4 above the one of real healthy servers, the normal one 0.1. Few days leave the spread
    uncertain: the variance of this estimate is 3.2 / n of its square, that of a standard deviation with d
    degrees of freedom 0.5 / d (Mosteller 1946; Student 1908).
    """
    middle, high = np.quantile(days, FITTED)
    return len(days) / PER_DEGREE, middle, max((high - middle) / norm.ppf(FITTED[1]), LEAST_SPREAD)


class Maxima:
    """How strong the strongest of a usual day is, of all entities together.

    maxima : {entity: (days,)}, strength of each day. is_usual : {entity: bool (days,)}, which of them held
    no trouble that was found; all count where hardly one did. rate : share of usual days that may pass the
    limit. Strengths are in units of each entity's own past, so that their days are alike, and a fortnight of
    one alone is too little for a tail. An entity that passes the common limit on more than a quarter of its
    days has a habit, such as a nightly backup, and is judged by its own days. One with fewer than LEAST_DAYS
    days is not judged.
    """

    def __init__(self, maxima, is_usual, rate):
        self.rate, self.fits = rate, {}
        judged = {name: days for name, days in maxima.items() if len(days) >= LEAST_DAYS}
        usual = [days[is_usual[name]] for name, days in judged.items()]
        if sum(map(len, usual)) < LEAST_DAYS:
            usual = list(judged.values())
        if not judged:
            return
        common = fit_maxima(np.concatenate(usual))
        for name, days in judged.items():
            has_habit = np.quantile(days, FITTED[1]) > t.isf(rate, *common)
            self.fits[name] = fit_maxima(days) if has_habit else common

    def limit(self, name):
        """Give the strength that a usual day of an entity passes with the chance `rate`; None without."""
        return t.isf(self.rate, *self.fits[name]) if name in self.fits else None

    def chance(self, name, strengths):
        """Give the chance of a usual day of an entity to hold each of `strengths` (n,) or more: (n,)."""
        return t.sf(strengths, *self.fits[name])


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
    datetimes (n,), rising. After `judge`: p_value (n,), 1 where the past is too short; flagged; strength
    (n,), 0 in the median of the past and 1 at its 95th percentile, mean of the scales: a trouble is strong
    both in its windows and over hours; chance (n,), of a usual day to hold a window as strong, 1 outside
    stretches; stretch (n,), the number of the stretch, -1 outside.
    """

    def __init__(self, scores, starts, settings):
        self.settings, self.starts = settings, np.asarray(pd.DatetimeIndex(starts).tz_localize(None))
        self.scores = self.averaged(np.asarray(scores, float))
        n = self.scores.shape[1]
        self.p_value, self.chance, self.flagged = np.ones(n), np.ones(n), np.zeros(n, bool)
        self.strength, self.stretch = np.zeros(n), np.full(n, -1)
        self.has_past = np.zeros(n, bool)  # long enough for a p-value as small as the alarm rate
        self.is_trouble = np.zeros(n, bool)  # does not calibrate the nights to come
        self.level, self.nights = settings.alarm_rate, []

    def averaged(self, scores):
        """Return the scores themselves and averaged over each scale, half of it ahead: (1 + K, n)."""
        series = pd.Series(scores, self.starts)
        longer = [series.rolling(scale, center=True, min_periods=1).mean() for scale in self.settings.scales]
        return np.stack([scores, *longer])

    def rows_of(self, day):
        """Return the rows of a day, a datetime64[D]: (first, behind the last)."""
        return np.searchsorted(self.starts, [day, day + np.timedelta64(1, "D")])

    def past_of(self, begin):
        """Rows of the nights that calibrate the one that begins with row `begin`: (all, those without
        trouble); all for both where these are less than a day's worth.
        """
        first = np.searchsorted(self.starts, self.starts[begin] - np.timedelta64(self.settings.days, "D"))
        rows = np.arange(first, begin)
        calm = rows[~self.is_trouble[rows]]
        return rows, calm if len(calm) * self.settings.days >= len(rows) else rows

    def rank_night(self, begin, end):
        """Rank the rows [begin, end) among the nights before, and steer the level of alarms.

        Trouble that was found stays in the units of strength: without it, each finding would make the next
        one easier, and twice as many findings on real services were false.
        """
        settings, night, (past, calm) = self.settings, slice(begin, end), self.past_of(begin)
        if not len(past):
            return
        middle, high = np.quantile(self.scores[:, past], [0.5, 0.95], axis=1)
        spread = np.maximum(high - middle, LEAST_SPREAD)
        self.strength[night] = ((self.scores[:, night] - middle[:, None]) / spread[:, None]).mean(axis=0)
        usual = np.sort(self.scores[0, calm])
        self.has_past[night] = (len(usual) + 1) * settings.alarm_rate >= 1
        above = len(usual) - np.searchsorted(usual, self.scores[0, night], side="left")
        ranks = (1 + above) / (len(usual) + 1)
        self.p_value[night] = np.minimum(ranks * settings.alarm_rate / self.level, 1)
        self.flagged[night] = self.p_value[night] <= settings.alarm_rate
        self.level = steered(self.level, self.flagged[night].mean(), settings.alarm_rate)
        self.nights.append(night)

    def days_before(self):
        """Give what the last nights held: the strength of each (days,), and whether it was no trouble."""
        nights = self.nights[-MEMORY * self.settings.days :]
        maxima = np.array([self.strength[night].max() for night in nights])
        return maxima, np.array([not self.is_trouble[night].any() for night in nights], bool)

    def find_stretches(self, begin, end, maxima, name):
        """Merge the strong windows of this night and the one before to stretches, and keep those that a usual
        day does not hold.

        maxima : a Maxima of the nights before, in which the stream has a `name`.
        """
        limit = maxima.limit(name)
        if limit is None:
            return
        first = np.searchsorted(self.starts, self.starts[begin] - np.timedelta64(1, "D"))
        strength, starts = self.strength[first:end], self.starts[first:end]
        for low, high in stretches_of(strength > BEGINS, starts, self.settings.gap.to_timedelta64()):
            rows = slice(first + low, first + high + 1)
            if self.strength[rows].max() <= limit or first + high < begin:
                continue
            self.chance[rows] = maxima.chance(name, self.strength[rows])
            before = self.stretch[rows][self.stretch[rows] >= 0]
            self.stretch[rows] = before[0] if len(before) else self.stretch.max() + 1
            self.is_trouble[rows] = starts[high] - starts[low] <= self.settings.longest.to_timedelta64()


def judge_streams(windows, settings, *, entity="node_id", score="score"):
    """Judge the streams of all entities: DataFrame p_value, flagged, strength, chance, stretch, has_past, a
    row per row of `windows`.

    windows : DataFrame entity, start, score, sorted by entity and start. Numbers of stretches count per
    entity; -1 is none. A window without an entity is judged by nothing, and raises no alarm. No window gives
    no row. ValueError where a score is not finite.

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
        judge_night(streams, day, settings.finding_rate)
    columns = {"p_value": 1.0, "flagged": False, "strength": 0.0, "chance": 1.0, "stretch": -1}
    columns |= {"has_past": False}
    judged = {name: np.full(len(windows), value) for name, value in columns.items()}
    for name, rows in rows_of.items():
        for column, values in judged.items():
            values[rows] = getattr(streams[name], column)
    return pd.DataFrame(judged, index=windows.index)


def judge_night(streams, day, finding_rate):
    """Judge one day of all streams, {entity: Stream}, by the nights before.

    finding_rate : false findings per entity and day.
    """
    edges = {name: stream.rows_of(day) for name, stream in streams.items()}
    edges = {name: edge for name, edge in edges.items() if edge[0] < edge[1]}
    before = {name: streams[name].days_before() for name in edges}
    maxima, is_usual = ({name: pair[i] for name, pair in before.items()} for i in (0, 1))
    distribution = Maxima(maxima, is_usual, finding_rate)
    for name, (begin, end) in edges.items():
        streams[name].rank_night(begin, end)
        streams[name].find_stretches(begin, end, distribution, name)
