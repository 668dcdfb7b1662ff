"""What a command prints about a published night, from its digest.json."""

from nightshift.assurance import assure


def lines_of(night):
    """List lines about a published `night`, the content of its digest.json: what failed, what was warned of,
    and what is not known; an empty list where there is nothing of these.
    """
    lines, digest = [], night["digest"]
    for name, study in night["studies"].items():
        if study["error"]:
            failed = "failed" if study["verdict"] == "failed" else study["verdict"]
            lines.append(f"{name} {failed} in {study['failed_step']}: {study['error']}")
        elif study["verdict"] == "empty" or study["reason"]:
            lines.append(f"{name}: {study['headline'] if study['verdict'] == 'empty' else study['reason']}")
        lines += [f"{name}: warning: {warning}" for warning in study["warnings"]]
    if digest["outcome"] == "failed":
        lines.append(f"the digest failed: {digest['error']}")
    lines += [*digest["notes"], *night["problems"]]
    verdicts = {name: study["verdict"] for name, study in night["studies"].items()}
    assurance = assure(verdicts, digest["outcome"])
    return lines if assurance.complete else [*lines, assurance.sentence]
