"""What is shown of one incident: prepared here, drawn by the macro of templates/incident.html.j2, wherever an
incident appears (front page, page of the digest, feed, mail)."""

from nightshift.incidents import NOT_WATCHED
from nightshift.incidents.tracking import PAST_STATES
from nightshift.incidents.wording import sites_of, status_in_words
from nightshift.reporting.digests import as_incident, chance_in_words, plain
from nightshift.wording import first_few, from_to, joined, moment, one_line

SEVERITIES = ("high", "medium", "low")
MAX_EVIDENCE = 3  # sentences of an incident that no other page shows
MAX_PROPOSALS = 3  # of those that are ranked; of others all are shown, since none comes before another


def view_of(incident, *, href="", figure="", n_proposals=None):
    """Prepare one incident for the macro, as a dict of single lines of text.

    incident : as digest.json has it. href : where its title leads. figure : address of its strip of time.
    n_proposals : the most that are shown; None is MAX_PROPOSALS of ranked ones, and all of others.

    Keys: id, rank, title, severity (high, medium, low or unknown), state, status, since, began, sites, place
    (the first of them, in words), standing (the points that give it its rank), affected (its impact), site
    and impact ("" where title or summary have them), summary, change, href, evidence and more_evidence (of
    its findings, where no page has them), figure, figure_alt, ranked, proposals (proposal, reason, verify,
    note, remediation), proposals_heading, nothing_to_try (why there are none), silence ("" where nobody has
    silenced it).
    """
    title, summary = one_line(incident["title"], 120), one_line(incident["summary"], 600)
    impact, change = (one_line(incident[name]) for name in ("impact", "change"))
    sites = [one_line(site) for site in sites_of(incident.get("findings") or [], incident["site"])]
    site = first_few([one for one in sites if one not in title])
    studies = joined(map(one_line, incident["studies"]))
    ranked = bool(incident.get("ranked"))
    most = n_proposals if n_proposals is not None else MAX_PROPOSALS if ranked else None
    return {
        "id": one_line(incident["id"], 60),
        "rank": incident["rank"],
        "title": title,
        "severity": severity_of(incident["severity"]),
        "state": one_line(incident["state"], 40),
        "status": status_of(incident),
        "since": since(incident),
        "began": clock(incident["start"]) if incident["start"] else "",
        "site": site,
        "sites": sites,
        "place": first_few(sites, 2),
        "summary": summary,
        "change": "" if change in summary or change == NOT_WATCHED else change,  # which its status says
        "impact": "" if impact in summary else impact,
        "standing": one_line(incident.get("standing") or ""),
        "affected": impact,
        "href": href,
        **evidence_view([] if href else incident.get("findings") or []),
        "figure": figure,
        "figure_alt": f"Times of the findings of {title}, seen by {studies}",
        "ranked": ranked,
        "proposals": [proposal_view(one, ranked) for one in incident["proposals"][:most]],
        "proposals_heading": proposals_heading(ranked, incident["proposals"], incident["ended"]),
        "nothing_to_try": "" if n_proposals == 0 else why_nothing_is_proposed(incident),
        "silence": silence_in_words(incident["silence"]),
    }


def status_of(incident):
    """The state of an incident of digest.json with its nights, in words."""
    nights, ended = incident["age_nights"] or 1, incident["ended"]
    return one_line(status_in_words(incident["state"], nights, ended, change=incident["change"]), 60)


def evidence_view(findings):
    """The first sentences of evidence of findings, each once, and how many more there are: dict of evidence
    and more_evidence.
    """
    lines = list(dict.fromkeys(one_line(one.get("evidence") or "", 300) for one in findings))
    lines = [line for line in lines if line]
    return {"evidence": lines[:MAX_EVIDENCE], "more_evidence": max(len(lines) - MAX_EVIDENCE, 0)}


def severity_of(text):
    """A severity that the style sheet has a colour for; "unknown" for any other text."""
    return text if text in SEVERITIES else "unknown"


def clock(time):
    """A time in UTC, ISO 8601, as columns of times write it."""
    return moment(time).removesuffix(" UTC")


def since(incident):
    """Say when an incident began and, if it has ended, when; without times, on which night it was first
    reported.
    """
    start, end = incident["start"], incident["end"]
    if not start:
        return f"first reported on {incident['first_seen']}" if incident["first_seen"] else "start not known"
    return from_to(start, end) if incident["ended"] and end else f"since {moment(start)}"


def proposal_view(proposal, ranked):
    """Prepare one proposal: what to do, why, how to tell that it helped, how long it takes, and, where any
    was tried, how often it worked.
    """
    effort = one_line(proposal.get("effort") or "", 40)
    parts = [chance_in_words(proposal) if ranked else "", f"takes {effort}" if effort else ""]
    return {
        "proposal": one_line(proposal.get("proposal") or ""),
        "reason": one_line(proposal.get("reason") or ""),
        "verify": one_line(proposal.get("verify") or ""),
        "note": ", ".join(part for part in parts if part),
        "remediation": one_line(proposal.get("remediation") or "", 60),
    }


def proposals_heading(ranked, proposals, ended):
    """Say above proposals whether their order means anything, and what they are for if the incident has
    `ended`.
    """
    if ended:
        return f"It has ended; this is for when it comes back. {proposals_heading(ranked, proposals, False)}"
    if ranked:
        return "To try, in this order:" if len(proposals) > 1 else "To try:"
    if len(proposals) < 2:
        return "To try, not tried yet:"
    if any(one.get("reason") for one in proposals):
        return "To try, none tried yet; those with a reason come first:"
    return "To try, none tried yet, in no particular order:"


def why_nothing_is_proposed(incident):
    """Say why an incident has no proposals; "" where it has some."""
    if incident["proposals"]:
        return ""
    if incident["state"] in PAST_STATES:
        return "Nothing is proposed, since it has ended."
    return "No proposal for it is known; remediations.yaml takes some for its kind."


def silence_in_words(silence):
    """Say who has silenced an incident: "silenced by the operator until 2026-02-07: known leak"; "" for
    None.
    """
    if not silence:
        return ""
    parts = ((" by ", "by"), (" until ", "until"), (": ", "why"))
    return one_line(silence["as"]) + "".join(
        f"{word}{one_line(silence[name])}" for word, name in parts if silence[name]
    )


def show_incident(row, findings, proposals):
    """Show one incident on the page of the digest, as everywhere else.

    row : the incident, a dict with the columns of INCIDENT. findings, proposals : DataFrames of its findings
    and of what may be tried, as `remediation.model.rank` gives it.
    """
    from IPython.display import HTML, display

    from nightshift.reporting.pages import templates

    rows = [
        plain(table.assign(incident=row["incident"]).to_dict("records")) for table in (findings, proposals)
    ]
    view = view_of(as_incident(plain(row) | {"figure": ""}, *rows), n_proposals=len(proposals) or None)
    macro = templates().get_template("incident.html.j2").module.incident
    display(HTML(str(macro(view))))
