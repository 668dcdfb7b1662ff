"""What an extraction leaves beside its tables: how the source was, and what did not parse."""

import contextlib
import hashlib
from types import MappingProxyType

import pandas as pd

from helpers import write_csv, write_json
from nightshift.credentials import masked
from nightshift.products import sha256


def keep_private(folder):
    """Make `folder`, that of the raw data of all studies, which may hold anything about people, and let only
    its owner look into it.
    """
    with contextlib.suppress(OSError):  # it belongs to somebody else, or the disk is read-only
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)


def write_bad_lines(raw, bad_lines):
    """Write `raw`/bad_lines.csv, atomically: what did not parse, as (file, line number, reason, text); no
    bad line leaves the header.
    """
    write_csv(pd.DataFrame(bad_lines, columns=["file", "line", "reason", "text"]), raw / "bad_lines.csv")


def sha256_of(paths, hashes=MappingProxyType({})):
    """Hash the hashes of the files at `paths`, in their order: hexadecimal text. hashes : {path: text}, those
    of files that need not be read.
    """
    digests = (bytes.fromhex(hashes[path] if path in hashes else sha256(path)) for path in paths)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def write_status(raw, *, state, rows, newest, source, window, sha256=None, **more):
    """Write `raw`/status.json: state (ok, partial, stale, empty, failed), rows, newest timestamp, source
    without secrets, window (first day, last day) and sha256, by default over the hashes of the Parquet files
    below `raw`, by name. The folder above is kept private, which a night has done before the first
    extraction. Returns what was written, a dict.
    """
    keep_private(raw.parent)
    sha256 = sha256 or sha256_of(sorted(raw.rglob("*.parquet")))
    source = masked(source)
    # rows without any time have no newest one
    newest = newest if rows and newest not in ("NaT", "None", "nan") else None
    status = dict(
        state=state,
        rows=int(rows),
        newest=newest,
        source=source,
        window=list(window),
        sha256=sha256,
        **more,
    )
    write_json(status, raw / "status.json")
    return status
