"""Records that a study could not use: how many are lost, and when the rest says too little of a night."""

from nightshift.runs import REJECTED, record, warn

HARMLESS = (  # beginnings of reasons for which a record is left out although nothing is lost with it
    "same record again",
    "replaced by a later record",
    "the transfer has ended since",
    "copy of another event",
    "announced again later",
    "corrected by a later event",
    "duplicate",
    "deleted",
    "merged into another",
    "automatic sender",
    "after the window",
    "after the day",
)
LOST = 0.1  # share of records above which their loss is worth a warning; every site loses a few


def lost_records(reasons):
    """Count the records that are lost by reason, the most frequent first: {reason: number}.

    reasons : Series of text, why each rejected record was left out, or a dict that counts them.
    """
    counts = reasons if isinstance(reasons, dict) else reasons.astype("str").value_counts().to_dict()
    by_number = sorted(counts, key=counts.get, reverse=True)
    return {reason: counts[reason] for reason in by_number if not reason.startswith(HARMLESS)}


def loss_sentence(reasons, n, items):
    """Write one sentence about the records that were rejected and are lost; "" where they are at most the
    share LOST of all.

    reasons : as of `lost_records`. n : number of all records. items : what they are, in the plural.
    """
    lost = lost_records(reasons)
    n_lost = sum(lost.values())
    if n_lost <= LOST * n:
        return ""
    most = next(iter(lost))
    return (
        f"{n_lost:,} of {n:,} {items} ({n_lost / n:.0%}) could not be used, {lost[most]:,} of them for: "
        f"{most}; what is said here is of the others alone."
    )


def report_losses(reasons, n, items):
    """Warn with the `loss_sentence` of these arguments; where more than half of the `n` records are lost,
    record the verdict "most records rejected".
    """
    if not (sentence := loss_sentence(reasons, n, items)):
        return
    warn(sentence)
    if sum(lost_records(reasons).values()) > n / 2:
        record("verdict", REJECTED)
        record("verdict_reason", sentence)
