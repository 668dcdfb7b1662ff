"""How long users wait: the clock, medians that count open tickets, groups compared, times to closure."""

import re

import numpy as np
import pandas as pd
from statsmodels.duration.survfunc import SurvfuncRight

from nightshift.analysis.tickets_texts import UNNAMED, readable
from nightshift.detectors.tickets import kaplan_meier_median, log_rank
from nightshift.detectors.tickets_surprises import Spans
from nightshift.statistics import benjamini_hochberg

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MINUTES_OF_A_DAY = 24 * 60

# -------------------------------------------------------------------------------------------------- The clock


def read_stretch(text):
    """Read a day such as "05-01" or a stretch such as "12-24 to 01-01": (first, last, their strftime format).

    first, last : str in that format, which has no year for what is of every year. ValueError for what is
    none, and for a stretch of years that ends before it begins.
    """
    first, to, last = text.partition(" to ")
    form = {5: "%m-%d", 10: "%Y-%m-%d"}.get(len(first), "")
    year = "2000-" if form == "%m-%d" else ""
    try:
        first, last = (
            pd.to_datetime(year + day, format="%Y-%m-%d") for day in (first, last if to else first)
        )
        if not (form == "%m-%d" or (form and first <= last)):
            raise ValueError(text)
    except ValueError:
        raise ValueError(
            f"closed_days names {text!r}: a day reads like 05-01 or 2026-04-03, a stretch like 12-24 to 01-01"
        ) from None
    return first.strftime(form), last.strftime(form), form


def is_closed(dates, closed_days):
    """Find which of `dates` (DatetimeIndex) lie in one of the days or stretches `closed_days`: bool (n,).

    closed_days : list of str, as `read_stretch` takes them. ValueError for what is no such list.
    """
    if isinstance(closed_days, str):
        raise ValueError(f'closed_days is {closed_days!r}: it must be a list, such as ["12-24 to 01-01"]')
    closed = np.zeros(len(dates), bool)
    for first, last, form in map(read_stretch, map(str, closed_days)):
        day_of = dates.strftime(form)
        after, before = day_of >= first, day_of <= last
        closed |= after & before if first <= last else after | before  # the latter over the turn of the year
    return closed


def read_working_hours(text):
    """Read hours such as "mon-fri 08:00-18:00": (first day, last day, opening, closing), as int.

    Days count from 0 for Monday, opening and closing are in minutes. ValueError for what is no such text.
    """
    days = "|".join(DAYS)
    clock = r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)"
    form = re.fullmatch(rf"({days})-({days}) {clock}", text.lower())
    opens, closes = (60 * int(form[i]) + int(form[i + 1]) for i in (3, 5)) if form else (0, 0)
    if not opens < closes <= MINUTES_OF_A_DAY:
        raise ValueError(f"working_hours is {text!r}: it must read like mon-fri 08:00-18:00")
    return DAYS.index(form[1]), DAYS.index(form[2]), opens, closes


def hours_before(moments, working_hours, *, timezone, closed_days=()):
    """Read a clock that runs in working hours only at each of `moments`: hours, float (n,), NaN for a missing
    one.

    moments : Series of datetime64, UTC. working_hours : "" for all hours, else as `read_working_hours` takes
    them, in `timezone`. closed_days : as `is_closed` takes them. Where the clock begins means nothing; the
    difference of two readings is a waiting time. ValueError for what is no such text. Every day's hours
    become a stretch between two moments in UTC, so that a night in which the clocks change needs no rule of
    its own. Of all other time a hundred millionth counts, so that what came first stays first: a week that
    ends on a holiday must not know of tickets that were closed after it.
    """
    on_wall = ((moments - moments.min()) / pd.Timedelta(hours=1)).to_numpy(float)
    if not (working_hours or closed_days) or moments.isna().all():
        return on_wall
    first, last, opens, closes = read_working_hours(working_hours or "mon-sun 00:00-24:00")
    local, one_day = moments.dt.tz_convert(timezone).dt.tz_localize(None), pd.Timedelta(days=1)
    days = pd.date_range(local.min().normalize() - one_day, local.max().normalize() + one_day)
    is_worked = (days.day_of_week - first) % 7 <= (last - first) % 7
    days = days[is_worked & ~is_closed(days, closed_days)]
    if not len(days):
        return 1e-8 * on_wall
    begin, end = (
        (days + pd.Timedelta(minutes=at)).tz_localize(
            timezone, ambiguous=np.full(len(days), at == opens), nonexistent="shift_forward"
        )
        for at in (opens, closes)
    )
    worked = np.concatenate([[0], np.cumsum((end - begin) / pd.Timedelta(hours=1))])
    day_of = np.maximum(begin.searchsorted(moments.fillna(moments.min()), side="right") - 1, 0)
    since = (moments - begin[day_of]) / pd.Timedelta(hours=1)
    return worked[day_of] + since.clip(0, np.diff(worked)[day_of]).to_numpy() + 1e-8 * on_wall


