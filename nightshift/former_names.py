"""Names that tables, records and settings had in earlier versions: the one place that knows them.

Nights that lie in the archive and feedback that people gave are read under the present names. Nothing is
written under a former one.
"""

# columns of data/incidents/<day>.parquet and <day>_proposals.parquet
COLUMNS = {
    "night": "age_nights",
    "mark": "silenced_as",
    "marked_by": "silenced_by",
    "marked_until": "silenced_until",
    "marked_why": "silenced_why",
    "what": "title",
    "solution": "remediation",
    "place": "rank",  # of proposals
}
# states of incidents, and the words under which they are counted
WORDS = {"worse": "escalated", "over": "closed", "muted": "silenced"}
# columns of feedback/feedback.csv
FEEDBACK_COLUMNS = {"solution": "remediation"}
# keys of an incident and of the night in reports/<day>/digest.json, as far as anything reads them again
INCIDENT_KEYS = {"night": "age_nights", "mark": "silence", "what": "title"}
NIGHT_KEYS = {"troubles": "problems"}
# keys of a recipient in reports/<day>/mail.json
RECIPIENT_KEYS = {"said": "reason", "told": "notified"}
# settings of a configuration, with the place that has their purpose now
SETTINGS = {
    "mark": "write the entries under digest.silences, with `as: silenced` in the place of `as: muted`",
    "mute": "write the entries under digest.silences, with patterns of study, site and entity",
    "worse_factor": "it is called digest.escalation_factor",
    "false_discovery_rate": "findings are held against ordinary runs or days now, by `finding_rate`",
    "semesters": "it stands under `asking` now",
    "show_users": "it stands under `preprocess` now",
    "urgent": "it stands under `asking` now",
    "log_bins": "it stands under `waiting` now",
}


def rename_table(table):
    """Return a table of incidents or proposals with present names of columns, states and silences."""
    present = table.rename(columns={old: new for old, new in COLUMNS.items() if new not in table})
    for column in {"state", "silenced_as"} & set(present):
        present[column] = present[column].replace(WORDS)
    return present


def rename_keys(entries, names):
    """Return the dict `entries` with its keys by `names` {former: present}; what is no dict, as it is."""
    if not isinstance(entries, dict):
        return entries
    return {names.get(key, key): value for key, value in entries.items()}


def rename_counts(counts):
    """Return counts of incidents {state: n} with the present states; what is no dict, as it is."""
    return rename_keys(counts, WORDS)


def rename_night(record):
    """Return what digest.json or run.json says of a night, a dict, with present keys, states and counts."""
    present = rename_keys(record, NIGHT_KEYS)
    if isinstance(digest := present.get("digest"), dict) and "counts" in digest:
        present["digest"] = digest | {"counts": rename_counts(digest["counts"])}
    if "counts" in present:
        present["counts"] = rename_counts(present["counts"])
    if isinstance(present.get("incidents"), list):
        present["incidents"] = [rename_incident(one) for one in present["incidents"]]
    return present


def rename_incident(entries):
    """Return an incident of digest.json with present keys and words; what is no dict, as it is."""
    if not isinstance(entries, dict):
        return entries
    present = rename_keys(entries, INCIDENT_KEYS)
    for where in (present, present.get("silence")):
        for key in ("state", "as"):
            if isinstance(where, dict) and isinstance(where.get(key), str):
                where[key] = WORDS.get(where[key], where[key])
    if isinstance(present.get("proposals"), list):
        present["proposals"] = [rename_keys(one, COLUMNS) for one in present["proposals"]]
    return present
