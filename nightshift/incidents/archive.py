"""The archive of the digest, data/incidents: what earlier nights knew, and what a night held when it ran
before."""

import pandas as pd

from nightshift import catalog, former_names
from nightshift.incidents import PART_OF
from nightshift.incidents.tracking import PAST_STATES
from nightshift.products import read_json
from nightshift.schemas import FOLLOWED, INCIDENT, INCIDENT_FINDING
from nightshift.wording import one_line

GAP = 3  # nights: a digest that runs on working days counts as watching over a weekend


def read_night(folder, night):
    """Read [incidents with `of`, findings] of the `night` (date text) from `folder`; ValueError says in one
    line which table cannot be read."""
    tables = []
    for name, columns in ((f"{night}.parquet", FOLLOWED), (f"{night}_findings.parquet", INCIDENT_FINDING)):
        try:
            table = pd.read_parquet(folder / name)
            tables.append(former_names.rename_table(table) if columns is FOLLOWED else table)
            if lacking := [column for column in columns if column not in tables[-1]]:
                raise ValueError(f"it has no column {', '.join(lacking)}")
            _check_types(tables[-1])
        except FileNotFoundError:
            raise ValueError(f"data/incidents/{name} cannot be read (it is missing)") from None
        except Exception as error:  # whatever Arrow, pandas or the disk say of a damaged file
            words = getattr(error, "strerror", None) or one_line(error)
            # without the advice to remove the table so that it is made again: an earlier night is not
            reason = words.partition("; where it")[0].replace(str(folder), "data/incidents")[:150]
            raise ValueError(f"data/incidents/{name} cannot be read ({reason.rstrip('.')})") from None
    return [tables[0].assign(of=night), tables[1]]


def _check_types(table):
    """Make sure that times are times in UTC and lists are lists, which later steps rely on; a table without a
    row may have any types."""
    for column in {"start", "end"} & set(table) if len(table) else ():
        if not isinstance(table[column].dtype, pd.DatetimeTZDtype):
            raise ValueError(f"its column {column} holds no times in UTC")
    for column in {"studies", "kinds", "impacts"} & set(table):
        if not all(pd.api.types.is_list_like(value) for value in table[column]):
            raise ValueError(f"its column {column} holds no lists")


def read_nights(folder, first, before):
    """Read the nights from `first` up to the one before `before` (date texts): ({night: [incidents,
    findings]}, what cannot be read, one line each). What a night published replaces its damaged or lost
    tables.
    """
    nights, notes = {}, []
    for night in known_nights(folder, first, before):
        try:
            nights[night] = read_night(folder, night)
        except ValueError as error:
            what = "left out", "its incidents are known from the other nights, or begin anew"
            if as_published := read_published(folder, night):
                nights[night] = as_published
                what = "read as it was published", "its incidents keep their names"
            notes.append(f"The night {night} is {what[0]}, since {error}: {what[1]}")
    return nights, notes


def known_nights(folder, first="", before="9999"):
    """Date texts of the nights from `first` up to the one before `before` with a table of incidents in
    `folder`, and of those that published incidents and have lost it, the earliest first.
    """
    there = {path.stem for path in folder.glob("????-??-??.parquet")}
    reports = {path.parent.name for path in reports_of(folder).glob("????-??-??/digest.json")}
    return sorted(
        night
        for night in there | reports
        if first <= night < before and (night in there or had_digest(published_by(folder, night)))
    )


def reports_of(folder):
    """The folder of reports beside data/incidents, which is `folder`."""
    return folder.parents[1] / "reports"


def published_by(folder, night):
    """What the digest.json of the `night` (date text) holds, {} where it cannot be read."""
    return read_json(reports_of(folder) / night / "digest.json")


def had_digest(shown):
    """Whether a digest.json is of a night whose digest ended well."""
    digest = shown.get("digest")
    return isinstance(digest, dict) and digest.get("outcome") == "ok"


