"""What is removed because it is old, by rules of the configuration: by `nightshift prune`, and at the end of
each night.

keep_nights : pages of nights (reporting/archive.py, when a night is published). keep_raw_days : raw and clean
data, scores, findings and rows of studies that have not run for so many days. keep_model_days : their models,
encoders and pictures. 0 keeps all.

Nothing of a study that the configuration names is removed, since its next night needs it. Feedback, the names
of incidents and everything of the last night always stay.
"""

import shutil
from datetime import date

from nightshift.products import read_json
from nightshift.reporting.products import is_day
from nightshift.runs import record_path

RAW = ["data/raw/{}"] + [
    f"data/{name}/{end}" for name in ("clean", "scores", "findings", "rows") for end in ("{}.*", "{}_*")
]
RAW += ["data/clean/.{}", "data/scores/.{}", "data/scores/.{}_*"]
MODELS = ["models/{}", "encoders/{}", "plots/{}"]
RULES = {"keep_raw_days": RAW, "keep_model_days": MODELS}


def old_products(root, config):
    """List the paths below `root` that are old by the rules of a checked configuration, sorted.

    A study is old when the configuration does not name it and its last record is more days before the newest
    night than a rule says; without a record, it keeps everything.
    """
    nights = sorted(path.name for path in root.glob("reports/*") if is_day(path.name))
    if not nights:
        return []
    there = studies_below(root)
    ages = {study: age_of(root, study, nights) for study in there - set(config["studies"])}
    paths = set()
    for setting, patterns in RULES.items():
        days = config.get(setting, 0)
        old = [study for study, age in ages.items() if days and age is not None and age > days]
        found = {path for study in old for pattern in patterns for path in root.glob(pattern.format(study))}
        paths |= {path for path in found if owner_of(path, {*there, *config["studies"]}) in old}
    return sorted(paths)


def owner_of(path, studies):
    """Find the study among `studies` that a product belongs to: the one with the longest name with which its
    name begins, since `a_b` may be a table of the study `a`, or of a study `a_b`.
    """
    name = path.name.lstrip(".")
    owners = [study for study in studies if name == study or name.startswith((f"{study}.", f"{study}_"))]
    return max(owners, key=len, default="")


def studies_below(root):
    """List the names of the studies that have raw data or models below `root`."""
    return {path.name for name in ("data/raw", "models") for path in root.glob(f"{name}/*") if path.is_dir()}


def age_of(root, study, nights):
    """Count the days from the last night on which a study left a record to the newest of `nights`; None
    without a record.
    """
    ran = [night for night in nights if has_record(root / "reports" / night, study)]
    return (date.fromisoformat(nights[-1]) - date.fromisoformat(ran[-1])).days if ran else None


def has_record(report, study):
    """Whether a study ran on the night of the folder `report`, or its history says so."""
    run = read_json(report / "run.json")
    return record_path(report, study, "1_extract").exists() or study in (run.get("studies") or {})


def prune(root, config, *, dry_run=False):
    """Remove `old_products`, or only find them in a `dry_run`: (their paths, how many bytes they take)."""
    paths = old_products(root, config)
    taken = sum(size_of(path) for path in paths)
    for path in [] if dry_run else paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return paths, taken


def size_of(path):
    """Add up the bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return sum(one.lstat().st_size for one in files if not one.is_dir())


def words_about(paths, taken, *, dry_run=False):
    """Say in lines what `prune` returned: each path, and how many bytes; no line where there is nothing."""
    lines = [f"{'would remove' if dry_run else 'removed'} {path}" for path in paths]
    return [*lines, f"{taken / 1e6:.1f} MB of studies that have not run for long"] if paths else []