def unused_closed_days(first, last, *, closed_days, timezone):
    """Say that none of the `closed_days` lies between two moments, UTC; "" where one does, or without any."""
    first, last = (at.tz_convert(timezone).tz_localize(None).normalize() for at in (first, last))
    days = pd.date_range(first, last)
    if not closed_days or not len(days) or is_closed(days, closed_days).any():
        return ""
    return (
        f"None of the closed_days ({', '.join(map(str, closed_days))}) lies between {days[0]:%Y-%m-%d} and "
        f"{days[-1]:%Y-%m-%d}: they change nothing yet."
    )


def clock_words(working_hours, closed_days):
    """Say what an hour of the clock is called, and which hours count, "" for all: two str."""
    of_clock = f"of {working_hours}" if working_hours else ""
    if closed_days:
        of_clock = f"{of_clock} outside closed days".strip()
    return "h of work" if working_hours else "h", of_clock


def spans_of(tickets, week_ends, working_hours, *, timezone, closed_days):
    """Put tickets and weeks on the clock: (Spans; first answers, float (n,); ends of weeks, float (W,)).

    tickets : DataFrame created, closed, first_response, open. week_ends : Series of datetime64 (W,), empty
    without times. All else as for `hours_before`. A ticket that is neither open nor has a closing was closed,
    nobody knows when; without times, none counts as such.
    """
    times = [tickets[name] for name in ("created", "closed", "first_response")]
    clock = hours_before(
        pd.concat([*times, week_ends], ignore_index=True),
        working_hours,
        timezone=timezone,
        closed_days=closed_days,
    )
    opened, closed, answered, ends = np.split(clock, len(tickets) * np.array([1, 2, 3]))
    unknown = np.zeros(len(tickets), bool)
    if len(week_ends):
        unknown = (np.isnan(closed) & ~tickets.open).to_numpy(bool)
    return Spans(opened, closed, unknown), answered, ends


def weeks_until(created, end):
    """Count weeks back from `end`: (number of each ticket's week, int (n,); Series (W,) of their ends).

    created : Series of datetime64, UTC, not after `end`; without times, all are NaT and there is no week. A
    week is seven days up to the end of the night, so that none is cut.
    """
    age = ((end - created) / pd.Timedelta(days=7)).clip(lower=1e-9)
    n_weeks = int(age.max()) + 1 if created.notna().any() else 0
    days_ago = pd.to_timedelta(7 * np.arange(n_weeks - 1, -1, -1), unit="D")
    week_ends = pd.Series(end - days_ago, dtype="datetime64[us, UTC]")
    return n_weeks - 1 - age.fillna(0).astype(int).to_numpy(), week_ends


def add_waits(tickets, spans, *, answered, last_end):
    """Add resolution_h, response_h (hours) and resolution_seen, response_seen (bool) to the tickets.

    spans : Spans of the tickets. answered : float (n,), hours of the clock, NaN where there was no first
    answer. last_end : end of the night on that clock, NaN without times. What was not reached is censored:
    at the closing, else at the end of the night, and at once where nobody knows when it was closed.
    """
    still = np.where(spans.unknown, spans.opened, last_end)
    last_seen = np.where(np.isnan(spans.closed), still, spans.closed)
    columns = {}
    for name, done in (("resolution", spans.closed), ("response", answered)):
        columns[f"{name}_h"] = np.maximum(np.where(np.isnan(done), last_seen, done) - spans.opened, 0)
        columns[f"{name}_seen"] = ~np.isnan(done)
    return tickets.assign(**columns)


# ---------------------------------------------------------------------------------------------------- Medians


def median_wait(rows, what="resolution"):
    """Estimate the median time to `what` of some tickets, as `kaplan_meier_median` gives it."""
    return kaplan_meier_median(rows[f"{what}_h"], rows[f"{what}_seen"])


def in_hours(wait, hour="h"):
    """Write a (median, low, high) as text. hour : "h", or what else an hour is called, such as "h of work".

    inf is a median that is not reached; then the interval says at least how long it is.
    """
    median, low, high = wait
    words = [f"{x:,.1f}" if np.isfinite(x) else "not reached" for x in (median, low, high)]
    if not np.isfinite(median):
        return f"not reached (at least {words[1]} {hour})" if np.isfinite(low) else "not reached"
    interval = f"{words[1]} to {words[2]}" if np.isfinite(low) else "interval not known"
    return f"{words[0]} {hour} ({interval})"


def large_groups(rows, column, least):
    """List the groups of a column with at least `least` tickets, the largest first; unnamed ones left out."""
    sizes = rows[column].value_counts()
    return [name for name in sizes.index[sizes >= least] if name not in UNNAMED]


def waits_by(rows, column, *, least, what="resolution"):
    """Estimate the median waits of the groups of a column: DataFrame group, tickets, open, median, low, high.

    least : tickets that a group must have. The longest come first. Last come groups of which nobody knows
    even how long the median is at least, such as those whose tickets are all new.
    """
    table = []
    for name in large_groups(rows, column, least):
        of_group = rows[rows[column] == name]
        table.append((name, len(of_group), int(of_group.open.sum()), *median_wait(of_group, what)))
    table = pd.DataFrame(table, columns=["group", "tickets", "open", "median", "low", "high"])
    table = table.astype(dict.fromkeys(["median", "low", "high"], float))
    bounded = np.isfinite(table["low"]) | np.isfinite(table["median"])
    table = table.assign(bounded=bounded).sort_values(
        ["bounded", "median"], ascending=False, ignore_index=True
    )
    return table.drop(columns="bounded")


