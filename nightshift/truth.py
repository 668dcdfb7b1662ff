"""The troubles that are known to have happened, and which findings show them. All is pure but for what reads.

A trouble is one row of the table of the truth: something that went wrong in one source. A true incident is
all rows that share a cause, as a reader would see it.
"""

import re

import numpy as np
import pandas as pd

from nightshift import catalog
from nightshift.sources.tables import read_optional
from nightshift.yaml_files import load_yaml

TROUBLE_COLUMNS = ["incident", "kind", "start", "end", "strength", "entity", "site", "cause"]
ONE_DAY = pd.Timedelta(days=1)

# ---------------------------------------------------------------------------------------------------- Reading


def read_troubles(source, sample):
    """Read the table of troubles: DataFrame of TROUBLE_COLUMNS and what else it has, times in UTC, text
    without missing values.

    source : path of a CSV or Parquet file, or "sample" for the path `sample`. ValueError where a column is
    missing.
    """
    troubles = read_optional(source, sample, TROUBLE_COLUMNS)
    times, texts = ["start", "end"], ["entity", "site", "cause"]
    troubles[times] = troubles[times].apply(pd.to_datetime, utc=True, format="ISO8601")
    troubles[texts] = troubles[texts].astype(object).fillna("").astype(str)
    return troubles


def read_intent_words(path):
    """Read the words by which users ask, {intent: set of words}, from a file of phrases such as
    notebooks/tickets/phrases.yaml.
    """
    phrases = load_yaml(path)["intents"]
    return {
        intent: words_of(" ".join([*texts["subject"], *texts["body"]])) for intent, texts in phrases.items()
    }


def trouble_kinds():
    """Return what shows each kind of trouble, from `study.yaml`: DataFrame [kind] with study, reports_after,
    shown_by, shown_at_site (lists of kinds of findings), stronger_is_higher.
    """
    rows = {}
    for kind, (study, trouble) in catalog.troubles().items():
        reports_after = catalog.study_of(study).reports_after
        rows[kind] = {"study": study, "reports_after": reports_after, **trouble.model_dump()}
    return pd.DataFrame.from_dict(rows, orient="index")


# --------------------------------------------------------------------------------------------- True incidents


def join_troubles(troubles):
    """Return the true incident of each trouble: Series of names, that of the trouble which came first.

    Rows that share a `cause` are one incident; so are idle GPUs of one site whose times overlap, since nobody
    is called for each of them.
    """
    incident = troubles.cause.where(troubles.cause != "", troubles.incident)
    gpus = troubles[troubles.kind == "idle_gpu"].sort_values(["site", "start"])
    until = gpus.groupby("site").end.transform("cummax").groupby(gpus.site).shift()
    incident[gpus.index] = gpus.incident.where(~(gpus.start <= until)).ffill()
    return incident


def first_report(start, reports_after):
    """Return the end of the first night on which a study can report a trouble that began at `start` (UTC).

    reports_after : "day" where it reports at the end of the day, "week" where the trouble must have lasted a
    week, "calendar_week" where the week must be complete that holds at least half of the trouble's own first
    week.
    """
    monday = (start + 3.5 * ONE_DAY).floor("D")
    monday -= monday.day_of_week * ONE_DAY
    ends = {
        "calendar_week": monday + 7 * ONE_DAY,
        "week": start + 7 * ONE_DAY,
        "day": start.floor("D") + ONE_DAY,
    }
    return ends[reports_after]


def summarise_troubles(troubles, incidents):
    """Return one row per true incident, in the order of `incidents` (their names): DataFrame with kind,
    entity, strength (those of the trouble that came first), start, end, rows and can_be_reported.

    troubles : with true_incident, by `join_troubles`, and can_be_reported, whether a study could report it in
    time.
    """
    leading = troubles.assign(leads=troubles.incident == troubles.true_incident)
    leading = leading.sort_values("leads", ascending=False, kind="stable")
    true_incidents = leading.groupby("true_incident", sort=False).agg(
        kind=("kind", "first"),
        entity=("entity", "first"),
        start=("start", "min"),
        end=("end", "max"),
        strength=("strength", "first"),
        rows=("kind", "size"),
        can_be_reported=("can_be_reported", "any"),
    )
    return true_incidents.reindex(incidents)


# -------------------------------------------------------------------------------------------- What shows what


def parts_of(entity):
    """Return the names in `entity`, in small letters: (name, set of it and of its parts).

    The name of a thing is its text up to the first colon or comma. It names its parts, too: "quarry at
    DELTA-T1" the community and the site, a link its storages, a storage its site.
    """
    name = re.split(r"[:,]", entity)[0].strip().casefold()
    parts = {name, *re.split(" at | -> ", name)}
    return name, parts | {re.sub(r"_[a-z]*(disk|tape)$", "", part) for part in parts}


def same_thing(one, other):
    """Say whether two entities are about the same thing, or one about a part of the other; without a name
    they are not.
    """
    (name, parts), (other_name, other_parts) = parts_of(one), parts_of(other)
    return bool(name) and bool(other_name) and (name in other_parts or other_name in parts)


def words_of(text):
    """Return the words of two letters or more in `text`, in small letters: a set."""
    return set(re.findall(r"[a-z]{2,}", text.casefold()))


def intents_of(entity, intent_words):
    """Return the intents that a topic, such as "t028: requests, waiting, rule", may be about: those with most
    of its words, if that is two or more.

    intent_words : {intent: set of words}; without any there is none.
    """
    words = words_of(entity.partition(":")[2])
    counts = {intent: len(words & of_intent) for intent, of_intent in intent_words.items()}
    most = max(counts.values(), default=0)
    return {intent for intent, n in counts.items() if n == most and most >= 2}


def find_hits(findings, troubles, kinds, *, intent_words):
    """Return which finding shows which trouble: bool ndarray (findings, troubles).

    A finding shows a trouble when both overlap in time, and when its kind can show it: on the same thing, or
    at the same site. kinds : as `trouble_kinds` gives them. intent_words : by which topics of tickets, which
    have no name of their own, are compared.
    """
    hits = np.zeros((len(findings), len(troubles)), bool)
    for j, trouble in enumerate(troubles.itertuples()):
        on_it = findings.kind.isin(kinds.at[trouble.kind, "shown_by"]).to_numpy()
        at_its_site = findings.kind.isin(kinds.at[trouble.kind, "shown_at_site"]).to_numpy()
        overlaps = (findings.start <= trouble.end) & (findings.end >= trouble.start)
        for i in np.flatnonzero(overlaps & (on_it | at_its_site)):
            finding = findings.iloc[i]
            about_it = on_it[i] and is_about(finding, trouble, intent_words)
            hits[i, j] = about_it or (at_its_site[i] and finding.site != "" and finding.site == trouble.site)
    return hits


def is_about(finding, trouble, intent_words):
    """Say whether a finding is about the thing of a trouble: by its name, or, for a topic of tickets, by its
    words.
    """
    if same_thing(finding.entity, trouble.entity):
        return True
    return finding.kind.endswith("topic") and trouble.entity in intents_of(finding.entity, intent_words)


def hits_of_incidents(hits, true_incident):
    """Return which finding shows which true incident: (names of these in the order in which they come first,
    bool ndarray (findings, names)).

    hits : bool (findings, troubles). true_incident : Series (troubles,) of names.
    """
    names = list(dict.fromkeys(true_incident))
    columns = [hits[:, (true_incident == name).to_numpy()].any(axis=1) for name in names]
    return names, np.array(columns, bool).reshape(len(names), len(hits)).T
