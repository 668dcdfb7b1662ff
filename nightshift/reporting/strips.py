"""A tiny picture of when an incident was seen: one bar per study on an axis that all incidents share."""

from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from nightshift.wording import plural

DAYS = 28  # length of the axis, which ends with the night
WIDE, HIGH = 112, 18  # pixels
ROW = 5  # pixels for the bars of one study, fewer where more than three have to fit


def strip_of(incident, day):
    """Draw when the findings of an incident were seen, up to the end of the night `day`: Markup of an SVG; ""
    where no finding has a time.

    incident : as digest.json has it. A bar that would begin before the axis begins with it, and one that
    would go beyond the night ends with it; without an end it has the least width.
    """
    end = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
    studies = sorted({str(one["study"]) for one in incident["findings"] if one["start"]})
    if not studies:
        return ""
    bars, row = [], min(ROW, (HIGH - 3) / len(studies))
    for one in incident["findings"]:
        if one["start"]:
            first, last = (share_of(one[name] or one["start"], end) for name in ("start", "end"))
            x, wide = min(first * WIDE, WIDE - 2), max((last - first) * WIDE, 2)
            y = 2 + studies.index(str(one["study"])) * row
            bars.append(f'<rect x="{x:.1f}" y="{y:g}" width="{wide:.1f}" height="{row - 1:g}"/>')
    seen_by = plural(len(studies), "study")
    label = f"Seen by {seen_by} in the {DAYS} days up to this night"
    axis = f'<path class="base" d="M0 {HIGH - 1}H{WIDE}"/>'
    attributes = f'class="strip" role="img" aria-label="{label}" width="{WIDE}" height="{HIGH}"'
    return Markup(f"<svg {attributes}>{''.join(bars)}{axis}</svg>")


def share_of(moment, end):
    """Find where a moment, ISO 8601 in UTC, lies on the axis that ends at `end`: from 0 to 1, and 0 for
    whatever is earlier.
    """
    passed = (end - datetime.fromisoformat(moment)) / timedelta(days=DAYS)
    return min(max(1 - passed, 0.0), 1.0)
