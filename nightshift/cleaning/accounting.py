"""From raw records of the accounting to series: one row per VO, site and week, or month, of that pair's life.

Records     typed, under one spelling of each name   type_records, normal_names, check_aliases
Rejected    the first reason that holds              why_rejected
Grid        weeks or months, by what the ends say    find_grid, how_dated
Steps       whole ones, silence as zeros             whole_steps, sum_steps, with_zeros
SCHEMA      the contract of the clean table
"""

import json
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pandera.pandas as pandera

from nightshift.sources.accounting.steps import MONTH, STEPS, WEEK, Step
from nightshift.sources.times import has_zone, in_utc, is_unreadable, read_times

NEEDED = [
    *("RecordId", "EndTime", "SiteName", "VOName", "CoreHours", "WallDuration", "CpuDuration"),
    *("Njobs", "Processors"),
]
AMOUNTS = {  # what is measured, and what the raw table calls it
    "core_hours": "CoreHours",
    "wall_s": "WallDuration",
    "cpu_s": "CpuDuration",
    "jobs": "Njobs",
    "cores": "Processors",
}
KEYS = ["site", "vo", "week"]
ONE_DAY = pd.Timedelta(days=1)

AMOUNT = pandera.Column(float, pandera.Check.ge(0), nullable=True)
START = pandera.Check(  # a week, the name of the column, is a month where the grid is monthly
    lambda s: s == Step.of_starts(s).starts(s), name="a Monday, or the first of a month, 00:00 UTC"
)
SCHEMA = pandera.DataFrameSchema(
    {
        "site": pandera.Column(str),
        "vo": pandera.Column(str),
        "week": pandera.Column("datetime64[us, UTC]", START),
        "core_hours": pandera.Column(float, pandera.Check.ge(0)),
        "wall_hours": AMOUNT,
        "cpu_hours": AMOUNT,
        "jobs": AMOUNT,
    },
    unique=KEYS,
)


# ---------------------------------------------------------------------------------------------------- Records


def type_records(raw, time_zone):
    """Type the raw records: DataFrame record_id, site, vo, end (UTC), and AMOUNTS as float64.

    raw : DataFrame of text with the columns NEEDED. time_zone : of times that name none, "" for UTC. What
    cannot be read, or falls into the hour that a zone skips, is missing. Core hours that are missing are wall
    time x processors, as GRACC itself does.
    """
    end = read_times(raw.EndTime, time_zone or "UTC", clock=partial(in_utc, first=False, gap="NaT"))
    records = {"record_id": raw.RecordId, "site": raw.SiteName, "vo": raw.VOName, "end": end}
    records = pd.DataFrame(records)
    for name, field in AMOUNTS.items():
        records[name] = pd.to_numeric(raw[field], errors="coerce").astype("float64")
    records["core_hours"] = records.core_hours.fillna(records.wall_s * records.cores / 3600)
    return records


def normal_names(names, aliases):
    """Find one spelling per name of the Series `names`: `aliases` {old: name} replaced, spaces collapsed, and
    of those that differ in case only the most frequent. An empty name is missing.
    """
    distinct = pd.Series(names.dropna().unique(), dtype="str")
    alias = {" ".join(str(old).split()).casefold(): str(new) for old, new in aliases.items()}
    tidy = [alias.get(name.casefold(), name) for name in distinct.str.split().str.join(" ")]
    spelt = names.map(dict(zip(distinct, tidy, strict=True))).astype("str")
    counts = spelt.value_counts().rename_axis("name").reset_index(name="records")
    counts = counts.sort_values(["records", "name"], ascending=[False, True])
    best = counts.groupby(counts.name.str.casefold()).name.first()
    return spelt.str.casefold().map(best).astype("str").replace("", np.nan)


def check_aliases(parameter, aliases):
    """Raise a ValueError, one line that names the `parameter`, unless `aliases` maps old names to names."""
    if not isinstance(aliases, dict) or not all(
        type(one) in (str, int) and str(one).strip() for pair in aliases.items() for one in pair
    ):
        raise ValueError(
            f"{parameter}: {aliases} must map old names to names, such as {{lumen: lumen.survey}}; "
            "names such as no and on need quotes"
        )


def unused_aliases(names, aliases):
    """Return those of the old names of `aliases` that the Series `names` does not hold: list; [] without any
    names.
    """
    there = set(names.dropna().str.split().str.join(" ").str.casefold())
    return [old for old in aliases if len(names) and " ".join(str(old).split()).casefold() not in there]


