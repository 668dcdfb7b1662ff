"""What the last nights were, as `nightshift status` prints it, and whether the newest one is too old."""

import json
from datetime import UTC, datetime
from pathlib import Path

from nightshift.log import print_line
from nightshift.night import FAILED, WELL, WRONG, night_of
from nightshift.products import read_json, size_and_time
from nightshift.reporting.digests import pressing
from nightshift.reporting.products import is_day
from nightshift.wording import NOTHING


def status(path, nights=7, max_age=30.0, quiet=False, as_json=False):
    """Print the last nights of the configuration at `path`, the newest one last; returns the exit code.

    nights : how many at most. max_age : hours since the newest night ended, above which this ends with
    FAILED. quiet : only say that it is too old. as_json : one object a line instead of a table.
    """
    try:
        _, _, root = night_of(path)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        print_line(error)
        return WRONG
    seen = recent_nights(root, nights)
    if not quiet:
        for line in [json.dumps(one) for one in seen] if as_json else table_of(seen, datetime.now(UTC)):
            print(line)
    problem = too_old(seen, datetime.now(UTC), max_age)
    if problem:
        print_line(problem)
    return FAILED if problem else WELL


def recent_nights(root, n):
    """The last `n` published nights below the folder `root`, the oldest one first, as dicts.

    Keys: day; ended, when its digest did, ISO 8601 in UTC; seconds, of all its steps together; bytes, of its
    pages and what lies beside them; reported and expected, numbers of studies, None where a damaged
    digest.json does not say; open, number of pressing incidents, and high, those of them that are severe.
    """
    reports = Path(root) / "reports"
    days = sorted(path.parent.name for path in reports.glob("*/digest.json") if is_day(path.parent.name))
    return [night_in(reports / day) for day in days[-n:]]


def night_in(report):
    """One night of `recent_nights`, published in the folder `report`."""
    digest = read_json(report / "digest.json")
    ended = (digest.get("digest") or {}).get("ended") or None
    coverage = digest.get("coverage") or {}
    records = map(read_json, [*report.glob("*/*.json"), *report.glob("*_run.json")])
    is_open = list(filter(pressing, digest.get("incidents") or []))
    files = (path for path in report.rglob("*") if path.is_file())  # a night that runs may remove some
    return {
        "day": report.name,
        "ended": ended,
        "seconds": round(sum(record.get("seconds") or 0 for record in records), 1),
        "bytes": sum(size for path in files for size in size_and_time(path)[:1]),
        "reported": coverage.get("reported"),
        "expected": coverage.get("expected"),
        "open": len(is_open),
        "high": sum(one["severity"] == "high" for one in is_open),
    }


def hours_since(night, now):
    """Hours from the end of a night of `recent_nights` to `now`; None where it has none."""
    return (now - datetime.fromisoformat(night["ended"])).total_seconds() / 3600 if night["ended"] else None


def too_old(seen, now, max_age):
    """One line that says that there is no night, that the newest of the nights `seen` did not end, or that it
    ended more than `max_age` hours ago; "" otherwise.
    """
    if not seen:
        return "no night has been published"
    age = hours_since(seen[-1], now)
    if age is None:
        return f"the digest of {seen[-1]['day']} did not end"
    return f"the last night, {seen[-1]['day']}, ended {age:.0f} hours ago" if age > max_age else ""


def table_of(seen, now):
    """Lines of text, a header and one for each of the nights `seen`."""
    lines = [f"{'night':<12}{'age':>9}{'steps':>9}{'size':>10}{'studies':>10}  open incidents"]
    for night in seen:
        age = hours_since(night, now)
        reported, expected = (NOTHING if night[n] is None else night[n] for n in ("reported", "expected"))
        lines.append(
            f"{night['day']:<12}"
            f"{'no end' if age is None else f'{age:.0f} h':>9}"
            f"{night['seconds'] / 60:>5.1f} min"
            f"{night['bytes'] / 1e6:>7.1f} MB"
            f"{reported:>5} of {expected}"
            f"  {night['open']}, {night['high']} high"
        )
    return lines if seen else []
