"""Whether a run, or the rendering of its site, can be skipped, since no file has changed since the last one
ended well.

Snakemake needs a second to find that out, and the site two more to come out the same. Here all files count,
by size and times: anything touched, replaced, added or removed among sources, code, templates and products
makes the whole run happen, which then decides by itself what of it matters.
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
RUN, SITE = "data/.unchanged.json", "data/.published.json"  # memos, below the products folder
MEMOS = tuple(os.path.basename(memo) for memo in (RUN, SITE))
CACHES = ("__pycache__", ".ipynb_checkpoints")  # folders whose changes mean nothing


def memo_of(root, what=RUN):
    """Return the path of the memo, below the products folder `root`, of what the last RUN or SITE read and
    left when it ended well.
    """
    return root / what


def is_as_left(root, read, what):
    """Tell whether a RUN or SITE that reads `read`, a hash, would repeat the last one that ended well: it
    reads the same, and finds everything as that one left it.
    """
    memo = read_json(memo_of(root, what))
    return memo.get("read") == read and memo.get("left") == what_it_left(root)


def is_unchanged(night, read):
    """Tell whether a run of `night`, a nightshift.chain.Night, would change nothing; not where it waits for a
    server that had not everything yet, which is to be asked again. read : hash of `what_it_reads` now.
    """
    if not is_as_left(night.root, read, RUN):
        return False
    return not night.forced("all") and not night.forced("digest")


def forget(root):
    """Make the next run below `root` happen, even if nothing has changed."""
    memo_of(root).unlink(missing_ok=True)


def remember(root, read, what=RUN):
    """Note that the RUN of the night below `root`, or its SITE, has ended well. read : the hash from before
    it began, so that what changed meanwhile counts as changed.
    """
    memo = memo_of(root, what)
    memo.parent.mkdir(parents=True, exist_ok=True)
    memo.write_text(json.dumps({"read": read, "left": what_it_left(root)}), encoding="utf-8")


def what_a_site_reads(config, day):
    """Hash all that the site of the night `day` is rendered from besides its products: `config`, code and
    libraries.
    """
    return hashed([config, day, made_by(), stamps(REPOSITORY / name for name in CODE)])


def made_by():
    """List what identifies the software: Python, the repository's revision and path, the state of the folder
    of installed packages.
    """
    return [sys.version, git_revision(), REPOSITORY, stamp(sysconfig.get_path("purelib"))]


def what_it_reads(night):
    """Hash all that a `night` reads: configuration, code, libraries, sources, earlier incidents, feedback."""
    files = [path for study in night.studies for path in files_of_study(night, study)]
    files += night.digest_reads()
    return hashed([night.config, made_by(), stamps(map(Path, [*CODE, *files]))])


def files_of_study(night, study):
    """List the files that the steps of a study read besides products of the chain: paths."""
    beside = [path for step in steps_of(study) for path in night.read_beside(study, step)]
    return [*night.files_of_source(study), *beside]


def what_it_left(root):
    """Hash all products below `root`, those of other nights included."""
    return hashed(stamps(root / name for name in PRODUCTS))


def hashed(content):
    """Hash `content`, anything that JSON holds or that has a text, such as a path: hexadecimal text."""
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()


def stamps(paths):
    """List [path, size, times] of the files at `paths`, or below them where they are folders, by path."""
    return sorted([str(file), *stamp(file)] for path in paths for file in files_below(path))


def files_below(path):
    """List the paths of the files below the folder `path`, without CACHES and MEMOS; `path` alone where it is
    no folder.
    """
    if not path.is_dir():
        return [path]
    files = []
    for folder, names, found in os.walk(path, followlinks=True):
        names[:] = [name for name in names if name not in CACHES]
        files += [os.path.join(folder, name) for name in found]
    return [file for file in files if os.path.basename(file) not in MEMOS]
