"""Whether a night needs no run, or its site no rendering, since no file has changed since that ended well.

Snakemake needs a second to see that, and the site two more to be the same again. Here all files count, by
size and times: whatever is touched, replaced, added or removed, among sources, code, templates and products,
lets the whole run happen, which then decides by itself what of it matters.
"""

import hashlib
import json
import os
import sys
import sysconfig
from pathlib import Path

from nightshift.catalog import steps_of
from nightshift.products import git_revision, read_json, stamp
from nightshift.sources.files import REPOSITORY

CODE = ("helpers.py", "nightshift", "notebooks", "templates", "workflow", "sites.yaml", "remediations.yaml")
PRODUCTS = ("data", "encoders", "models", "plots", "reports")
MEMOS = (".unchanged.json", ".published.json")
BY_THE_WAY = ("__pycache__", ".ipynb_checkpoints")  # folders that say nothing of what they stand beside


RUN, SITE = "data/.unchanged.json", "data/.published.json"


def memo_of(root, what=RUN):
    """Where it is noted, below the products folder `root`, what ended well, RUN or SITE, read and left."""
    return root / what


def is_as_left(root, read, what):
    """Whether RUN or SITE would read what it read when it ended well, and finds all as it left it."""
    memo = read_json(memo_of(root, what))
    return memo.get("read") == read and memo.get("left") == what_it_left(root)


def is_unchanged(night, read):
    """Whether a run of `night`, a nightshift.chain.Night, would leave all as it is. read : what_it_reads now.
    A server that had not everything yet is asked again.
    """
    if not is_as_left(night.root, read, RUN):
        return False
    return not night.forced("all") and not night.forced("digest")


def forget(root):
    """Let the next run below `root` happen, whatever it finds."""
    memo_of(root).unlink(missing_ok=True)


def remember(root, read, what=RUN):
    """Note that the night below `root`, or its SITE, has ended well. read : what_it_reads from before it
    began, so that what changed meanwhile counts as changed.
    """
    memo = memo_of(root, what)
    memo.parent.mkdir(parents=True, exist_ok=True)
    memo.write_text(json.dumps({"read": read, "left": what_it_left(root)}), encoding="utf-8")


def what_a_site_reads(config, day):
    """Hash of all that the site of the night `day` is rendered from beside its products: `config`, code,
    libraries.
    """
    return hashed([config, day, made_by(), stamps(REPOSITORY / name for name in CODE)])


def made_by():
    """What a hash holds of the software: Python, the repository's revision and place, installed packages."""
    return [sys.version, git_revision(), REPOSITORY, stamp(sysconfig.get_path("purelib"))]


def what_it_reads(night):
    """Hash of all that `night` reads: configuration, code, libraries, sources, earlier incidents,
    feedback.
    """
    files = [path for study in night.studies for path in files_of_study(night, study)]
    files += night.digest_reads()
    return hashed([night.config, made_by(), stamps(map(Path, [*CODE, *files]))])


def files_of_study(night, study):
    """Paths of the files that the steps of a study read beside products of the chain."""
    beside = [path for step in steps_of(study) for path in night.read_beside(study, step)]
    return [*night.files_of_source(study), *beside]


def what_it_left(root):
    """Hash of all products below `root`, those of other nights among them."""
    return hashed(stamps(root / name for name in PRODUCTS))


def hashed(content):
    """Hash of `content`, anything that JSON holds, as text."""
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()


def stamps(paths):
    """[path, size, times] of the files at `paths` and below the folders there, sorted by path."""
    return sorted([str(file), *stamp(file)] for path in paths for file in files_below(path))


def files_below(path):
    """Paths of the files below the folder `path`, or `path` alone where it is none; memos are none of
    them.
    """
    if not path.is_dir():
        return [path]
    files = []
    for folder, names, found in os.walk(path, followlinks=True):
        names[:] = [name for name in names if name not in BY_THE_WAY]
        files += [os.path.join(folder, name) for name in found]
    return [file for file in files if os.path.basename(file) not in MEMOS]
