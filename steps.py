"""Which notebooks a study has, how they ended, which settings are wrong: for all that runs or shows them. Imports nothing that takes time."""

import difflib
import re
from datetime import date
from pathlib import Path

STEPS = ["1_extract", "2_preprocess", "3_train", "4_analyse"]


def pages_of(study, root=Path()):
    """Further pages of a study, `5_*`: notebooks that need its clean tables only, and run beside the last two steps."""
    return sorted(path.stem for path in (root / "notebooks" / study).glob("5_*.ipynb"))


def findings_named(study, notebook):
    """The tables of findings that a further page, a notebook as a dict, says in its first cell that it writes; None says nothing."""
    first = "".join(notebook["cells"][0]["source"]) if notebook and notebook["cells"] else ""
    return re.findall(rf"data/findings/{re.escape(study)}_\w+\.parquet", first.partition("*Writes*")[2])


def told_tonight(outcomes):
    """Names of the steps of one study whose findings are of this night, given {step: ok, failed or not run}: its analysis, unless a step of the chain
    has failed, and further pages that ended well."""
    analysed = outcomes.get(STEPS[-1]) == "ok" and "failed" not in [outcomes.get(step) for step in STEPS]
    return STEPS[-1:] * analysed + [step for step, outcome in outcomes.items() if step not in STEPS and outcome == "ok"]


def outcomes_of(report, study, root=Path()):
    """{step: ok, failed or not run} of a study on the night whose records lie below `report`."""
    from nightshift.runs import read_run

    return {step: read_run(report, study, step)["outcome"] for step in [*STEPS, *pages_of(study, root)]}


def site_settings(config):
    """(keep_nights, site_url) of a configuration, the latter with a slash at its end; ValueError says in one line what is wrong with them."""
    keep, url = config.get("keep_nights") or 0, config.get("site_url") or ""
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 0:
        raise ValueError(f"keep_nights is {keep!r}: it must be a whole number, 0 to keep all")
    if url and not re.fullmatch(r"https?://[^\s@\"'<>?#]+", str(url)):
        raise ValueError(f"site_url is {url!r}: it must be an address such as https://host/nightshift/, without a password, a question mark or #")
    return keep, f"{str(url).rstrip('/')}/" if url else ""


MARK = ["incident", "kind", "site", "entity", "as", "by", "until", "why"]


def check_marks(marks):
    """The marks of the digest, a list (None is an empty one), as dicts of text with keys of MARK; ValueError says in one line what is wrong.

    A mark names an incident or patterns of kind, site, entity, and all of as (muted or acknowledged), by, until (its last day), why.
    """
    if not isinstance(marks or [], list):
        raise ValueError(f"mark is {str(marks)[:80]!r}: it must be a list of marks, each with incident or kind, site, entity, and as, by, until, why")
    checked = []
    for mark in marks or []:
        entries = mark if isinstance(mark, dict) else {}
        texts = {key: text for key, value in entries.items() if value is not None and (text := str(value).strip())}
        shown = " ".join(str(mark).split())[:200]
        if unknown := [str(key) for key in entries if key not in MARK]:
            raise ValueError(f"mark: {shown} has an unknown {unknown[0]!r}; the nearest is {difflib.get_close_matches(unknown[0], MARK, 1, 0)[0]}")
        if several := [key for key in texts if isinstance(entries[key], (list, dict))]:
            raise ValueError(f"mark: {shown} needs one text as {several[0]}; write one mark for each")
        if not set(texts) & set(MARK[:4]) or not {"as", "by", "until", "why"} <= set(texts) or texts["as"] not in ("muted", "acknowledged"):
            raise ValueError(f"mark: {shown} needs an incident or patterns of kind, site, entity, and as (muted or acknowledged), by, until, why")
        try:
            checked.append(texts | {"until": str(date.fromisoformat(texts["until"]))})
        except ValueError:
            raise ValueError(f"mark: until {texts['until']!r} is no date such as 2026-03-31") from None
    return checked
