"""Accounting by the month, made by hand: weekly core hours of simulated series, summed up by month and dated as producers date them."""

import numpy as np
import pandas as pd

LAST = pd.Period("2026-01", "M")


def weekly_hours(months, sites=6, vos=4, *, seed=0, fitful=2):
    """Core hours of series over so many months: DataFrame site, vo, monday, core_hours; the last `fitful` sites compute in one week of five."""
    rng = np.random.default_rng(seed)
    mondays = pd.date_range((LAST - months + 1).start_time, LAST.end_time, freq="W-MON", tz="UTC")
    shape = (sites, vos, len(mondays))
    hours = np.exp(rng.normal(np.log(1000), 0.6, (sites, vos, 1)) + rng.normal(0, 0.3, shape))
    hours[sites - fitful :] *= rng.random((fitful, *shape[1:])) < 0.2
    site, vo, week = (x.ravel() for x in np.indices(shape))
    table = pd.DataFrame({"site": site, "vo": vo, "monday": mondays[week], "core_hours": hours.ravel()})
    return table.assign(site="S" + table.site.astype(str), vo="V" + table.vo.astype(str))


def dates_of(month, dated):
    """How a producer dates the months of the Series `month` (Period): on its last day, or on the next month's first."""
    dates = {"last day": month.dt.to_timestamp(how="end").dt.floor("D"), "next first": (month + 1).dt.to_timestamp()}
    return dates[dated]


def by_month(weekly, dated="last day", *, silent=()):
    """Raw records by site, VO and month of the weekly hours; the series `silent`, pairs, have none in the last month."""
    month = weekly.monday.dt.tz_localize(None).dt.to_period("M")
    sums = weekly.groupby(["site", "vo", month]).core_hours.sum().reset_index()
    is_silent = pd.MultiIndex.from_frame(sums[["site", "vo"]]).isin(list(silent)) & (sums.monday == LAST)
    sums = sums[(sums.core_hours > 0) & ~is_silent]
    end = dates_of(sums.monday, dated).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    names = {"SiteName": sums.site, "VOName": sums.vo, "EndTime": end, "CoreHours": sums.core_hours}
    amounts = {"WallDuration": sums.core_hours * 3600, "CpuDuration": sums.core_hours * 2880, "Njobs": sums.core_hours / 4, "Processors": 1}
    return pd.DataFrame(names | amounts)