# --------------------------------------------------------------------------------------------------- Rejected


def why_rejected(raw, records, *, window_end, time_zone):
    """Say why each record is not used, by the first reason that holds, "" where it is: text (n,).

    raw, records : as `type_records` takes and gives them, names tidied. A record is used when it says who,
    where, when and how much, once. A copy differs in nothing that is measured: the same identity, place, time
    and amounts. Where only the amounts differ, a summary was made again: the later one replaces the earlier.
    """
    amounts, unread = records[list(AMOUNTS)], records.end.isna()
    no_zone = ~has_zone(raw.EndTime) & ~unread & (time_zone == "")
    reasons = {
        "no site": records.site.isna(),
        "no VO": records.vo.isna(),
        "time without zone (parameter time_zone)": no_zone,
        "time that cannot be read": unread & is_unreadable(raw.EndTime, records.end),
        "no time": unread,
        "after the window": records.end >= window_end,
        "missing or unreadable core hours": ~np.isfinite(records.core_hours),
        "negative amount": (amounts < 0).any(axis=1),
        "infinite amount": np.isinf(amounts).any(axis=1),
    }
    possible = ~np.logical_or.reduce([bad.to_numpy(bool) for bad in reasons.values()])
    identity = ["record_id", "site", "vo", "end", "probe"]
    named = records.assign(probe=raw.get("ProbeName"))[possible & records.record_id.notna()]
    copies = named.duplicated([*identity, *AMOUNTS])
    replaced = named[~copies].duplicated(identity, keep="last")
    reasons["same record again"] = copies.reindex(records.index, fill_value=False)
    again = "replaced by a later record with other amounts"
    reasons[again] = replaced.reindex(records.index, fill_value=False)
    return np.select([np.asarray(bad, bool) for bad in reasons.values()], list(reasons), default="")


# ------------------------------------------------------------------------------------------------------- Grid

# Of records spread over the days 7% end on the first or last day of a month, of weekly totals of five weeks
# or more at most 40%, of three four-weekly ones or more at most 67% (all phases from 1996 to 2036): so one in
# twenty may be dated otherwise, as corrections are
MONTHLY_SHARE, LEAST_MONTHS = 0.95, 3
# a month that is closed on its last day or on the next month's first; opened on its first, or that in another
# zone
SHIFTS = {"end": -ONE_DAY, "start": ONE_DAY / 2, "": 0 * ONE_DAY}


@dataclass(frozen=True)
class Grid:
    """The grid of an accounting's records.

    step : Step. share : of the records that end on the first or last day of a month, in `n_months` months.
    dated : whether such a record stands for the month that it ends ("end") or begins ("start"); "" where each
    record stands for its own time. why, why_dated : the reasons, in words.
    """

    step: Step
    share: float
    n_months: int
    dated: str = ""
    why: str = ""
    why_dated: str = ""

    def weeks_of(self, end):
        """Return the starts of the steps to which records with these ends (Series, UTC) belong."""
        return self.step.starts(end + SHIFTS[self.dated])

    def covered(self, end):
        """Return from when to when records with these ends (Series, UTC) say something: two times."""
        if not self.dated or end.empty:
            return end.min(), end.max()
        weeks = self.weeks_of(end)
        return weeks.min(), self.step.ends(weeks).max()


def find_grid(raw, end, *, grid="auto", dated="auto"):
    """Find the Grid of the records `raw` with these ends (Series, UTC).

    Records are monthly when MONTHLY_SHARE of them end on the first or last day of a month, in LEAST_MONTHS or
    more, and in two of three from the first to the last. grid : "week" or "month", which overrides that.
    dated : "end" or "start", which overrides `how_dated`.
    """
    at_edge = end.dt.is_month_start | end.dt.is_month_end
    share = float(at_edge.mean()) if len(end) else 0.0
    months = np.unique(MONTH.number(end[at_edge] - 2 * ONE_DAY))
    n_months, between = len(months), np.diff(months).sum() + 1
    is_monthly = share >= MONTHLY_SHARE and n_months >= max(LEAST_MONTHS, 2 / 3 * between)
    step = STEPS.get(grid, MONTH if is_monthly else WEEK)
    why = (
        f"{share:.1%} of {len(end):,} records end on the first or last day of a month, in {n_months} months "
        f"({MONTHLY_SHARE:.0%} in {LEAST_MONTHS} make it monthly; 7% would do so by chance)"
    )
    if grid in STEPS:
        why = f"the parameter grid says so; {why}"
    if step is WEEK or (dated == "auto" and not is_monthly):
        return Grid(step, share, n_months, why=why)
    dated, why_dated = (
        how_dated(raw, end) if dated == "auto" else (dated, "the parameter month_dated says so")
    )
    sides = {"end": "closes the month before", "start": "stands for the month that begins"}
    return Grid(
        step, share, n_months, dated, why, f"A record dated on the first {sides[dated]}, since {why_dated}."
    )


