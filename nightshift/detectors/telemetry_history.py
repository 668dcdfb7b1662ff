"""What little history of nodes can teach, and what it can tell."""

from nightshift.statistics import calibration_needed


def little_history(n_calibration, alarm_rate, alone, nodes):
    """Say why nothing can be found tonight, in one sentence, and what would be enough; "" where something
    can.

    n_calibration : healthy windows with which others are compared. alone : incidents that must be as strange
    at once before one is kept. nodes : number of judged nodes; where more than half of them would have to
    misbehave at once, the trouble of one is never found.
    """
    needed = calibration_needed(alarm_rate)
    if n_calibration < needed:
        return (
            f"no window can be flagged: {n_calibration:,} healthy windows to compare with make no p-value as "
            "small as the alarm rate of "
            f"{alarm_rate:.2%}; it takes {needed:,}, that is more healthy days or labels"
        )
    if nodes and alone > max(nodes / 2, 1):
        return (
            f"no trouble of one node can be told from chance: with {n_calibration:,} healthy windows to "
            f"compare with, {alone:,} incidents must be as strange at once on {nodes:,} "
            f"node{'s' if nodes > 1 else ''}; about {n_calibration * alone:,} healthy windows would be enough"
        )
    return ""


def too_few_to_train(windows, usable, *, unlabelled, day, judged_days):
    """Say why nothing can be learned from the windows `usable`, in one sentence; "" where something can.

    windows : all of them. usable : those that may teach, DataFrame truth ("none" is healthy), job_id.
    unlabelled : whether all windows are of the judged days and none has a label.
    """
    healthy = usable[usable.truth == "none"]
    if not len(windows):
        return f"there is no window: no run up to {day} is long enough for one"
    if unlabelled:
        return (
            f"all {len(windows):,} windows lie in the {judged_days:g} days that are judged, so none is "
            "left to learn from; it takes more days"
        )
    if healthy.job_id.nunique() == 1 and healthy.job_id.iloc[0]:
        return (
            f"the {len(healthy):,} healthy windows are all of one job, which cannot both teach and test; "
            "it takes the windows of another job"
        )
    if len(healthy) > 9:
        return ""
    return f"{len(healthy):,} healthy windows are too few to teach and to test; it takes ten at least"
