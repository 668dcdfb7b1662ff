"""Carry news over from nights on which no message went out, as when missed nights were made up for."""

from nightshift.incidents import PART_OF
from nightshift.notify.message import read_night

# {(state of an incident on such a night, tonight): the state in which it is news tonight}
NEWS = {("new", "ongoing"): "new", ("escalated", "ongoing"): "escalated", ("resolved", "closed"): "resolved"}
# it had ended when it was reported
NEWS |= {("new", "closed"): "resolved", ("escalated", "closed"): "resolved"}


def silent_nights(root, day, states):
    """List the published nights after the last one with known messages and before `day`, the oldest first; an
    empty list where no messages are known.

    root : of the products. states : {night: {recipient: what became of their message}}.
    """
    last = max((night for night, state in states.items() if state and night < day), default="")
    digests = root.glob("reports/????-??-??/digest.json") if last else []
    return sorted(path.parent.name for path in digests if last < path.parent.name < day)


def carry_news(root, night, silent):
    """Make what was new, escalated or resolved on nights without a message news tonight, as NEWS says, and
    name these nights in the headline; a night that cannot be read is passed over.

    night : as `read_night` gives it; changed in place. silent : as `silent_nights` gives them.
    """
    earlier = {}
    for day in silent:
        try:
            incidents = read_night(root, day).incidents or []
        except ValueError:
            continue
        for one in incidents:
            news = NEWS.get((one["state"], state_after(one["state"])))
            earlier[one["id"]] = news or earlier.get(one["id"])
    for one in night.incidents or []:
        before = earlier.get(one["id"])
        if before != "resolved" and (one.get("change") or "").startswith(PART_OF):
            continue  # it has not ended
        one["state"] = NEWS.get((before, one["state"]), one["state"])
    if any(earlier.values()):
        names = silent[0] if len(silent) == 1 else f"{silent[0]} to {silent[-1]}"
        night.headline = f"{night.headline} With the news of {names}, of which no message went out."


def state_after(state):
    """Return the state of an incident on the following night, if nothing changes."""
    return "closed" if state in ("resolved", "closed") else "ongoing"
