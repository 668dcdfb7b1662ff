"""How good the findings of the tickets study are: beside known incidents, and in earlier weeks."""

import numpy as np
import pandas as pd

from nightshift.analysis.tickets import ALL_QUEUES, WEEK, first_week
from nightshift.catalog import label_of
from nightshift.detectors.tickets_surprises import GAP, night_tests
from nightshift.sources.tables import read_optional
from nightshift.statistics import percentile_interval, resampled_sums

CAUSES = {
    "growing_topic": ("growing_topic", "outage_tickets"),  # an interest, or an outage
    "department_surge": ("department_surge",),
    "backlog": ("backlog",),
    "slow_topic": ("slow_topic",),
}
INCIDENT_COLUMNS = ["incident", "kind", "start", "end", "strength", "entity", "site"]
REPORT_COLUMNS = ["night", "kind", "p_value", "adjusted", "name", "about", "start", "end"]
STATED = (0.05, 0.01, 0.001)  # rates at which earlier weeks are judged


def read_incidents(path, sample, *, before):
    """Read the incidents of this study that began `before` a moment: DataFrame of INCIDENT_COLUMNS, by start.

    path, sample : as for `read_optional`, which also says what is raised. Times are UTC.
    """
    table = read_optional(path, sample, INCIDENT_COLUMNS)
    times = ["start", "end"]
    table[times] = table[times].apply(pd.to_datetime, utc=True, format="ISO8601")
    of_tickets = table.kind.isin(sum(CAUSES.values(), ()))
    return table[of_tickets & (table.start < before)].sort_values("start", ignore_index=True)


def about(tickets, kind, *, name, since, until):
    """Say what a finding is about in the words of the truth.

    That is the most frequent true label of the tickets of its topic in [since, until), "" without any; the
    name itself where the finding is about no topic.
    """
    if not kind.endswith("topic"):
        return name
    inside = (tickets.created >= since) & (tickets.created < until)
    labels = tickets.label[(tickets.topic == name) & inside].dropna()
    return labels.mode().iloc[0] if len(labels) else ""


def reports_of(night, tests):
    """Describe tests of several nights as reports: DataFrame of REPORT_COLUMNS.

    night : Night. tests : DataFrame night (number of a week), kind, unit, p_value, adjusted.
    """
    table = []
    for test in tests.itertuples():
        tested, unit, week = night.tests[test.kind], int(test.unit), int(test.night)
        name, until = tested.names[unit], night.week_ends[week]
        since = until - (week + 1 - first_week(test.kind, tested, unit=unit, week=week)) * WEEK
        what = about(night.tickets, test.kind, name=name, since=since, until=until)
        table.append((test.night, test.kind, test.p_value, test.adjusted, name, what, since, until))
    return pd.DataFrame(table, columns=REPORT_COLUMNS)


def judge_past(night):
    """Judge each week before the last as a night of its own: (tests, reports of those that stand out).

    night : Night, whose tests are empty without times; so are the tables then. A week is judged by what was
    known by its end. tests : DataFrame as of `night_tests`, and night, the number of the week. reports : as
    of `reports_of`, of the tests at or below the largest rate of STATED.
    """
    surprises = {kind: tested.surprise for kind, tested in night.tests.items()}
    weeks = range(len(night.week_ends) - 1)
    past = [night_tests(surprises, w).assign(night=w) for w in weeks]
    past = pd.concat(past, ignore_index=True) if past else night_tests({}, 0).assign(night=[])
    return past, reports_of(night, past[past.p_value <= max(STATED)])


def is_explained(report, incident):
    """Tell whether a report is right by an incident: one of its causes, on the same thing, that overlaps it.

    One queue that piles up is part of a backlog of all queues, and the other way round.
    """
    same = report.about.casefold() == str(incident.entity).casefold()
    if report.kind == "backlog":
        same = same or ALL_QUEUES in (report.about, incident.entity)
    overlaps = report.start < incident.end and report.end > incident.start
    return incident.kind in CAUSES[report.kind] and same and overlaps


def explained(reports, incidents):
    """Find which reports are right, and by which incidents: bool (reports, incidents).

    reports : DataFrame kind, about, start, end. incidents : DataFrame kind, entity, start, end.
    """
    matrix = [[is_explained(f, i) for i in incidents.itertuples()] for f in reports.itertuples()]
    return np.array(matrix, bool).reshape(len(reports), len(incidents))


