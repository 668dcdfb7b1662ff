"""The rows that made each finding: a section of the report of its study, and what leads there.

incident -> finding -> rows: the card of an incident leads to the tables that `sections_of` prepares, by the
links of `row_links`. What a table of rows holds is said in nightshift/evidence.py.
"""

import hashlib

import numpy as np
import pandas as pd

from nightshift import catalog
from nightshift.catalog import finding_tables
from nightshift.evidence import ROW, finding_id, ids_of
from nightshift.reporting.products import Damaged, lacking, reading
from nightshift.wording import NOTHING, moment, one_line, plural

MOST, LEAST = 50, 10  # rows of one finding on a page
ON_A_PAGE = 250  # rows of all findings, as long as each has LEAST
MAX_LINKS = 12  # of one incident
UNITS = {  # by the last part of the name of a column
    **{one: one for one in ("s", "h", "ms", "mib")},
    **{"d": "days", "gb": "GB", "gib": "GiB", "pct": "%", "w": "W", "c": "°C", "invpb": "/pb"},
}


def read_rows(root, table, wrote):
    """Read the rows of a table of findings below `root`; None where its step has written none.

    wrote : what the record of its step says of the files that it wrote, {path: fingerprint}. Damaged where
    they are not those, or not what evidence.py says.
    """
    name = f"data/rows/{table}.parquet"
    path, stated = root / name, wrote.get(name)
    if not isinstance(stated, dict):
        return None
    try:
        if stated.get("sha256") != hashlib.sha256(path.read_bytes()).hexdigest():
            raise ValueError("it is not what the chain wrote; somebody changed it since")
        rows = pd.read_parquet(path)
    except Exception as error:  # whatever pyarrow says of a damaged file
        raise reading(root, path, error) from None
    if missing := [column for column in ROW if column not in rows]:
        raise lacking(root, path, f"it lacks the column {missing[0]}")
    if not isinstance(rows.time.dtype, pd.DatetimeTZDtype):
        raise lacking(root, path, "its times have no zone")
    return rows


def sections_of_steps(root, study, steps, findings):
    """Prepare the rows of the findings of a study, by the step that made them: ({name of the step: list as
    `sections_of` gives it}, lines about tables that cannot be read).

    steps : those whose findings are of tonight. findings : DataFrame of FINDING, of all of them.
    """
    sections, lines = {}, []
    for step in steps:
        for table in finding_tables(study, step["name"]):
            try:
                rows = read_rows(root, table, step["products"])
            except Damaged as error:
                lines.append(f"Rows of findings are not shown: {error}")
                continue
            if rows is not None and len(findings):
                sections.setdefault(step["name"], []).extend(sections_of(findings, rows))
    return sections, lines


# -------------------------------------------------------------------------------------------------- sections


