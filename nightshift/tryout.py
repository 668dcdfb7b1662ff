"""Try-outs: what is executed outside the chain reads the products of the night and writes elsewhere.

A products folder that the chain writes to is published: its pages and mails say what its tables hold. A
notebook that somebody opens there, or runs with papermill, gets a folder of its own below it, `products/try`
in the repository and `try` elsewhere. In that folder every product of the night stands as a symbolic link to
the night's own file, so that all can be read, and what is written replaces the link and not the file. Steps
that are tried one after another read what the ones before have written there, until the night's own file is
newer.
"""

import os
import uuid
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PRODUCTS = ("data", "encoders", "models", "plots", "feedback")
CHAIN_RUNS = "NIGHTSHIFT_RUN"  # environment variable that the chain sets for its kernels
shown = set()  # folders that this process has named


def output_root(root):
    """The folder below which a notebook reads and writes whose products folder is `root`: `root` itself, or
    that of its try-outs.

    The chain writes to `root`, and so does everything where the chain has never run. Says once, in one
    sentence, where a try-out writes.
    """
    root = Path(root)
    if os.environ.get(CHAIN_RUNS) or not is_published(root):
        return root
    folder = tryout_folder(root)
    link_products(root, folder)
    if folder not in shown:
        shown.add(folder)
        from helpers import say

        say(
            "**Try-out:** this run reads the products of the night below {root} and writes below {folder}, "
            "so that nothing published changes.",
            root=str(root),
            folder=str(folder),
        )
    return folder


def is_published(root):
    """Whether the chain has run in the folder `root`."""
    return (root / ".lock").exists() or any(root.glob("reports/*/run.json"))


def tryout_folder(root):
    """Where try-outs of the products folder `root` write."""
    return root / "products/try" if root.resolve() == REPOSITORY else root / "try"


def link_products(root, folder):
    """Let `folder` hold every product below `root` as a link; what a try-out has written there stays as long
    as the night's own file is older.
    """
    for name in PRODUCTS:
        for path in files_below(root / name):
            there = folder / path.relative_to(root)
            if there.is_symlink() and os.readlink(there) == str(path.absolute()):
                continue
            if not there.is_symlink() and there.exists() and there.stat().st_mtime >= path.stat().st_mtime:
                continue
            there.parent.mkdir(parents=True, exist_ok=True)
            temporary = there.with_name(f".{uuid.uuid4().hex[:8]}-{there.name}")
            temporary.symlink_to(path.absolute())
            os.replace(temporary, there)
        for path in files_below(folder / name):  # links to what the night no longer has
            if path.is_symlink() and not path.exists():
                path.unlink(missing_ok=True)


def files_below(folder):
    """Files and links below `folder`, without hidden ones and what lies in hidden folders; sorted."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(found)
