"""Sentences and tables about incidents for people: when, in which state, how certain, how many."""

from collections import Counter, defaultdict

import pandas as pd

from nightshift.assurance import UNWATCHED
from nightshift.catalog import label_in_any
from nightshift.incidents import NOT_WATCHED
from nightshift.wording import first_few, from_to, joined, last_moment, moment, plural

# words by which incidents are counted; ended: new, and has ended; unwatched: closed, since it ended before
# anybody looked
COUNTED_STATES = ("new", "ended", "escalated", "ongoing", "resolved", "closed", "unwatched")


def status_in_words(state, age_nights, ended=False, *, change=""):
    """Say the state of an incident in the words of the glossary, with its nights: "new, open",
    "new, ended", "ongoing, night 3", "escalated, night 3, ended" of one that came back and ended once more,
    "resolved, seen in 4 nights", "closed, ended before monitoring began".

    change : what has changed since the night before, as `track_incidents` says it.
    """
    if state in ("escalated", "ongoing"):
        return f"{state}, night {age_nights}{', ended' if ended else ''}"
    if counted_as(state, change, ended) == "unwatched":
        return f"{state}, {UNWATCHED}"
    if state in ("resolved", "closed"):
        return f"{state}, seen in {plural(age_nights, 'night')}"
    return f"{state}, {'ended' if ended else 'open'}"


def when_in_words(row, day):
    """Say when an incident was seen, or since when it has lasted; for one that goes on but was not seen on
    the night itself, also the last day that was judged.

    row : start, end, ended; its start may be missing. day : the night that is reported, date as text.
    """
    if pd.isna(row.start):
        return "at times that the source does not know"
    if row.ended:
        when = from_to(row.start, row.end)
        return f"seen {'from' if ' to ' in when else 'on'} {when}"
    began = f"since {moment(row.start)}"
    if row.end > pd.Timestamp(day, tz="UTC"):
        return began
    return f"{began}, seen to {last_moment(row.end, row.start)[:10]}, the last day that is judged"


def sites_of(findings, first=""):
    """List the sites that findings name, the most frequent first, each once: list of text.

    findings : list of dicts with `site`, and `sites` as schemas.py says, "" or None for none. first : the
    site that comes before all others, "" for none.
    """
    counted = Counter(str(one["site"]) for one in findings if one.get("site"))
    further = [site for one in findings for site in str(one.get("sites") or "").split(", ")]
    return list(dict.fromkeys(filter(None, [first, *(site for site, _ in counted.most_common()), *further])))


def where_in_words(title, sites):
    """Name the sites of an incident that its title leaves out: " at A, B, C and 4 more", or ", also at B and
    C"; "" for one site.
    """
    others = [site for site in sites if site not in title]
    if len(sites) < 2 or not others:
        return ""
    return f"{' at' if len(others) == len(sites) else ', also at'} {first_few(others)}"


def incident_sentence(row, n_findings, day, sites=()):
    """Describe one incident in one sentence. Names are those of its findings, not yet escaped.

    row : title, start, end, ended, state, change, age_nights, p_value, studies, description, kinds,
    impact. The description of what has ended stands in quotes, since it was true then. day : the night that
    is reported, date as text. sites : of its findings, as `sites_of` gives them.
    """
    p_value = "below 1e-12" if row.p_value < 1e-12 else f"{row.p_value:.1g}"
    measure = "combined p-value" if n_findings > 1 else "p-value"
    seen_by = f"{plural(n_findings, 'finding')} of {joined(row.studies)}, {measure} {p_value}"
    description = row.description or label_in_any(row.kinds[0])
    if row.ended:
        description = f"“{description}”"
    status = status_in_words(row.state, row.age_nights, bool(row.ended), change=row.change)
    where = where_in_words(row.title, sites)
    comma = "," if where.startswith(",") else ""
    subject = f"{row.title[:1].upper()}{row.title[1:]}{where}{comma} {when_in_words(row, day)} ({status})"
    impact = f"; {row.impact}" if row.impact else ""
    return f"{subject}: {description}; {seen_by}{impact}."


def incident_sentences(incidents, findings, day):
    """Describe each of `incidents` in one sentence, of `incident_sentence`: list of text.

    findings : those of all of them, with their site, joined by `incident`. day : the night that is reported,
    date as text.
    """
    columns = [name for name in ("site", "sites") if name in findings]
    of_incident = defaultdict(list)
    for name, finding in zip(findings.incident, findings[columns].to_dict("records"), strict=True):
        of_incident[name].append(finding)
    sentences = []
    for row in incidents.itertuples():
        theirs = of_incident[row.incident]
        sentences.append(incident_sentence(row, len(theirs), day, sites_of(theirs, row.site)))
    return sentences


def counted_as(state, change, ended):
    """Return the word of COUNTED_STATES under which an incident counts: a new one that has ended counts as
    "ended" and not as "new", and what ended before its study was watched as "unwatched".
    """
    if state == "closed" and change == NOT_WATCHED:
        return "unwatched"
    return "ended" if state == "new" and ended else state


def count_incidents(incidents):
    """Count incidents by the words of COUNTED_STATES, each of them once: {word: number, 0 for none}.

    incidents : DataFrame with state, change, ended.
    """
    counted = Counter(map(counted_as, incidents.state, incidents.change, incidents.ended.astype(bool)))
    return {state: counted[state] for state in COUNTED_STATES}


def statuses_of(incidents):
    """Say the states of incidents, as `status_in_words` does: Series of text."""
    status = [
        status_in_words(row.state, row.age_nights, bool(row.ended), change=row.change)
        for row in incidents.itertuples()
    ]
    return pd.Series(status, incidents.index, dtype=str)


def listed(incidents):
    """Return incidents as a table for people: DataFrame of text, one row per incident, empty for none."""
    return pd.DataFrame(
        {
            "no.": incidents["rank"].astype(str),
            "incident": incidents.title,
            "severity": incidents.severity,
            "state": statuses_of(incidents),
            "since": incidents.start.map(moment, na_action=None),
            "studies": incidents.studies.map(", ".join),
            "impact": incidents.impact,
            "id": incidents.incident,
        }
    )


def listed_changes(incidents):
    """Return what has changed since the night before as a table for people: DataFrame of text, new incidents
    first, then escalated, ongoing and resolved ones; closed ones are left out.
    """
    order = ["new", "escalated", "ongoing", "resolved"]
    changed = incidents[incidents.state.isin(order)].sort_values(
        "state", key=lambda state: state.map(order.index), kind="stable"
    )
    return pd.DataFrame(
        {
            "state": list(
                map(status_in_words, changed.state, changed.age_nights, changed.ended.astype(bool))
            ),
            "incident": changed.title,
            "change": changed.change,
            "severity": changed.severity,
            "id": changed.incident,
        }
    )


def severities_in_words(incidents):
    """Count `incidents` by severity, in words: "1 of high severity and 3 of low severity"; "" for none."""
    counts = incidents.severity.value_counts()
    grave = [name for name in ("high", "medium", "low") if name in counts]
    return joined(f"{counts[name]} of {name} severity" for name in grave)


def listed_silences(incidents):
    """Return silenced and acknowledged incidents as a table for people: by whom, until when, and why."""
    return pd.DataFrame(
        {
            "incident": incidents.title,
            "state": statuses_of(incidents),
            "as": incidents.silenced_as,
            "by": incidents.silenced_by,
            "until": incidents.silenced_until,
            "why": incidents.silenced_why,
            "severity": incidents.severity,
            "id": incidents.incident,
        }
    )
