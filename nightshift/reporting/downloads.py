"""The downloads of a report: its findings as tables, the executed notebook with its record and log, and the
files that the study offers. They lie beside the page, so that a copied folder is complete.
"""

import shutil

from helpers import atomic, write_csv, write_parquet
from nightshift import catalog
from nightshift.catalog import STEPS, finding_tables
from nightshift.evidence import MAX_ROWS
from nightshift.reporting.products import Damaged, read_findings
from nightshift.reporting.rows import read_rows

RUN = {
    ".ipynb": "executed notebook, for Jupyter",
    ".json": "record of the run, for programs",
    ".log": "log of the run",
}


def downloads_of(root, s, step, folder):
    """Write the findings of a step of a study, the rows that made them, and what the study offers, to
    `folder`, and list all files there that belong to its report: dicts of name, what and size, in words.

    root : of the products. s : as `read_study` gives it; step : one of its steps. What an earlier run of the
    night left there is removed.
    """
    files = {}
    for table in finding_tables(s["study"], step["name"]):
        findings = findings_of(root, s, step, f"data/findings/{table}.parquet")
        files |= write_both(findings, folder, f"{table}_findings", "findings")
        rows = rows_of(root, s, step, table)
        files |= write_both(rows, folder, f"{table}_rows", f"rows of the findings, up to {MAX_ROWS} of each")
    if step["name"] == STEPS[-1]:
        files |= offered(root, s, folder)
    files |= {f"{step['name']}{suffix}": what for suffix, what in RUN.items()}
    return listed(files, folder)


def downloads_of_digest(folder):
    """List the files of the run of the digest in `folder`, as `downloads_of` does."""
    names = {suffix: f"digest{suffix}" for suffix in RUN} | {".json": "digest_run.json"}
    return listed({names[suffix]: what for suffix, what in RUN.items()}, folder)


def listed(files, folder):
    """List those of `files`, {name: what it is}, that are in `folder`: dicts of name, what and size."""
    there = {name: folder / name for name in files if (folder / name).exists()}
    return [{"name": name, "what": files[name], "size": size_of(path)} for name, path in there.items()]


def findings_of(root, s, step, path):
    """The table of findings of tonight at `path`, below `root`; None where there is none or it is damaged."""
    if step["name"] not in s["tonight"] or not (root / path).exists():
        return None
    wrote = step["products"].get(path)
    try:
        return read_findings(root, path, wrote if isinstance(wrote, dict) else {})
    except Damaged:  # the front page says so
        return None


def rows_of(root, s, step, table):
    """The rows of a table of findings of tonight; None where there are none or they are damaged."""
    if step["name"] not in s["tonight"]:
        return None
    try:
        rows = read_rows(root, table, step["products"])
    except Damaged:  # the study warns of it
        return None
    return rows if rows is not None and len(rows) else None


def write_both(table, folder, name, what):
    """Write a table to `folder` as CSV and as Parquet: {name of the file: what it is}; where it is None, the
    files of an earlier run are removed.
    """
    files = {f"{name}.csv": f"{what}, for a spreadsheet", f"{name}.parquet": f"{what}, for programs"}
    if table is None:
        for file in files:
            (folder / file).unlink(missing_ok=True)
        return {}
    write_csv(table, folder / f"{name}.csv")
    write_parquet(table, folder / f"{name}.parquet")
    return files


def offered(root, s, folder):
    """Copy the files that a study offers to `folder`: {name: what it is}; one not of tonight is removed."""
    files = {}
    for path, what in catalog.study_of(s["study"]).downloads.items():
        source = root / path
        target = folder / source.name
        target.unlink(missing_ok=True)
        if STEPS[-1] in s["tonight"] and source.is_file():
            with atomic(target) as temporary:
                shutil.copyfile(source, temporary)
            files[target.name] = what
    return files


def size_of(path):
    """The size of the file at `path` in words: "812 bytes", "12 kB", "1.4 MB"."""
    size = path.stat().st_size
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1000:.0f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"
