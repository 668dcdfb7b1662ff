"""Arithmetic of nights: days between them, and runs of consecutive nights that share a property."""

from datetime import date, timedelta
from itertools import groupby

ONE_DAY = timedelta(days=1)


def days_between(first, last):
    """Count the days from one night to another, both as text such as "2026-01-31"."""
    return (date.fromisoformat(last) - date.fromisoformat(first)).days


def day_before(day, n):
    """Name the night `n` days before a night, as text."""
    return str(date.fromisoformat(day) - n * ONE_DAY)


def runs_of(nights, key):
    """Split `nights`, things with a `day`, the earliest first, into runs of consecutive days with the same
    `key`, a function of a thing: list of lists.
    """
    numbered = enumerate(nights)
    groups = groupby(
        numbered, key=lambda pair: (days_between("2000-01-01", pair[1].day) - pair[0], key(pair[1]))
    )
    return [[one for _, one in group] for _, group in groups]