def read_published(folder, night):
    """Read [incidents with `of`, findings] of the `night` (date text) as its digest.json has them, which
    takes the place of tables in `folder` that cannot be read; None where it cannot be read either.

    Description, scope and, where digest.json lacks it, benign are those of the kind of the first finding, or
    of none where an incident has become part of another one, which has its findings; other columns that it
    lacks are "".
    """
    rows, findings = [], []
    try:
        for one in published_by(folder, night)["incidents"]:
            was_merged = not one["findings"] and str(one["change"]).startswith(PART_OF)
            first = {"study": "", "kind": ""} if was_merged else one["findings"][0]
            kind = catalog.kind_of(first["study"], first["kind"])
            of_kind = {"incident": one["id"], "description": kind.description, "scope": kind.scope}
            rows.append(dict.fromkeys(INCIDENT, "") | {"benign": kind.benign} | one | of_kind)
            of_it = {"incident": one["id"], "night": night, "kept": False}
            findings += [finding | of_it | {"table": finding["study"]} for finding in one["findings"]]
        tables = [pd.DataFrame(rows, columns=[*INCIDENT]), pd.DataFrame(findings, columns=INCIDENT_FINDING)]
        for table in tables:
            for time in ("start", "end"):
                table[time] = pd.to_datetime(table[time], utc=True).astype("datetime64[us, UTC]")
            _check_types(table)
    except (ValueError, LookupError, TypeError):
        return None
    return [tables[0].assign(of=night), tables[1]]


def newest_of(pairs):
    """Pick what is known of each incident, as it was last seen, from [incidents, findings] of some nights,
    the oldest first.

    Returns (the newest row of each, with `of`, its night; the findings of these rows; all findings, each with
    the incident that had it last).
    """
    rows = [incidents for incidents, _ in pairs if len(incidents)]
    newest = pd.concat(rows or [pd.DataFrame(columns=["incident", "state", "of"])])
    newest = newest.drop_duplicates("incident", keep="last", ignore_index=True)
    for column in {"studies", "kinds", "impacts"} & set(newest):
        newest[column] = newest[column].map(list)
    last = set(zip(newest["of"], newest.incident, strict=True))
    parts = [
        findings[[(incidents["of"].iloc[0], name) in last for name in findings.incident]]
        for incidents, findings in pairs
        if len(incidents)
    ]
    nothing = pd.DataFrame(columns=INCIDENT_FINDING)
    every = pd.concat([nothing, *(findings for _, findings in pairs)])
    every = every.drop_duplicates(["study", "kind", "entity"], keep="last", ignore_index=True)
    return newest, pd.concat(parts, ignore_index=True) if parts else nothing, every


def findings_without_news(earlier, findings, *, last_night, nights, missing):
    """Return those `findings` of incidents still open on the `last_night` on which no table of tonight can
    say anything: they stay as they were, and count as `kept`.

    earlier, findings : the first two of `newest_of`. nights : studies with findings of tonight, be it of one
    table only. missing : studies, or tables of them and of their extra notebooks, without.
    """
    goes_on = (earlier["of"] == last_night) & ~earlier.state.isin(PAST_STATES)
    silent = findings.study.isin(missing) & ~findings.study.isin(list(nights))
    kept = findings.incident.isin(earlier.incident[goes_on]) & (findings.table.isin(missing) | silent)
    return findings[kept].drop(columns="incident").assign(kept=True)


def names_since(folder, day):
    """What the night `day` and later ones held when they ran: their findings with `incident` and
    `first_seen`, those of `day` first.

    What a night published replaces tables that cannot be read; a night with neither is left out. No night
    gives no row.
    """
    parts = [pd.DataFrame(columns=[*INCIDENT_FINDING, "first_seen"])]
    for night in known_nights(folder, day):
        try:
            tables = read_night(folder, night)
        except ValueError:
            tables = read_published(folder, night)
        if tables:
            incidents, findings = tables
            parts.append(
                findings[INCIDENT_FINDING].merge(incidents[["incident", "first_seen"]], on="incident")
            )
    return pd.concat(parts, ignore_index=True)


def watched_studies(folder, day):
    """Studies that reported on the last night before `day` (date text), if that is not more than GAP nights
    ago; None, all, where it cannot be read.

    What one of these finds tonight for the first time is news. What another study finds may be weeks old, see
    `tracking.ended_unwatched`.
    """
    counted = {path.stem for path in folder.glob("????-??-??.json")} | {*known_nights(folder, before=day)}
    last = max((night for night in counted if night < day), default=None)
    if last is None or (pd.Timestamp(day) - pd.Timestamp(last)).days > GAP:
        return set()
    if isinstance(studies := read_json(folder / f"{last}.json").get("studies"), dict):
        return set(studies)
    shown = published_by(folder, last)
    try:
        return set(shown["studies"]) - set(shown["digest"]["missing"]) if had_digest(shown) else None
    except (LookupError, TypeError):
        return None
