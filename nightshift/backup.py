"""What cannot be made again, in one archive: `nightshift backup` and `nightshift restore`.

That is what people said (feedback, silences), the names of incidents, the history of nights, who was told of
what, the key of pseudonyms, and the configuration. Everything else follows from the sources.
"""

import contextlib
import gzip
import hashlib
import io
import json
import os
import shlex
import tarfile
import zlib
from datetime import UTC, datetime
from pathlib import Path

from helpers import project_path
from nightshift.log import log
from nightshift.night import WELL, night_of, refuse
from nightshift.products import TOLD, git_revision, read_json
from nightshift.reporting.products import is_day
from nightshift.wording import plural

KEPT = ("feedback/**/*", "data/incidents/*")  # below the products
OF_NIGHT = ("run.json", *TOLD)
CONTENTS, CONFIG, KEY = "nightshift-backup.json", "site.yaml", "keys.env"  # beside products/
VERSION = 1  # of the archive
# what reading a damaged archive raises, or one of something else
DAMAGE = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, KeyError, ValueError, AttributeError)


def files_to_keep(root):
    """Paths of the files below the folder of products `root` that cannot be made again, in the order to read
    them: what says which row of feedback was the last goes before the table, which may grow meanwhile. Hidden
    files, which are locks or half written, are none of them.
    """
    kept = [path for pattern in KEPT for path in root.glob(pattern)]
    kept += [
        path for path in root.glob("reports/*/*.json") if path.name in OF_NIGHT and is_day(path.parent.name)
    ]
    named = [path for path in kept if not path.name.startswith(".") and path.name != "README.md"]
    there = {path for path in named if path.is_file() and not path.is_symlink()}
    return sorted(there, key=lambda path: (path.suffix != ".last", path))


def content_of(path):
    """The bytes of a file as they are kept; a night is one whose pages are not there."""
    if path.name == "run.json":
        return json.dumps(read_json(path) | {"removed": True}).encode()
    return path.read_bytes()


def write_backup(config, root, archive, *, now=None):
    """Write the configuration at `config` and what cannot be made again below `root` to `archive`, a .tar.gz
    that nobody else may read; returns how many files it has.

    It is written to a temporary name and replaces an older one when it is whole. OSError where that fails.
    """
    entries = {}
    for path in files_to_keep(root):
        with contextlib.suppress(FileNotFoundError):  # a night that runs makes its tables anew
            entries[f"products/{path.relative_to(root).as_posix()}"] = content_of(path)
    entries[CONFIG] = Path(config).read_bytes()
    if key := os.environ.get("NIGHTSHIFT_KEY"):
        entries[KEY] = f"NIGHTSHIFT_KEY={shlex.quote(key)}\n".encode()  # a shell reads site.env
    at = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    contents = {"version": VERSION, "at": at, "revision": git_revision()}
    contents["sha256"] = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(entries.items())}
    temporary = archive.with_name(f".{archive.name}.part")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            write_archive(file, {CONTENTS: json.dumps(contents, indent=1).encode()} | entries)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(archive)
    finally:
        temporary.unlink(missing_ok=True)
    return len(entries)


def write_archive(file, entries):
    """Write {name: bytes} as a .tar.gz to an open file."""
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, data in entries.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o600
            tar.addfile(member, io.BytesIO(data))


def read_backup(archive):
    """The files of an archive that `write_backup` wrote, {name: bytes}, each as it was written; ValueError
    says in one line what is wrong with it.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            entries = {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}
        contents = json.loads(entries.pop(CONTENTS))
        version, written = contents.get("version"), contents.get("sha256")
    except DAMAGE as error:
        raise ValueError(f"{archive} is no backup, or a damaged one ({type(error).__name__})") from None
    if version != VERSION:
        raise ValueError(f"{archive} is a backup of version {version!r}, and this reads {VERSION}")
    if {name: hashlib.sha256(data).hexdigest() for name, data in entries.items()} != written:
        raise ValueError(f"{archive} is damaged: its files are not those that were written")
    for name in entries:
        if name not in (CONFIG, KEY) and (not name.startswith("products/") or ".." in name.split("/")):
            raise ValueError(f"{archive} has a file of another place, {name[:80]!r}")
    return entries


def restore_backup(archive, root, config=None):
    """Write what `archive` holds below the folder of products `root`, and its configuration to the path
    `config`; returns lines about it.

    Nothing is replaced: ValueError names the first file that is there and is another one, before anything is
    written. With `config` None the configuration stays in the archive.
    """
    entries = read_backup(archive)
    places = {root / name.removeprefix("products/"): data for name, data in entries.items() if "/" in name}
    if KEY in entries:
        places[root / KEY] = entries[KEY]
    if config:
        places[config] = entries[CONFIG]
    others = [path for path, data in places.items() if path.exists() and path.read_bytes() != data]
    if others:
        raise ValueError(f"{others[0]} is there and is another one; restore to an empty folder of products")
    for path, data in places.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode_of(path.name)), "wb") as file:
            file.write(data)
    n, where = len(places) - bool(config), f", the configuration at {config}" if config else ""
    lines = [f"{plural(n, 'file')} restored below {root}{where}"]
    if KEY in entries:
        lines.append(
            f"the key of pseudonyms is in {root / KEY}: add it to the credentials, and remove the file"
        )
    return lines


def mode_of(name):
    """Who may read a restored file: secrets and records of people for their owner alone."""
    return 0o600 if name in (KEY, "serve.log", "feedback.csv") else 0o644


def backup(path, archive):
    """Back up the products of the configuration at `path` to `archive`; returns the exit code."""
    try:
        _, _, root = night_of(path)
        n = write_backup(path, root, Path(archive))
    except (ValueError, OSError) as error:
        return refuse(error)
    log.info(f"{plural(n, 'file')} in {archive}, which only you can read", extra={"path": str(archive)})
    if not os.environ.get("NIGHTSHIFT_KEY"):
        log.warning("without the key of pseudonyms: NIGHTSHIFT_KEY is not set here")
    return WELL


def restore(archive, products, config):
    """Restore `archive` to the folder `products`, and its configuration to the path `config` unless that is
    empty; returns the exit code.
    """
    try:
        lines = restore_backup(Path(archive), project_path(products), Path(config) if config else None)
    except (ValueError, OSError) as error:
        return refuse(error)
    for line in lines:
        log.info(line)
    return WELL
