"""Try-outs: a notebook that runs outside the chain reads the products of the night and writes elsewhere.

A products folder that the chain writes to is published: its pages and mails say what its tables hold. A
notebook that somebody opens there, or runs with papermill, gets a folder of its own below it, `products/try`
in the repository and `try` elsewhere. That folder holds every product of the night: as a copy up to
COPIED_BYTES, so that even a cell that writes over it in place changes nothing of the night, and as a symbolic
link above, which our own notebooks replace and do not follow. Steps that are tried one after another read
what the ones before have written there, until the night's own file is newer.
"""

import json
import os
import shutil
import uuid
from collections import Counter
from pathlib import Path

from nightshift.products import read_json

REPOSITORY = Path(__file__).resolve().parents[1]
PRODUCTS = ("data", "encoders", "models", "plots", "feedback")
COPIED_BYTES = 16 * 2**20  # findings, scores, models and encoders are smaller; raw data may not be
CHAIN_RUNS = "NIGHTSHIFT_RUN"  # environment variable that the chain sets for its kernels
shown = set()  # folders that this process has named


def output_root(root, show):
    """Return the folder below which a notebook with the products folder `root` reads and writes: `root`
    itself, or that of its try-outs.

    The chain writes to `root`, and so does everything where the chain has never run. show : function of a
    sentence with placeholders and of their values, such as `show_sentence`; called once, to say where a
    try-out writes.
    """
    root = Path(root)
    if not is_by_hand() or not is_published(root):
        return root
    folder = tryout_folder(root)
    link_products(root, folder)
    if folder not in shown:
        shown.add(folder)
        show(
            "**Try-out:** this run reads the products of the night below {root} and writes below {folder}, "
            "so that nothing published changes.",
            root=str(root),
            folder=str(folder),
        )
    return folder


def is_by_hand():
    """Whether somebody runs this, in JupyterLab or with papermill, and not the chain."""
    return not os.environ.get(CHAIN_RUNS)


def usual(name, value, left, *, in_night, by_hand, show):
    """Return the value of a parameter of a training: `value` where it was set; where it still has its default
    `left`, `in_night` in the chain, and by hand the shorter `by_hand`, which a sentence then says.

    name : of the parameter. value, left, in_night, by_hand : lists. show : as for `output_root`.
    """
    if value != left:
        return value
    if not is_by_hand():
        return in_night
    show(
        "**Try-out:** to take less time, the parameter {name} is {short} here; in the night it is {whole}.",
        name=name,
        short=by_hand,
        whole=in_night,
    )
    return by_hand


def is_published(root):
    """Whether the chain has run in the folder `root`."""
    return (root / ".lock").exists() or any(root.glob("reports/*/run.json"))


def tryout_folder(root):
    """Where try-outs of the products folder `root` write."""
    return root / "products/try" if root.resolve() == REPOSITORY else root / "try"


def link_products(root, folder):
    """Let `folder` hold every product below `root`, copied or linked. What a try-out wrote there stays until
    the night's own file is newer; what the night no longer has is removed, unless a try-out wrote it.
    """
    notes = folder / ".copied.json"  # {path: time in ns} of the copies, to tell them from what was tried
    copied, tables = read_json(notes), folder / ".tables.json"
    present = {
        path.relative_to(root).as_posix(): path for name in PRODUCTS for path in files_below(root / name)
    }
    tried = tables_tried(root, folder, read_json(tables))
    present = {name: path for name, path in present.items() if folder_of(name) not in tried}
    sizes = Counter()  # of tables in many files, such as data/raw/telemetry, as a whole
    for name, path in present.items():
        sizes[table_of(name)] += path.stat().st_size
    for name, path in present.items():
        there, stat = folder / name, path.stat()
        if not os.path.lexists(there) or there.lstat().st_mtime_ns < stat.st_mtime_ns:
            place(path, there, sizes[table_of(name)])
            copied[name] = stat.st_mtime_ns
    for name in copied.keys() - present.keys():
        there = folder / name
        is_copy = there.is_symlink() or (there.exists() and there.stat().st_mtime_ns == copied[name])
        if is_copy and folder_of(name) not in tried:
            there.unlink()
        del copied[name]
    folder.mkdir(parents=True, exist_ok=True)
    notes.write_text(json.dumps(copied))
    numbers = {name: (folder / name).stat().st_ino for name in {*map(folder_of, present)} - {""}}
    tables.write_text(json.dumps(numbers | dict.fromkeys(tried, 0)))


def folder_of(name):
    """Name the table in many files of which the product `name` is a part, such as data/raw/x/rows.parquet; ""
    where it is a part of none.
    """
    parent = str(Path(name).parent)
    return parent if parent.endswith(".parquet") else ""


def tables_tried(root, folder, linked):
    """Name the tables in many files that a try-out has replaced as a whole: a set. Where the night's own
    table is newer, that of the try-out is removed.

    linked : {name: inode of the folder} of the tables that the last `link_products` left there.
    """
    tried = set()
    for name, number in linked.items():
        there, own = folder / name, root / name
        if there.is_dir() and there.stat().st_ino != number:
            if own.is_dir() and own.stat().st_mtime_ns > there.stat().st_mtime_ns:
                shutil.rmtree(there)
            else:
                tried.add(name)
    return tried


def table_of(name):
    """Name what is copied or linked as one with a product, by its path below the products folder: a folder
    such as data/raw/telemetry, or the product itself.
    """
    return "/".join(name.split("/")[:3])


def place(path, there, size):
    """Replace what is at `there` by the night's file at `path`: a copy where the table that it belongs to has
    at most COPIED_BYTES of its `size` in bytes, else a link.
    """
    if there.parent.is_file():  # of a version that kept in one file what is a folder now
        there.parent.unlink()
    there.parent.mkdir(parents=True, exist_ok=True)
    temporary = there.with_name(f".{uuid.uuid4().hex[:8]}-{there.name}")
    if size <= COPIED_BYTES:
        shutil.copy2(path, temporary)
    else:
        temporary.symlink_to(path.absolute())
    os.replace(temporary, there)


def files_below(folder):
    """Files and links below `folder`, without hidden ones and what lies in hidden folders; sorted."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(found)
