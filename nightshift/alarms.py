"""Compare the share of alarms with the stated one: where more of what should be ordinary was flagged, neither
an alarm nor its absence means what it says.
"""

from nightshift.runs import UNCALIBRATED, record, warn


def report_alarms(alarms, *, verdict):
    """Show what share of a night's ordinary items was flagged; where it exceeds the stated share beyond
    chance, warn and record the verdict "not calibrated".

    alarms : AlarmShare. verdict : what the notebook has recorded so far; any other than "ok" is graver, and
    stays.
    """
    from helpers import show_sentence

    if not alarms.is_exceeded:
        show_sentence("{sentence}", sentence=alarms.sentence)
        return
    warn(alarms.sentence)
    if verdict == "ok":
        record("verdict", UNCALIBRATED)
        record("verdict_reason", alarms.sentence)