def how_dated(raw, end):
    """Tell whether monthly records dated on the first of a month stand for the month before or for the one
    that begins: ("end" or "start", why).

    raw : with EndTime, and StartTime among the fields in `more` where the source has it. end : Series, UTC,
    of the same records. A record that started weeks before closes that time; one that starts on the same day,
    or names no day, is a label of the month. Amounts cannot tell, so that without any of these `EndTime` is
    taken at its word.
    """
    on_first = raw[end.dt.day == 1]
    more = on_first.get("more", pd.Series(dtype=object)).dropna()
    begun = read_times(more.map(lambda text: json.loads(text).get("StartTime")))
    length = (end[begun.index] - begun).dropna()
    if on_first.EndTime.str.fullmatch(r"\s*\d{4}-\d{2}\s*").mean() > 0.5:
        return "start", "EndTime names a month and no day"
    if length.abs().median() <= ONE_DAY:
        return "start", "it starts on the same day"
    if len(length):
        return "end", f"it starts {length.median() // ONE_DAY} days earlier (median)"
    return "end", "it is called an end, and no start says otherwise"


# ------------------------------------------------------------------------------------------------------ Steps


def whole_steps(first, newest, window_end, step):
    """Find the whole steps of the grid: (start of the first whole one, that of the last one, whether the
    source ends before the window).

    first, newest : from when to when the source has records, NaT without any. A week or month that is not
    over, or that the source covers only in part, would look like a drop of everything. Without a record the
    first lies after the last.
    """
    first_step, last_step = window_end, step.shift(window_end, -1)  # the last one that is over
    if pd.notna(first):
        opening = step.shift(first, 0)
        first_step = step.shift(first, 1) if first - opening > ONE_DAY else opening
    unfinished = pd.notna(newest) and newest < step.shift(last_step, 1) - ONE_DAY
    if unfinished:
        last_step = step.shift(newest + ONE_DAY, -1)
    return first_step, last_step, unfinished


def sum_steps(records):
    """Sum up per site, VO and week: DataFrame site, vo, week, core_hours, wall_hours, cpu_hours, jobs.

    records : with their `week`, a step of the grid. Records without CPU time are taken to be as efficient as
    the others of their site, VO and week.
    """
    records = records.assign(
        wall_hours=records.wall_s / 3600,
        cpu_hours=records.cpu_s / 3600,
        cpu_known=records.core_hours.where(records.cpu_s.notna()),
    )
    amounts = ["core_hours", "wall_hours", "cpu_hours", "cpu_known", "jobs"]
    sums = records.groupby(KEYS)[amounts].sum(min_count=1).reset_index()
    sums["cpu_hours"] *= sums.core_hours / sums.cpu_known.where(sums.cpu_known > 0)
    return sums.drop(columns="cpu_known")


def with_zeros(sums, last_step, step, *, ended_steps):
    """Add a row of zeros to the sums for each step without records, up to `ended_steps` after the last active
    one and up to `last_step`, sorted by KEYS.

    That a series has stopped must be a row, not the absence of one. Only the past decides whether a step
    belongs to the life of a series.
    """
    active = sums[sums.core_hours > 0]
    number = pd.Series(step.number(active.week), active.index)
    last = step.number([last_step])[0]
    following = number.groupby([active.site, active.vo]).shift(-1).fillna(last + 1)
    gap = (following - number - 1).clip(upper=ended_steps).astype(int)
    gaps = active.loc[active.index.repeat(gap), KEYS]
    missing = number[gaps.index] + gaps.groupby(level=0).cumcount().to_numpy() + 1
    gaps = gaps.assign(
        week=step.moments(missing.to_numpy()), core_hours=0.0, wall_hours=0.0, cpu_hours=0.0, jobs=0.0
    )
    clean = pd.concat([active, gaps]).sort_values(KEYS, ignore_index=True)
    return clean.astype({"week": "datetime64[us, UTC]"})
