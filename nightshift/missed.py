"""Which missed nights the next run makes up for, as after days without power.

Every night between the last published one and the one to report was missed. A night that was cut off before
it was published counts as missed too, and continues where it stopped.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from nightshift.products import read_json
from nightshift.reporting.products import is_day
from nightshift.wording import plural


@dataclass
class Due:
    """What to run. nights : the oldest first, the one to report last. left_out : missed nights beyond the
    limit, the oldest ones.
    """

    nights: list[str]
    left_out: list[str]


def nights_due(reports, day, *, catch_up):
    """Find the nights that are Due when the night `day` is to be reported: only that one where no earlier
    night was published, or it was itself.

    reports : Path of the folder of published nights. day : as text, such as "2026-01-31". catch_up : how many
    missed nights to make up for at most, the latest ones.
    """
    records = [path for path in reports.glob("*/run.json") if is_day(path.parent.name)]
    published = [path.parent.name for path in records if has_page(path)]
    earlier = [night for night in published if night < day]
    if not earlier or day in published:
        return Due([day], [])
    last, until = date.fromisoformat(max(earlier)), date.fromisoformat(day)
    missed = [str(last + timedelta(n)) for n in range(1, (until - last).days)]
    at = max(len(missed) - catch_up, 0)
    return Due([*missed[at:], day], missed[:at])


def has_page(record):
    """Whether the night of `record`, the path of its run.json, has its front page, which is written later, or
    its pages were removed, or are not there since it comes from a backup.
    """
    return record.with_name("index.html").exists() or bool(read_json(record).get("removed"))


def words_about(due):
    """Say which missed nights are made up for and which are not: list of lines, empty where none was."""
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
