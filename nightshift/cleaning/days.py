"""Tables in folders with a file per day (UTC): names of days, and by what a changed file is seen."""

from pathlib import Path

import numpy as np

US_OF_DAY = 86_400_000_000


def day_name(number):
    """Name the day that is `number` days after 1970-01-01: "2026-01-31"."""
    return str(np.datetime64(int(number), "D"))


def files_below(folder, pattern):
    """Size and time in ns of the files in a folder that match, {path below it: list}."""
    found = {path.relative_to(folder).as_posix(): path.stat() for path in Path(folder).glob(pattern)}
    return {name: [one.st_size, one.st_mtime_ns] for name, one in found.items()}
