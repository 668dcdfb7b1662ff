"""Findings of the tickets study: the tickets they are about, what was seen and expected, the headline."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from nightshift.analysis.tickets_texts import UNNAMED, examples, readable
from nightshift.analysis.tickets_waiting import in_hours, median_wait
from nightshift.catalog import labels_of
from nightshift.detectors.tickets_surprises import PAST, earlier, tail_p_values
from nightshift.statistics import p_values
from nightshift.wording import last_moment, plural

WEEK = pd.Timedelta(days=7)
ALL_QUEUES = "all queues"
COLUMN = {"department_surge": "department", "backlog": "queue"}  # what a unit is; all other kinds ask topics


@dataclass(frozen=True)
class Night:
    """What findings are made of.

    tickets : DataFrame, with waits as `add_waits` gives them. tests : {kind: WeeklyTest}. week_ends : Series
    of datetime64 (W,), of which the last is the end of the night. called : {topic: its name}. hour : what an
    hour is called, "h" or "h of work".
    """

    tickets: pd.DataFrame
    tests: dict
    week_ends: pd.Series
    called: dict
    hour: str

    @property
    def end(self):
        """End of the night, UTC."""
        return self.week_ends.iloc[-1]


class Evidence(NamedTuple):
    """What a finding counts: observed and expected, their unit, one sentence, and the impact in tickets."""

    observed: float
    expected: float
    unit: str
    sentence: str
    impact: float


def tickets_of(tickets, kind, *, name, since):
    """Select the tickets of a unit since a moment; "all queues" are all tickets."""
    of_unit = (tickets[COLUMN.get(kind, "topic")] == name).to_numpy()
    if name == ALL_QUEUES:
        of_unit = np.ones(len(tickets), bool)
    return tickets[of_unit & (tickets.created >= since).to_numpy()]


def first_week(kind, tested, *, unit, week):
    """Find the number of the week in which a finding of `week` began.

    tested : WeeklyTest of the kind. It is that week of its window from which most tickets are beyond the
    expected ones; where no tickets are counted, the first of the window; of a backlog, the first of the weeks
    in a row up to `week` whose surprise has a p-value of 0.05 or less, `week` itself where it has none.
    """
    if kind == "backlog":
        surprises = np.nan_to_num(tested.surprise[unit, : week + 1])
        usual = tail_p_values(surprises, earlier(tested.surprise, week)) > 0.05
        return min(int(np.flatnonzero(usual)[-1]) + 1, week) if usual.any() else 0
    window = int(tested.window[unit, week])
    first = week + 1 - window
    if tested.by_week is None:
        return first
    beyond = tested.by_week[unit, first : week + 1] - tested.expected[unit, week] / window
    return first + int(beyond[::-1].cumsum()[::-1].argmax())


def last_week(tested, *, unit, week):
    """Find the last week up to `week` with more tickets than expected, `week` where none are counted."""
    if tested.by_week is None:
        return week
    usual = tested.expected[unit, week] / int(tested.window[unit, week])
    return int(np.flatnonzero(tested.by_week[unit, : week + 1] > usual)[-1])


def site_of(rows):
    """Find the site that most of the tickets name: (site, words on how many do).

    Both are "" where none is named by three of them and by half.
    """
    named = rows.site[rows.site != ""].value_counts()
    if not len(named) or named.iloc[0] < 3 or named.iloc[0] < len(rows) / 2:
        return "", ""
    return named.index[0], f"; {named.iloc[0]} of {len(rows)} name {named.index[0]}"


# --------------------------------------------------------------------------------------------------- Evidence


def growth_evidence(rows, counts):
    """Write the Evidence of a growing topic or a department's surge: its tickets beside the expected ones.

    rows : its tickets. counts : (observed, expected, weeks of the window), as the test saw them.
    """
    o, e, weeks = counts
    users = rows.user[rows.user != ""].nunique()
    who = f" from {plural(users, 'user')}" if users else ""
    window = f"{weeks} weeks" if weeks > 1 else "week"
    sentence = (
        f"{o:.0f} tickets in the last {window}{who}, {e:.1f} expected by its share before, and its season"
    )
    return Evidence(o / weeks, e / weeks, "tickets per week", sentence, max(o - e, 0))


def backlog_evidence(rows, counts, *, hour="h"):
    """Write the Evidence of a backlog: open tickets beside those that would be open as usual.

    rows, counts : as for `growth_evidence`. hour : what an hour is called.
    """
    o, e, _ = counts
    waits = rows[rows.open].resolution_h.median()
    sentence = (
        f"{o:.0f} tickets of the last {PAST} weeks are open, {e:.0f} would be if resolved as fast as usual; "
        f"half of them have waited for {waits:,.0f} {hour} or longer"
    )
    return Evidence(o, e, "open tickets", sentence, max(o - e, 0))


def slow_evidence(rows, before, *, counts, hour):
    """Write the Evidence of a slow topic: its median wait beside that of its tickets `before`.

    rows, counts, hour : as for `backlog_evidence`; counts are of closings. A median that is not reached
    counts as the longest time seen, which is too little. The impact is the number of tickets that still wait.
    """
    o, e, weeks = counts
    now, usual = median_wait(rows), median_wait(before)
    sentence = (
        f"{o:.0f} of {len(rows)} tickets in {plural(weeks, 'week')} are resolved, at {o / e:.2f} times the "
        f"usual pace; median {in_hours(now, hour)}, before {in_hours(usual, hour)}"
    )
    longest = float(rows.resolution_h.max())
    return Evidence(min(now[0], longest), min(usual[0], longest), "hours", sentence, rows.open.sum())


def counted_tickets(night, kind, *, name, weeks):
    """Select the tickets that a finding counts: those of its unit and of the last `weeks`; of a backlog, of
    the last PAST weeks.
    """
    weeks = PAST if kind == "backlog" else weeks
    return tickets_of(night.tickets, kind, name=name, since=night.end - weeks * WEEK)


def evidence_of(night, kind, *, name, since, counts):
    """Select the tickets of a finding that began at `since`, and write its Evidence: (rows, Evidence)."""
    rows = counted_tickets(night, kind, name=name, weeks=counts[2])
    if kind == "backlog":
        return rows, backlog_evidence(rows, counts, hour=night.hour)
    if kind != "slow_topic":
        return rows, growth_evidence(rows, counts)
    before = tickets_of(night.tickets, kind, name=name, since=since - PAST * WEEK)
    return rows, slow_evidence(rows, before[before.created < since], counts=counts, hour=night.hour)


def finding_of(night, test):
    """Describe one kept test as a finding: dict of the columns of findings, and `of`, the number of its unit.

    test : kind, unit, surprise, p_value, as `night_tests` gives them for the last week.
    """
    tested, unit, week = night.tests[test.kind], int(test.unit), len(night.week_ends) - 1
    name = tested.names[unit]
    since = night.end - (week + 1 - first_week(test.kind, tested, unit=unit, week=week)) * WEEK
    until = night.week_ends[last_week(tested, unit=unit, week=week)]
    counts = (tested.observed[unit, week], tested.expected[unit, week], int(tested.window[unit, week]))
    rows, evidence = evidence_of(night, test.kind, name=name, since=since, counts=counts)
    site, named = site_of(rows) if test.kind in ("growing_topic", "slow_topic") else ("", "")
    return {
        "kind": test.kind,
        "entity": f"{name}: {night.called[name]}" if test.kind.endswith("topic") else readable(name),
        "site": site,
        "start": since,
        "end": until,
        "score": test.surprise,
        "p_value": test.p_value,
        "observed": evidence.observed,
        "expected": evidence.expected,
        "unit": evidence.unit,
        "evidence": evidence.sentence + named,
        "impact": evidence.impact,
        "of": unit,
    }


def rows_of(night, finding):
    """List the tickets that a finding counts, the latest first: DataFrame time (when it was created), ticket,
    answered, closed; of a backlog, those that are open. Ids and times are all that may be shown of them.

    finding : a row of `finding_of`.
    """
    tested, week = night.tests[finding.kind], len(night.week_ends) - 1
    name, weeks = tested.names[finding.of], int(tested.window[finding.of, week])
    rows = counted_tickets(night, finding.kind, name=name, weeks=weeks)
    if finding.kind == "backlog":
        rows = rows[rows.open]
    names = {"created": "time", "ticket_id": "ticket", "first_response": "answered"}
    rows = rows.rename(columns=names)[["time", "ticket", "answered", "closed"]]
    return rows.sort_values("time", ascending=False, kind="stable")


def finding_series(tested, finding):
    """List what was seen and what was to be expected of a finding's unit: two float (W,).

    finding : kind, unit, of (its number), as `finding_of` gives them. Numbers of a week, or of a moment for a
    backlog; expected is NaN where nothing is. Of a slow topic, they are closings.
    """
    per = 1 if finding.kind == "backlog" else tested.window[finding.of]
    counts_tickets = finding.unit == "tickets per week"
    seen = tested.by_week[finding.of] if counts_tickets else tested.observed[finding.of] / per
    expected = tested.expected[finding.of] / per
    return seen, np.where(expected > 0, expected, np.nan)


# --------------------------------------------------------------------------------------------- Single tickets


def score_tickets(tickets, calibration, *, alarm_rate):
    """Score how far tickets lie from their topics: DataFrame ticket_id, cluster, score, p_value, flagged.

    tickets : DataFrame ticket_id, topic, distance. calibration : the same of the tickets that were held out
    when the topics were made. A topic that has too few of them for a p-value of half the `alarm_rate` is
    judged by those of all, else none of its tickets could ever be flagged. A ticket that is one of them
    counts by the distance that it had then, one that was learned by its distance from topics without it
    (`distances_of`): topics lie nearer to what they were made with. Without any, no p-value is below 1.
    """
    held_out = calibration.set_index("ticket_id").distance
    scored = tickets[["ticket_id"]].assign(cluster=tickets.topic.astype(str))
    scored["score"] = tickets.ticket_id.map(held_out).fillna(tickets.distance).astype(float)
    scored["p_value"] = 1.0
    if len(scored) and len(calibration):
        of_topics = scored.cluster, calibration.topic
        least = {"min_calibration": int(2 / alarm_rate)}
        scored["p_value"] = p_values(scored.score, calibration.distance, *of_topics, **least)
    return scored.assign(flagged=scored.p_value <= alarm_rate)


# ---------------------------------------------------------------------------------------- Topics in sentences


def strange_in_words(strange, tickets, *, called):
    """List strange tickets with their masked subjects: DataFrame ticket, subject, nearest topic, p-value.

    strange : DataFrame ticket_id, p_value. called : {topic: its name}.
    """
    rows = tickets.set_index("ticket_id").loc[strange.ticket_id]
    return pd.DataFrame(
        {
            "ticket": strange.ticket_id.to_numpy(),
            "subject, masked": [readable(text) for text in rows.subject],
            "nearest topic": [called.get(topic, "no topic") for topic in rows.topic],
            "p-value": strange.p_value.to_numpy(),
        }
    )


def growth_words(growing, tested_kinds):
    """Say which topics grow, or that this cannot be known yet.

    growing : DataFrame entity, in the order of the findings. tested_kinds : kinds that could be tested.
    """
    if "growing_topic" not in tested_kinds:
        return "Whether a topic grows cannot be known yet"
    if not len(growing):
        return "No topic grows"
    return f"{plural(len(growing), 'topic')} above the usual, first {growing.entity.iloc[0]}"


def slowest_words(waits, median_all, *, called, hour, closing_known):
    """Say which topic clearly waits longer than all tickets do, not only by a few tickets that may be new.

    waits : DataFrame group, median, low, high of the topics. median_all : median wait of all tickets, hours.
    """
    slower = waits[np.isfinite(waits.low) & (waits.low > median_all)]
    if closing_known and len(slower):
        slowest = slower.loc[slower.low.idxmax()]
        wait = in_hours(slowest[["median", "low", "high"]], hour)
        return f"“{called[slowest.group]}” clearly waits longer than usual, {wait}"
    if len(waits) > 1 and np.isfinite(waits.low).all():
        return "no topic clearly waits longer than usual"
    return "which topics wait longer than usual is not known"


def median_words(wait, hour):
    """Say within which time half of the tickets of the last year are resolved; wait : (median, low, high)."""
    if np.isfinite(wait[0]):
        return f"half of the tickets of the last year are resolved within {in_hours(wait, hour)}"
    return f"the median time to resolution is {in_hours(wait, hour)}"


def growing_in_words(night, growing):
    """List three subjects of each growing topic, those nearest to it: DataFrame topic, site, asked.

    growing : DataFrame entity, site, start. Topic and site stand in the first line of each only.
    """
    lines = []
    for finding in growing.itertuples():
        topic = finding.entity.partition(":")[0]
        rows = tickets_of(night.tickets, "growing_topic", name=topic, since=finding.start)
        lines += [(finding.entity, finding.site, subject) for subject in examples(rows)]
    table = pd.DataFrame(lines, columns=["topic", "site", "asked"])
    again = table.topic.duplicated()
    return table.assign(topic=table.topic.mask(again, ""), site=table.site.mask(again, ""))


def largest_in_words(tickets, *, called, min_group):
    """List the eight largest topics with three subjects each: DataFrame topic, tickets, asked."""
    largest = tickets.topic.value_counts().loc[lambda n: n >= min_group].head(8)
    names = [f"{topic}: {called.get(topic, '')}" for topic in largest.index]
    asked = [" / ".join(examples(tickets[tickets.topic == topic])) for topic in largest.index]
    return pd.DataFrame({"topic": names, "tickets": largest.to_numpy(), "asked": asked})


def candidates(rows, by_topic, *, called, min_group, hour):
    """Rank topics by tickets times median waiting time, as candidates for the FAQ or for a training.

    rows : tickets of the last year. by_topic : as `waits_by` gives it. A median that is not reached counts as
    the longest time seen. A topic of which one department sends half is rather for a training there.
    """
    table = []
    for t in by_topic.itertuples():
        of_topic = rows[rows.topic == t.group]
        departments = of_topic.department[~of_topic.department.isin(UNNAMED)].value_counts()
        one = len(departments) > 0 and departments.iloc[0] >= max(min_group, len(of_topic) / 2)
        what = f"training for {readable(departments.index[0])}" if one else "FAQ"
        users = of_topic.user[of_topic.user != ""].nunique()
        hours = len(of_topic) * min(t.median, of_topic.resolution_h.max())
        wait = in_hours((t.median, t.low, t.high), hour)
        table.append((called[t.group], len(of_topic), users, wait, hours, what))
    columns = [
        "topic",
        "tickets",
        "users",
        "median wait, 95% interval",
        "tickets x median, h",
        "candidate for",
    ]
    table = pd.DataFrame(table, columns=columns)
    return table.sort_values("tickets x median, h", ascending=False, ignore_index=True)


def table_to_read(findings):
    """List findings, FINDING_COLUMNS, as a table to read: DataFrame kind, entity, since, until (the last
    day), p-value, evidence.
    """
    until = list(map(last_moment, findings.end, findings.start))
    table = findings.assign(kind=labels_of("tickets", findings.kind), until=until)
    table = table.rename(columns={"start": "since", "p_value": "p-value"})
    return table[["kind", "entity", "since", "until", "p-value", "evidence"]]