def share_of_nights(hits, nights, *, rng, resamples):
    """Compute the share of true ones among `hits` (n,) with its 95% interval: (share, low, high).

    nights : (n,), numbers of weeks. Stretches of GAP weeks are drawn together, since windows overlap; a
    single one does not tell how they differ, and its interval is (0, 1).
    """
    table = pd.DataFrame({"hits": np.asarray(hits, float), "all": 1.0})
    stretch = np.asarray(nights) // GAP
    sums = resampled_sums(table, stretch, rng=rng, resamples=resamples)
    shares = sums[:, 0] / sums[:, 1]
    if len(np.unique(stretch)) < 2:
        return float(shares[0]), 0.0, 1.0
    return float(shares[0]), *percentile_interval(shares[1:])


def observed_rates(nights, unexplained, *, rng, resamples):
    """Compare how often each kind of test flags in earlier weeks with what it states: DataFrame.

    nights : DataFrame kind, night, p_value. unexplained : DataFrame kind, p_value of the alarms that no known
    incident explains; None where no incident is known, and then the column is NaN. Columns: test, stated,
    observed, low, high, unexplained, tests, weeks. No row without a night.
    """
    rows = []
    for kind, of_kind in nights.groupby("kind", sort=False):
        for stated in STATED:
            observed, low, high = share_of_nights(
                of_kind.p_value <= stated, of_kind.night, rng=rng, resamples=resamples
            )
            row = {"test": label_of("tickets", kind), "stated": stated, "observed": observed, "low": low}
            row |= {"high": high, "unexplained": np.nan, "tests": len(of_kind)}
            if unexplained is not None:
                alarms = (unexplained.kind == kind) & (unexplained.p_value <= stated)
                row["unexplained"] = alarms.sum() / len(of_kind)
            rows.append(row | {"weeks": of_kind.night.nunique()})
    return pd.DataFrame(rows)


def excess_words(rates):
    """Say which tests flag more than they state, beyond the interval and the incidents: str, "" for none.

    rates : as `observed_rates` gives them.
    """
    if not len(rates):
        return ""
    beyond = rates[(rates.low > rates.stated) & ~(rates.unexplained <= rates.stated)]
    return "; ".join(
        f"{r.test} {r.observed:.2%} ({r.low:.2%} to {r.high:.2%}) at a stated {r.stated:.2%}"
        for r in beyond.itertuples()
    )


def found_by(incidents, reports, *, right):
    """Add to `incidents` whether they were found, and how late: found (bool), delay_days (else NaN).

    right : bool (reports, incidents). A report counts when its night lies in the incident, or in the two
    weeks after; the delay is that of the first one.
    """
    table = incidents.assign(found=False, delay_days=np.nan)
    for j, i in enumerate(incidents.itertuples()):
        hit = reports[right[:, j] & (reports.end > i.start) & (reports.end <= i.end + 2 * WEEK)]
        if len(hit):
            table.loc[i.Index, ["found", "delay_days"]] = [
                True,
                (hit.end.min() - i.start) / pd.Timedelta(days=1),
            ]
    return table.astype({"found": bool})


def found_by_strength(incidents):
    """Count found incidents by kind and by the stronger and the weaker half: DataFrame, one row each.

    incidents : as `found_by` gives them. Columns: kind, strength, incidents, found, delay (median, days).
    """
    strong = incidents.strength >= incidents.groupby("kind").strength.transform("median")
    halves = incidents.assign(strength=np.where(strong, "stronger half", "weaker half"))
    table = halves.groupby(["kind", "strength"])
    table = table.agg(incidents=("found", "size"), found=("found", "sum"), delay=("delay_days", "median"))
    return table.reset_index()


def false_findings(reports, right):
    """Count by kind the false findings that began: Series; one that stays for several nights is one.

    reports : DataFrame kind, name, night. right : bool (reports, incidents).
    """
    wrong = reports[~right.any(axis=1)].sort_values(["kind", "name", "night"])
    began = wrong.groupby(["kind", "name"]).night.diff().fillna(np.inf) > 1
    return wrong.kind[began].value_counts()
