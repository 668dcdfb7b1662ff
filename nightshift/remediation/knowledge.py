"""What may be tried: the proposals of remediations.yaml, and which of them are for an incident."""

import collections
import re
from pathlib import Path

from helpers import ROOT
from nightshift.error_classes import ERRORS, errors_named, words_for
from nightshift.yaml_files import load_yaml

CONDITIONS = {"several_studies": bool, "site": str, "lasting_nights": int, "named_error": bool}
NEEDED, MAY_HAVE = {"id", "kinds", "proposal", "effort"}, {"when", "evidence", "verify"}


def read_remediations(path=ROOT / "remediations.yaml"):
    """The proposals of the YAML file `path`: dicts id, kinds, when, evidence, proposal, verify, effort;
    ValueError names in one line what is wrong.

    verify : how to tell that it helped, "" where the file does not say.
    """
    name = Path(path).name
    remediations = load_yaml(path, name) or []
    if not isinstance(remediations, list):
        raise ValueError(f"{name} must be a list of proposals, each with id, kinds, proposal and effort")
    for number, one in enumerate(remediations, 1):
        if wrong := _wrong(one):
            raise ValueError(
                f"{name}: proposal {number} ({str(one.get('id') if isinstance(one, dict) else one)[:40]}) "
                f"{wrong}"
            )
    if twice := [i for i, n in collections.Counter(one["id"] for one in remediations).items() if n > 1]:
        raise ValueError(f"{name}: the id {twice[0]} is there twice")
    return [{"when": {}, "evidence": [], "verify": ""} | one for one in remediations]


def _wrong(one):
    """What is wrong with one entry of the knowledge base, "" if nothing."""
    if not isinstance(one, dict) or not NEEDED <= set(one) <= NEEDED | MAY_HAVE:
        return "must have id, kinds, proposal, effort, may have when, evidence and verify, and nothing else"
    kinds, when, evidence = one["kinds"], one.get("when", {}), one.get("evidence", [])
    try:
        understood = all(type(value) is CONDITIONS.get(name) for name, value in when.items()) and re.compile(
            when.get("site", "")
        )
    except (AttributeError, re.error):
        understood = False
    try:
        readable = isinstance(evidence, list) and all(
            isinstance(words, str) and words.strip() and re.compile(words) for words in evidence
        )
    except re.error:
        readable = False
    demands = {
        "needs an id of 2 to 40 small letters, digits and hyphens": re.fullmatch(
            r"[a-z][a-z0-9-]{1,39}", str(one["id"])
        ),
        "needs kinds, a list such as [drop, telemetry.silent]": kinds
        and isinstance(kinds, list)
        and all(isinstance(kind, str) for kind in kinds),
        "needs a proposal in words": isinstance(one["proposal"], str) and one["proposal"].strip(),
        "needs as verify a sentence that says how to tell that it helped": isinstance(
            one.get("verify", "-"), str
        )
        and one.get("verify", "-").strip(),
        "needs an effort such as 10 min, 1 h or 2 d": re.fullmatch(r"\d+ (min|h|d)", str(one["effort"])),
        "knows as conditions several_studies (true, false), site (a pattern), lasting_nights (a number), "
        "named_error (true, false)": understood,
        f"needs as evidence a list of {', '.join(ERRORS)}, or of patterns of its own": readable,
    }
    return next((demand for demand, met in demands.items() if not met), "")


def kind_for(remediation, incident):
    """The first kind of an incident (its kinds, studies) that `remediation` is for, as remediations.yaml
    writes it; "" if none is.
    """
    names = (
        name
        for kind in incident["kinds"]
        for name in (kind, *(f"{study}.{kind}" for study in incident["studies"]))
    )
    return next((name for name in names if name in remediation["kinds"]), "")


def holds(when, incident, named_error=False):
    """Whether the conditions `when` of a proposal hold for an incident (its studies, site, age_nights).
    named_error : whether its evidence names an error.
    """
    several = len(set(incident["studies"])) > 1
    return (
        when.get("several_studies", several) == several
        and incident["age_nights"] >= when.get("lasting_nights", 0)
        and when.get("named_error", named_error) == named_error
        and re.search(when.get("site", ""), incident["site"]) is not None
    )


def offered(remediations, incident):
    """The proposals for an incident, in the order of the file: [(proposal, as which kind, the words of the
    evidence that speak for it, or "")].

    incident : its kinds, studies, site, age_nights and evidence, one text (no key: nothing is known). Where
    the evidence names an error, proposals for other errors are left out: nobody looks for tapes because a
    connection was refused.
    """
    evidence = incident.get("evidence", "")
    errors = errors_named(evidence)
    words = {one["id"]: words_for(one.get("evidence", []), evidence, errors) for one in remediations}
    named_error = bool(errors) or any(words.values())
    return [
        (one, kind, words[one["id"]])
        for one in remediations
        if (kind := kind_for(one, incident))
        and holds(one["when"], incident, named_error)
        and (words[one["id"]] or not named_error or not one.get("evidence"))
    ]
