"""What each step writes below the products folder, and fingerprints by which it is known again."""

import hashlib
from pathlib import Path

from steps import STEPS, findings_named, read_notebook

MEBIBYTE = 2**20


def patterns_of(study, step, notebook):
    """Patterns of the products of a step, relative to the products folder; `notebook`, a path, names those of
    a further page.

    Pictures are none: they stand in the executed notebook. Nor is what several steps of a study share, such
    as the embeddings of tickets, once the second step has ended.
    """
    if step == "simulate":
        return ["data/sample/**/*"]
    if step == "digest":
        return ["data/incidents/{day}*"]
    if step not in STEPS:
        return findings_named(study, read_notebook(Path(notebook)) or {"cells": [{"source": ""}]})
    return {
        "1_extract": [f"data/raw/{study}/**/*"],
        "2_preprocess": [f"data/clean/{study}.*", f"data/clean/{study}_*", f"encoders/{study}/**/*"],
        "3_train": [f"models/{study}/**/*"],
        "4_analyse": [f"data/scores/{study}.*", f"data/scores/{study}_*", f"data/findings/{study}.parquet"],
    }[step]


def products_of(root, patterns, *, since=0.0):
    """Files below `root` that match `patterns` and were written at `since` (seconds of the epoch) or later,
    as sorted paths; no hidden ones.
    """
    root = Path(root)
    found = {path for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    visible = [
        path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]
    return sorted(path for path in visible if path.stat().st_mtime >= since)


def fingerprint(path):
    """{"size", "mtime_ns", "sha256"} of the file at `path`."""
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256(path)}


def sha256(path):
    """Hash of the file at `path` as text."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(MEBIBYTE):
            digest.update(part)
    return digest.hexdigest()


def is_same(path, known):
    """Whether the file at `path` is the one whose `fingerprint` is `known`; its content is read only where
    size and time do not tell.
    """
    try:
        stat = path.stat()
        if stat.st_size != known["size"]:
            return False
        return stat.st_mtime_ns == known["mtime_ns"] or sha256(path) == known["sha256"]
    except (OSError, KeyError, TypeError):
        return False


def differing(root, products, below=""):
    """Paths of `products` {path below `root`: fingerprint} that are missing or another file now; only those
    whose path begins with `below`.
    """
    return [
        name
        for name, known in sorted(products.items())
        if name.startswith(below) and not is_same(Path(root) / name, known)
    ]
