"""From raw records of the accounting to weekly series: one row per VO, site and week of that pair's life.

Records     typed, under one spelling of each name   type_records, normal_names, check_aliases
Rejected    the first reason that holds              why_rejected
Weeks       whole ones, silence as zeros             whole_weeks, weekly_sums, with_zeros
SCHEMA      the contract of the clean table
"""

from functools import partial

import numpy as np
import pandas as pd
import pandera.pandas as pandera

from nightshift.sources.times import has_zone, in_utc, is_unreadable, read_times, week_of

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
ONE_WEEK, ONE_DAY = pd.Timedelta(days=7), pd.Timedelta(days=1)

AMOUNT = pandera.Column(float, pandera.Check.ge(0), nullable=True)
MONDAY = pandera.Check(
    lambda s: (s.dt.day_of_week == 0) & (s.dt.normalize() == s), name="a Monday, 00:00 UTC"
)
SCHEMA = pandera.DataFrameSchema(
    {
        "site": pandera.Column(str),
        "vo": pandera.Column(str),
        "week": pandera.Column("datetime64[us, UTC]", MONDAY),
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
    """Return those of the old names of `aliases` that the Series `names` does not hold: list; none without
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


# ------------------------------------------------------------------------------------------------------ Weeks


def whole_weeks(end, window_end):
    """Find the whole weeks: (Monday of the first whole week, that of the last one, whether the source ends
    before the window).

    end : Series of the ends of all records. A week that is not over, or that the source covers only in part,
    would look like a drop of everything: nobody has a record after the source has ended. Without a record the
    first lies after the last.
    """
    first, newest = end.min(), end.max()
    opening, first_week = week_of(end).min(), window_end
    if len(end):
        first_week = opening + ONE_WEEK if first - opening > ONE_DAY else opening
    last_week = window_end - pd.Timedelta(days=window_end.day_of_week) - ONE_WEEK  # the last one that is over
    unfinished = pd.notna(newest) and newest < last_week + ONE_WEEK - ONE_DAY
    while unfinished and newest < last_week + ONE_WEEK - ONE_DAY:
        last_week -= ONE_WEEK
    return first_week, last_week, unfinished


def weekly_sums(weekly):
    """Sum up per site, VO and week: DataFrame site, vo, week, core_hours, wall_hours, cpu_hours, jobs.

    weekly : records with their `week`. Records that do not know their CPU time are taken to be as efficient
    as the others of their week.
    """
    weekly = weekly.assign(
        wall_hours=weekly.wall_s / 3600,
        cpu_hours=weekly.cpu_s / 3600,
        cpu_known=weekly.core_hours.where(weekly.cpu_s.notna()),
    )
    amounts = ["core_hours", "wall_hours", "cpu_hours", "cpu_known", "jobs"]
    sums = weekly.groupby(KEYS)[amounts].sum(min_count=1).reset_index()
    sums["cpu_hours"] *= sums.core_hours / sums.cpu_known.where(sums.cpu_known > 0)
    return sums.drop(columns="cpu_known")


def with_zeros(sums, last_week, *, ended_weeks):
    """Add a row of zeros to the weekly sums for each week without records, up to `ended_weeks` after the last
    active one and up to `last_week`, sorted by KEYS.

    That a series has stopped must be a row, not the absence of one. Only the past decides whether a week
    belongs to the life of a series.
    """
    active = sums[sums.core_hours > 0]
    following = active.groupby(["site", "vo"]).week.shift(-1).fillna(last_week + ONE_WEEK)
    gap = ((following - active.week) // ONE_WEEK - 1).clip(upper=ended_weeks).astype(int)
    gaps = active.loc[active.index.repeat(gap), KEYS]
    gaps["week"] += pd.to_timedelta(7 * (gaps.groupby(level=0).cumcount() + 1), unit="D")
    gaps = gaps.assign(core_hours=0.0, wall_hours=0.0, cpu_hours=0.0, jobs=0.0)
    clean = pd.concat([active, gaps]).sort_values(KEYS, ignore_index=True)
    return clean.astype({"week": "datetime64[us, UTC]"})
