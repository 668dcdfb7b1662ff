"""Nights that were missed, as after days without power: which ones the next run makes up for.

Missed is what lies between the last night that was published and the one to report. A night that was cut off
before it was published counts as missed, and goes on where it stopped.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from nightshift.reporting.products import is_day
from nightshift.wording import plural


@dataclass
class Due:
    """Nights to run, the oldest first and the one to report last; nights that are too many, and left out."""

    nights: list[str]
    left_out: list[str]


def nights_due(reports, day, *, catch_up):
    """Find what is Due when the night `day` is to be reported: that alone where nothing was published before.

    reports : folder of the published nights. catch_up : how many missed nights to make up for, the latest.
    """
    published = [path.parent.name for path in reports.glob("*/run.json") if is_day(path.parent.name)]
    earlier = [night for night in published if night < day]
    if not earlier or day in published:
        return Due([day], [])
    last, until = date.fromisoformat(max(earlier)), date.fromisoformat(day)
    missed = [str(last + timedelta(n)) for n in range(1, (until - last).days)]
    at = max(len(missed) - catch_up, 0)
    return Due([*missed[at:], day], missed[:at])


def words_about(due):
    """Say in lines which missed nights are made up for, and which are not; none where none was missed."""
    lines, missed = [], due.nights[:-1]
    if missed:
        lines.append(f"{plural(len(missed), 'missed night')} first: {', '.join(missed)}")
    if due.left_out:
        first, last = due.left_out[0], due.left_out[-1]
        lines.append(
            f"{plural(len(due.left_out), 'missed night')} from {first} to {last}: not made up for, see "
            "`catch_up`; `nightshift run --day` reports any"
        )
    return lines
