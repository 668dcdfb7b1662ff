"""More alarms than were stated: each means less than it says, and so does the quiet of the others."""

from nightshift.runs import UNCALIBRATED, record, warn


def report_alarms(alarms, *, verdict):
    """Show what share of the ordinary items of a night was flagged; where it is more than stated, beyond
    chance, warn of it, and record the verdict "not calibrated".

    alarms : AlarmShare. verdict : what the notebook has recorded so far; one that is not "ok" is graver and
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