def waiting_table(rows, column, *, kinds, min_group, hour):
    """Write the median waits of the groups of a column: DataFrame group, tickets, open, a column per kind.

    kinds : ["resolution"], or with "response" too. min_group : fewer open tickets are not shown; a group must
    have four times as many tickets. hour : as for `in_hours`.
    """
    table = waits_by(rows, column, least=4 * min_group)
    numbers = ["median", "low", "high"]
    table["resolved, median and 95%"] = [in_hours(wait, hour) for wait in table[numbers].to_numpy()]
    if "response" in kinds:
        answer = waits_by(rows, column, least=4 * min_group, what="response").set_index("group")
        table["answered"] = [in_hours(answer.loc[name, numbers], hour) for name in table.group]
    table["open"] = table.open.astype(object).mask(table.open < min_group, f"under {min_group}")
    return table.drop(columns=numbers)


# ------------------------------------------------------------------------------------------------ Comparisons


def compare_waits(rows, column, *, what, least):
    """Test by `log_rank` whether the groups of a column, of `least` tickets or more, wait alike."""
    rows = rows[rows[column].isin(large_groups(rows, column, least))]
    return log_rank(rows[f"{what}_h"], rows[f"{what}_seen"], rows[column])


def adjust_p_values(tests):
    """Adjust the p-values of tests by Benjamini & Hochberg 1995: {key: p-value}.

    tests : {key: LogRank}; those that could not be made are left out.
    """
    made = {key: test.p_value for key, test in tests.items() if not np.isnan(test.p_value)}
    return dict(zip(made, benjamini_hochberg(list(made.values())), strict=True))


def log_rank_words(what, test, *, p_adjusted, called):
    """Write one LogRank test as text: its adjusted p-value, or why it could not be made.

    called : {group: name}; a group that is not in it is called as it is.
    """
    if test.why:
        return f"{what}: no test could be made, since {test.why}"
    least = f"adjusted p {max(p_adjusted, 1e-9):.1g}"
    if p_adjusted < 1e-9:
        least += " or less"
    if not test.left_out:
        return f"{what}: {least}"
    without = ", ".join(readable(called.get(name, name), 30) for name in test.left_out)
    return f"{what}: {least}, without {without}, whose tickets are younger than the shortest wait that ended"


def share_done(rows, what):
    """Estimate the share of tickets done within so many hours, after Kaplan & Meier: (hours, share), (k,).

    Hours below 0.05 count as 0.05, since the axis is logarithmic. The last point is the longest wait.
    """
    hours = rows[f"{what}_h"]
    curve = SurvfuncRight(hours, rows[f"{what}_seen"])
    x = np.concatenate([[0.05], np.maximum(curve.surv_times, 0.05), [hours.max()]])
    y = 1 - curve.surv_prob
    return x, np.concatenate([[0], y, y[-1:] if len(y) else [0]])


def curves_of(rows, column, *, what, names, called):
    """List the curves of `share_done` of some groups of a column: (name, hours, share) each.

    called : {group: name}; a group that is not in it is called as it is.
    """
    return [(called.get(name, name), *share_done(rows[rows[column] == name], what)) for name in names]


def panels_of(rows, *, priorities, topics, least):
    """Choose whose waits are drawn: list of (column, kind of wait, names of groups), without empty ones.

    rows : tickets of the last year. priorities : those by urgency. topics : DataFrame group, the slowest
    first; the three slowest and the three fastest are chosen. least : tickets that a priority or department
    must have.
    """
    by_urgency = [name for name in priorities if (rows.priority == name).sum() >= least]
    ends = list(dict.fromkeys([*topics.group[:3], *topics.group[-3:]]))
    panels = [
        ("priority", "resolution", by_urgency),
        ("priority", "response", by_urgency),
        ("department", "resolution", large_groups(rows, "department", least)[:6]),
        ("topic", "resolution", ends),
    ]
    return [panel for panel in panels if panel[2] and rows[f"{panel[1]}_seen"].any()]


# --------------------------------------------------------------------------------------------------- Closures


def closure_bins(hours, log=True):
    """Make edges of bins, in hours, that leave no gap from 0 to beyond all `hours`; these may be none.

    log : a quarter of an hour, then twice the one before; else 15 equal steps.
    """
    longest = np.max(hours, initial=0.0)
    if not log:
        return np.linspace(0, 1.001 * longest + 0.25, 16)
    edges = [0.0, 0.25]
    while edges[-1] <= longest:
        edges.append(2 * edges[-1])
    return np.array(edges)


def as_time(hours):
    """Write the edge of a bin in minutes, hours or days."""
    if 0 < hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.3g} h" if hours < 48 else f"{hours / 24:.0f} d"
