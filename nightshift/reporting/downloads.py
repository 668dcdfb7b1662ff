"""What a report gives to take along: its findings as tables, the executed notebook, its record and log, and
the files that the study offers. They lie beside the page, so that a copied folder is whole.
"""

import shutil

from helpers import atomic, write_parquet
from nightshift import catalog
from nightshift.catalog import STEPS, finding_tables
from nightshift.reporting.products import Damaged, read_findings
from nightshift.schemas import TEXT, columns_of

RUN = {
    ".ipynb": "executed notebook, for Jupyter",
    ".json": "record of the run, for programs",
    ".log": "log of the run",
}
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


def downloads_of(root, s, step, folder):
    """Write the findings of a step of a study, and what the study offers, to `folder`, and list all files
    there that belong to its report: dicts of name, what and size, the latter in words.

    s : as `read_study` gives it; step : of its steps. What an earlier run of the night left there goes.
    """
    files = {}
    for table in finding_tables(s["study"], step["name"]):
        names = [f"{table}_findings{suffix}" for suffix in (".csv", ".parquet")]
        findings = findings_of(root, s, step, f"data/findings/{table}.parquet")
        for name, what in zip(names, ("findings, for a spreadsheet", "findings, for programs"), strict=True):
            if findings is None:
                (folder / name).unlink(missing_ok=True)
            else:
                files[name] = what
        if findings is not None:
            write_csv(findings, folder / names[0])
            write_parquet(findings, folder / names[1])
    if step["name"] == STEPS[-1]:
        files |= offered(root, s, folder)
    files |= {f"{step['name']}{suffix}": what for suffix, what in RUN.items()}
    there = {name: folder / name for name in files if (folder / name).exists()}
    return [{"name": name, "what": files[name], "size": size_of(path)} for name, path in there.items()]


def findings_of(root, s, step, path):
    """The table of findings of tonight at `path`; None where there is none or it is damaged."""
    if step["name"] not in s["tonight"] or not (root / path).exists():
        return None
    wrote = step["products"].get(path)
    try:
        return read_findings(root, path, wrote if isinstance(wrote, dict) else {})
    except Damaged:  # which the front page says
        return None


def offered(root, s, folder):
    """Copy the files that a study offers to `folder`: {name: what it is}; one that is not of tonight goes."""
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


def write_csv(findings, path):
    """Write findings as CSV. A text that a spreadsheet would take for a formula begins with an apostrophe."""
    shown = findings.copy()
    for column in columns_of(TEXT):
        shown[column] = [f"'{text}" if text.startswith(FORMULA) else text for text in shown[column]]
    with atomic(path) as temporary:
        shown.to_csv(temporary, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")


def size_of(path):
    """The size of the file at `path` in words: "812 bytes", "12 kB", "1.4 MB"."""
    size = path.stat().st_size
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1000:.0f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"
