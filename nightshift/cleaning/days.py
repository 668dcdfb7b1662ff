"""Tables in folders with a file per day (UTC): names of days, and how a changed file is recognised."""

from pathlib import Path

import numpy as np


def day_name(number):
    """Name the day that is `number` days after 1970-01-01: "2026-01-31"."""
    return str(np.datetime64(int(number), "D"))


def files_below(folder, pattern):
    """Read the states of the files in a folder that match a pattern: {path below it: [size, time in ns]}."""
    found = {path.relative_to(folder).as_posix(): path.stat() for path in Path(folder).glob(pattern)}
    return {name: [one.st_size, one.st_mtime_ns] for name, one in found.items()}
