"""Which files a source names."""

import glob
import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def matching_files(pattern):
    """Paths of the files that `pattern` names, sorted; a relative one counts from the repository, and none is
    an empty list.

    A path that exists is taken as it is, whatever letters it holds; only what does not exist is a pattern
    with *, ?, [...] and **.
    """
    path = str(REPOSITORY / Path(pattern).expanduser())
    if os.path.isfile(path):
        return [path]
    return sorted(filter(os.path.isfile, glob.glob(path, recursive=True)))


def no_file(pattern):
    """One line that says why `pattern` names no file."""
    path = REPOSITORY / Path(pattern).expanduser()
    return (
        f"{pattern} is a folder: name its files, such as {pattern.rstrip('/')}/*"
        if path.is_dir()
        else f"no file matches {pattern}"
    )
