"""What people report about an incident, on a page or by a command: checked, written below the folder of
products, and read again.
"""

from nightshift.incidents.silences import SILENCES_FILE, read_recorded, record_silence
from nightshift.remediation.feedback import FEEDBACK_FILE, find_incident, read_feedback, record_feedback
from nightshift.remediation.model import chance_now
from nightshift.wording import moment, one_line

OUTCOMES = ("worked", "failed")
LONGEST = {"by": 80, "why": 200}  # characters


def say_outcome(root, fields, *, by):
    """Note below `root` what came of a proposal for an incident; returns a sentence.

    root : of the products. fields : dict of the texts `incident`, `remediation` and `outcome`, worked or
    failed; a missing one counts as empty. by : who says so. Raises UnknownIncident, ValueError in one line
    for anything else that is wrong, and OSError where it cannot be written; nothing is written then.
    """
    outcome = fields.get("outcome", "")
    if outcome not in OUTCOMES:
        raise ValueError(f"outcome is {outcome[:40]!r}: it must be {' or '.join(OUTCOMES)}")
    row = record_feedback(
        fields.get("incident", ""), fields.get("remediation", ""), outcome == "worked", by, root
    )
    return f"Noted. {chance_now(row, root)}"


def say_silence(root, fields, *, by):
    """Note below `root` that an incident is silenced or acknowledged; returns a sentence.

    fields : dict of the texts `incident`, `as`, `until`, the last day on which it holds, and `why`. by : who
    says so. Raises what `say_outcome` does.
    """
    folder = root / "data/incidents"
    about = find_incident(folder, fields.get("incident", ""))
    newest = max(path.stem for path in folder.glob("????-??-??.parquet"))
    entry = {"incident": about["incident"], "as": fields.get("as", ""), "by": one_line(by, LONGEST["by"])}
    entry |= {"until": fields.get("until", ""), "why": one_line(fields.get("why", ""), LONGEST["why"])}
    try:
        silence = record_silence(root / SILENCES_FILE, entry, newest)
    except OSError as error:
        raise OSError(f"{root / SILENCES_FILE}: {error.strerror or error}; nothing was recorded") from None
    return f"Noted. The next digest lists it as {silence.silenced_as}, up to and including {silence.until}."


def replies(root, day):
    """Write the replies to incidents as sentences for the pages of the night `day`: {incident: [sentence]}.

    The last of several outcomes of a proposal counts, and the last of several silences. Nothing is taken from
    a table that cannot be read; the digest warns of it.
    """
    feedback, _ = read_feedback(root / FEEDBACK_FILE)
    by_incident = {}
    for one in feedback.drop_duplicates(["incident", "remediation"], keep="last").itertuples():
        words = "worked" if one.worked else "did not work"
        by_incident.setdefault(one.incident, []).append(f"{one.remediation} {words}, noted {moment(one.at)}.")
    recorded, _ = read_recorded(root / SILENCES_FILE, day)
    for one in {one["incident"]: one for one in reversed(recorded)}.values():
        words = f"{one['as'].capitalize()} by {one['by']} until {one['until']}: {one['why']}."
        by_incident.setdefault(one["incident"], []).append(f"{words} It counts from the next digest on.")
    return by_incident
