"""Sentences and tables that say of incidents what people read: when, in which state, how sure, how many."""

from collections import Counter

import pandas as pd

from nightshift.incidents import NOT_WATCHED
from nightshift.wording import joined, plural

# words by which incidents are counted; ended: new, but over when it was first seen; unwatched: over before
# anybody looked
COUNTED_STATES = ("new", "ended", "worse", "ongoing", "resolved", "over", "unwatched")


def when_in_words(row, day):
    """Say since when an incident lasts, with hours where its times have them.

    row : start, end, ended; its start may be missing. day : the night that is reported, date as text.
    """
    if pd.isna(row.start):
        return "at times that the source does not know"
    form = "%d %b %Y" if row.start == row.start.normalize() else "%d %b %Y %H:%M"
    if row.ended:
        return f"seen from {row.start:{form}} to {row.end:{form}}"
    began = f"since {row.start:{form}}"
    return f"{began}, last seen {row.end:%d %b}" if row.end < pd.Timestamp(day, tz="UTC") else began


def state_and_night(row):
    """Say the state of an incident, with the number of its night where that says something: "worse, night
    2".
    """
    return {"ongoing": f"night {row.night}", "worse": f"worse, night {row.night}"}.get(row.state, row.state)


def incident_sentence(row, n_findings, day):
    """Describe one incident in one sentence. Names are those of its findings, not yet escaped.

    row : what, start, end, ended, state, night, p_value, studies, description, kinds, impact. The description
    of what has ended stands in quotes, since it was true then. day : the night that is reported, date as
    text.
    """
    p_value = "below 1e-12" if row.p_value < 1e-12 else f"{row.p_value:.1g}"
    measure = "combined p-value" if n_findings > 1 else "p-value"
    seen_by = f"{plural(n_findings, 'finding')} of {joined(row.studies)}, {measure} {p_value}"
    description = row.description or row.kinds[0].replace("_", " ")
    if row.ended:
        description = f"“{description}”"
    subject = f"{row.what[:1].upper()}{row.what[1:]} {when_in_words(row, day)} ({state_and_night(row)})"
    impact = f"; {row.impact}" if row.impact else ""
    return f"{subject}: {description}; {seen_by}{impact}."


def counted_as(state, change, ended):
    """Return the word of COUNTED_STATES under which an incident counts: a new one that has ended counts as
    "ended" and not as "new", and what was over before its study was watched as "unwatched".
    """
    if state == "over" and change == NOT_WATCHED:
        return "unwatched"
    return "ended" if state == "new" and ended else state


def count_incidents(incidents):
    """Count incidents by the words of COUNTED_STATES, each of them once: {word: number, 0 for none}.

    incidents : DataFrame with state, change, ended.
    """
    counted = Counter(map(counted_as, incidents.state, incidents.change, incidents.ended.astype(bool)))
    return {state: counted[state] for state in COUNTED_STATES}


def listed(incidents):
    """Return incidents as a table for people: DataFrame of text, one row per incident, empty for none."""
    since = incidents.start.dt.strftime("%d %b %Y").where(incidents.start.notna(), "not known")
    night = "night " + incidents.night.astype(str)
    ended = incidents.ended.map({True: ", ended", False: ""}).where(incidents.state == "new", "")
    return pd.DataFrame(
        {
            "no.": incidents["rank"].astype(str),
            "incident": incidents.what,
            "severity": incidents.severity,
            "state": incidents.state.where(incidents.state != "ongoing", night) + ended,
            "since": since,
            "studies": incidents.studies.map(", ".join),
            "impact": incidents.impact,
            "name": incidents.incident,
        }
    )


def proposal_table(proposals):
    """Return what to try about one incident as a table for people: with reasons where the evidence has one;
    in an order, with chances, only if all of it is ranked by trials.

    proposals : DataFrame as `remediation.model.rank` gives it, not empty.
    """
    table = pd.DataFrame(
        {
            "what to try": proposals.proposal,
            "because": proposals.reason,
            "effort": proposals.effort,
            "id": proposals.solution,
        }
    )
    if not (proposals.reason != "").any():
        table = table.drop(columns="because")
    if not proposals.ranked.all():
        return table
    chances = [f"{one.chance:.0%} ({one.low:.0%} to {one.high:.0%})" for one in proposals.itertuples()]
    trials = [
        f"{one.worked} of {one.trials}" + (f"; {one.elsewhere} trials elsewhere" if one.elsewhere else "")
        for one in proposals.itertuples()
    ]
    experience = pd.DataFrame({"chance to work": chances, "worked": trials})
    return pd.concat([proposals.place.rename(""), table, experience], axis=1)