def sections_of(findings, rows):
    """Prepare the rows of findings for templates/page.html.j2: a list of dicts, one per finding that has
    some.

    findings : DataFrame of FINDING. rows : DataFrame of ROW and other columns. Keys: id, words ("86
    transfers"), title, note (how many are not shown, "" for none), heads (name of a column, and whether it
    holds numbers), lines (lists of text), and marks: classes that say which columns stand on the right.
    """
    of_finding = dict(list(rows.groupby("finding", sort=False)))
    n_shown = max(LEAST, min(MOST, ON_A_PAGE // max(len(of_finding), 1)))
    sections = []
    for name, finding in zip(ids_of(findings), findings.itertuples(), strict=True):
        if name in of_finding:
            part = of_finding[name]
            noun = catalog.rows_of(finding.study, finding.kind)
            heads, lines = table_of(part.head(n_shown))
            title = f"{named(finding.study, finding.kind, finding.entity)}, since {moment(finding.start)}"
            about = {"id": anchor(name), "words": plural(int(part["of"].iloc[0]), noun), "title": title}
            marks = " ".join(f"n{place}" for place, (_, is_numeric) in enumerate(heads, 1) if is_numeric)
            content = {"heads": heads, "lines": lines, "marks": marks}
            sections.append(about | content | {"note": note_of(part, n_shown)})
    return sections


def named(study, kind, entity):
    """Name a finding for people: "slow link: A -> B"."""
    return one_line(f"{catalog.label_of(study, kind)}: {entity}", 120)


def anchor(name):
    """The id, on the page of its study, of the rows of a finding."""
    return f"rows-{name}"


def note_of(part, n_shown):
    """Say how many of the rows of a finding are shown and how many are in the files; "" for all."""
    n, kept = int(part["of"].iloc[0]), len(part)
    if n <= n_shown:
        return ""
    files = "all are in the files" if kept == n else f"the first {kept:,} are in the files"
    return f"The first {min(n_shown, kept)} of {n:,}; {files}."


def table_of(rows):
    """Write rows as text: ([(name of a column, whether it holds numbers)], [[text of a cell]])."""
    shown = rows.drop(columns=["finding", "of"]).dropna(axis=1, how="all")
    heads = [(heading_of(name, shown[name]), is_number(shown[name])) for name in shown]
    columns = [texts_of(shown[name]) for name in shown]
    return heads, [list(line) for line in zip(*columns, strict=True)]


def is_number(column):
    """Whether a column holds numbers, which stand on the right."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def heading_of(name, column):
    """Write the name of a column as people read it: `size_gb` is "size, GB"; times get ", UTC"."""
    first, _, last = name.rpartition("_")
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return f"{one_line(name).replace('_', ' ')}, UTC"
    words = f"{first}, {UNITS[last]}" if first and last in UNITS else name
    return one_line(words.replace("_", " "), 60)


def texts_of(column):
    """Write a column as texts, NOTHING for a gap: times without the zone, numbers to three digits."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return clocks_of(column.dt.tz_convert("UTC"))
    if pd.api.types.is_bool_dtype(column):
        return [NOTHING if pd.isna(one) else "yes" if one else "no" for one in column]
    if is_number(column):
        write = str if pd.api.types.is_integer_dtype(column) else amount
        return [NOTHING if pd.isna(one) else write(one) for one in column]
    return [NOTHING if pd.isna(one) or one == "" else one_line(one, 120) for one in column]


def clocks_of(times):
    """Write times in UTC as days where all are midnights, else to the minute, or to the second where rows of
    one minute differ.
    """
    seen = times.dropna()
    per_minute = seen.dt.floor("min").nunique() == seen.nunique()
    form = "%Y-%m-%d %H:%M" if per_minute else "%Y-%m-%d %H:%M:%S"
    form = "%Y-%m-%d" if (seen == seen.dt.floor("D")).all() else form
    return [NOTHING if pd.isna(one) else f"{one:{form}}" for one in times]


def amount(number):
    """Write a number to three digits, from 1,000 on as a whole number: 0.000123, 12,345; or inf, nan."""
    if not np.isfinite(number):
        return str(number)
    return f"{number:,.0f}" if abs(number) >= 999.5 else f"{number:.3g}"  # else 999.6 would be 1e+03


# ----------------------------------------------------------------------------------------------------- links


def places_of(studies):
    """Say where the rows of all findings of a night stand: {name of the finding: (words, href from the folder
    of the night)}.

    studies : as `read_study` gives them.
    """
    return {
        one["id"].removeprefix(anchor("")): (one["words"], f"{s['study']}/{step}.html#{one['id']}")
        for s in studies
        for step, sections in s["rows"].items()
        for one in sections
    }


def row_links(incident, places):
    """List what leads from an incident to the rows of its findings: dicts of words, about and href.

    incident : as digest.json has it. places : {name of a finding: (words, href)} of the night. Those beyond
    MAX_LINKS are one link, to the first of them.
    """
    links = {}
    for one in incident["findings"]:
        name = finding_id(*(str(one.get(key) or "") for key in ("study", "kind", "entity")), one.get("start"))
        if name in places:
            words, href = places[name]
            links[name] = {
                "words": words,
                "about": named(one["study"], one["kind"], one["entity"]),
                "href": href,
            }
    shown, rest = list(links.values())[:MAX_LINKS], list(links.values())[MAX_LINKS:]
    return shown + [
        {"words": f"{len(rest)} more", "about": "beside them", "href": one["href"]} for one in rest[:1]
    ]
