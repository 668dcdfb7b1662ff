"""News of nights of which no message went out, as after nights that were missed and made up for together."""

from nightshift.notify.message import read_night

# what an incident was on such a night and is tonight, and as what it is news tonight
NEWS = {("new", "ongoing"): "new", ("escalated", "ongoing"): "escalated", ("resolved", "closed"): "resolved"}


def silent_nights(root, day, states):
    """Nights between the last one of which messages are known and `day` that were published, in their order;
    none where no messages are known.

    states : {night: what became of its messages}.
    """
    last = max((night for night, state in states.items() if state and night < day), default="")
    digests = root.glob("reports/????-??-??/digest.json") if last else []
    return sorted(path.parent.name for path in digests if last < path.parent.name < day)


def carry_news(root, night, silent):
    """Let what was new, escalated or resolved on nights without a message be so tonight, and say so in the
    headline; a night that cannot be read has no say.

    night : as `read_night` gives it; changed in place. silent : such nights, the oldest first.
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
        one["state"] = NEWS.get((before, one["state"]), one["state"])
    if any(earlier.values()):
        names = silent[0] if len(silent) == 1 else f"{silent[0]} to {silent[-1]}"
        night.headline = f"{night.headline} With the news of {names}, of which no message went out."


def state_after(state):
    """The state of an incident on the night after, where nothing has changed."""
    return "closed" if state == "resolved" else "ongoing"
