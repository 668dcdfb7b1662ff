"""What each step writes below the products folder, and fingerprints by which its files are recognised."""

import contextlib
import functools
import hashlib
import json
import os
import subprocess
import time
from pathlib import Path

from nightshift.catalog import STEPS, finding_tables

MEBIBYTE = 2**20
# sections of the configuration about who is told of a night, and the files of a night that say who was
TOLD_BY = ("mail", "webhooks", "alertmanager")
TOLD = tuple(f"{name}.json" for name in TOLD_BY)
SMALL = 100_000  # bytes of a file up to which its content is read to tell whether it is the same


def expanded(path):
    """Replace ~ or ~user at the beginning of `path` by the home folder: Path; ValueError of one line where no
    such folder is known.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"no home folder is known for {path}") from None


def read_json(path):
    """Read the JSON object at `path`: dict, an empty one where there is none that can be read."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def sync(path):
    """Write the content of a file, or which files a folder has, to disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def read_notebook(path):
    """Read the notebook at `path`: dict, None where it does not exist, is no notebook or was cut off while
    being written.
    """
    notebook = read_json(path)
    whole = isinstance(notebook.get("cells"), list) and isinstance(notebook.get("metadata"), dict)
    return notebook if whole else None


def patterns_of(study, step):
    """List the patterns of the products of a step, relative to the products folder.

    Pictures do not count, since the executed notebook holds them, nor does what several steps of a study
    write, such as the embeddings of tickets, in any but the second step.
    """
    if step == "simulate":
        return ["data/sample/**/*"]
    if step == "digest":
        return ["data/incidents/{day}*"]
    if step not in STEPS:
        return tables_of(study, step)
    return {
        "1_extract": [f"data/raw/{study}/**/*"],
        "2_preprocess": [f"data/clean/{study}{end}" for end in (".*", "_*", ".*/*", "_*/*")]
        + [f"encoders/{study}/**/*"],
        "3_train": [f"models/{study}/**/*"],
        "4_analyse": [f"data/scores/{study}.*", f"data/scores/{study}_*", *tables_of(study, step)],
    }[step]


def tables_of(study, step):
    """List the paths of the tables of findings that a step of a study writes, and of their rows."""
    names = finding_tables(study, step)
    return [f"data/{folder}/{name}.parquet" for name in names for folder in ("findings", "rows")]


def products_of(root, patterns, *, since=0.0):
    """List the files below `root` that match `patterns` and were written at `since` (seconds since 1970) or
    later: sorted paths, without hidden files. Raw tables in many files, and notes, count as their folder.
    """
    root = Path(root)
    paths = {path for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    paths = {whole_of(root, path) for path in paths}
    visible = [
        path for path in paths if not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]
    return sorted(path for path in visible if path.stat().st_mtime >= since)


def whole_of(root, path):
    """Return the path of a product below `root`, or of its folder where that counts as one product:
    data/raw/<study>/nodes, notes, or a table such as data/raw/<study>/histograms.parquet.
    """
    parts = path.relative_to(root).parts
    is_one_of_many = len(parts) > 4 and (parts[3] in ("nodes", "notes") or parts[3].endswith(".parquet"))
    return Path(root, *parts[:4]) if parts[:2] == ("data", "raw") and is_one_of_many else path


def fingerprint(path):
    """Make the fingerprint of the file at `path`: {"size", "mtime_ns", "sha256"}; of a folder the sum of the
    sizes of its Parquet files, their newest time, and a hash of their names, sizes and times.
    """
    if path.is_dir():
        stats = [(one.relative_to(path).as_posix(), one.stat()) for one in sorted(path.rglob("*.parquet"))]
        states = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
        newest = max((mtime_ns for *_, mtime_ns in states), default=0)
        hashed = hashlib.sha256(json.dumps(states).encode()).hexdigest()
        return {"size": sum(size for _, size, _ in states), "mtime_ns": newest, "sha256": hashed}
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256(path)}


def sha256(path):
    """Hash the file at `path`: hexadecimal text."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(MEBIBYTE):
            digest.update(part)
    return digest.hexdigest()


def is_same(path, recorded):
    """Whether the file or folder at `path` is the one whose `fingerprint` was `recorded`; the content of a
    file is read only where its size is the same and its time is not.
    """
    if path.is_dir():
        return fingerprint(path) == recorded
    try:
        stat = path.stat()
        if stat.st_size != recorded["size"]:
            return False
        return stat.st_mtime_ns == recorded["mtime_ns"] or sha256(path) == recorded["sha256"]
    except (OSError, KeyError, TypeError):
        return False


def differing(root, products, below=""):
    """List the paths of `products` {path below `root`: fingerprint} that are missing or have changed, of
    those that begin with `below`.
    """
    return [
        name
        for name, recorded in sorted(products.items())
        if name.startswith(below) and not is_same(Path(root) / name, recorded)
    ]


def state_of(paths):
    """Hash the files at `paths` as they are: their sizes, and their contents up to SMALL bytes or else their
    times. A file that is put back from a copy has its old time, so that Snakemake alone would not notice it.
    """
    states = [[str(path), *_size_and_content(Path(path))] for path in paths]
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()


def size_and_time(path):
    """Return [size, time of its content in ns] of the file at `path`; an empty list where there is none."""
    try:
        there = os.stat(path)
    except OSError:
        return []
    return [there.st_size, there.st_mtime_ns]


def stamp(path):
    """Return (size, time of its content in ns, time of its last change of any kind in ns) of a file; an empty
    tuple where it is not there.
    """
    try:
        stat = os.stat(path)
    except OSError:
        return ()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _size_and_content(path):
    """[size, hash of a small file or time of another one] of what is at `path`; none where it cannot be
    read.
    """
    try:
        stat = path.stat()
        return [
            stat.st_size,
            sha256(path) if path.is_file() and stat.st_size <= SMALL else stat.st_mtime_ns,
        ]
    except OSError:
        return []


def is_ahead(path):
    """Whether a file is there and dated in the future, as by a clock that was ahead."""
    try:
        return Path(path).stat().st_mtime > time.time()
    except OSError:
        return False


def correct_times(root):
    """Date products below `root` that are dated in the future as written now; returns how many there were.

    Snakemake fails where a product is older than what it was made of, which would be in every run until that
    future time has come.
    """
    ahead = [
        path
        for name in ("data", "encoders", "models")
        for path in (Path(root) / name).rglob("*")
        if path.is_file() and is_ahead(path)
    ]
    for path in ahead:
        with contextlib.suppress(OSError):  # it is somebody else's
            os.utime(path)
    return len(ahead)


@functools.cache
def code_below(*places):
    """Hash modules of the package: those below each of the folders `places`, or the files there."""
    digest = hashlib.sha256()
    for place in (Path(__file__).parent / place for place in places):
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def git_revision():
    """Return the short revision of the code that runs, with a "+" where files differ from it; outside a git
    checkout, as in a container, what NIGHTSHIFT_REVISION says, or "unknown".
    """
    folder = Path(__file__).resolve().parents[1]
    # safe.directory: a service runs code that belongs to another account
    ask = ["git", "-c", f"safe.directory={folder}", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        revision = subprocess.run(ask, cwd=folder, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:  # no git
        revision = ""
    return revision or os.environ.get("NIGHTSHIFT_REVISION") or "unknown"
