"""What somebody has muted or acknowledged: the marks of the configuration, and what they hold for."""

import difflib
from datetime import date
from fnmatch import fnmatchcase

import numpy as np

MARK = ["incident", "kind", "site", "entity", "as", "by", "until", "why"]


def check_marks(marks):
    """The marks of the digest, a list (None is an empty one), as dicts of text with keys of MARK; ValueError
    says in one line what is wrong.

    A mark names an incident or patterns of kind, site, entity, and all of as (muted or acknowledged), by,
    until (its last day), why.
    """
    if not isinstance(marks or [], list):
        raise ValueError(
            f"mark is {str(marks)[:80]!r}: it must be a list of marks, each with incident or kind, site, "
            "entity, "
            "and as, by, until, why"
        )
    checked = []
    for mark in marks or []:
        entries = mark if isinstance(mark, dict) else {}
        texts = {
            key: text for key, value in entries.items() if value is not None and (text := str(value).strip())
        }
        shown = " ".join(str(mark).split())[:200]
        if unknown := [str(key) for key in entries if key not in MARK]:
            nearest = difflib.get_close_matches(unknown[0], MARK, 1, 0)[0]
            raise ValueError(f"mark: {shown} has an unknown {unknown[0]!r}; the nearest is {nearest}")
        if several := [key for key in texts if isinstance(entries[key], (list, dict))]:
            raise ValueError(f"mark: {shown} needs one text as {several[0]}; write one mark for each")
        if (
            not set(texts) & set(MARK[:4])
            or not {"as", "by", "until", "why"} <= set(texts)
            or texts["as"] not in ("muted", "acknowledged")
        ):
            raise ValueError(
                f"mark: {shown} needs an incident or patterns of kind, site, entity, "
                "and as (muted or acknowledged), by, until, why"
            )
        try:
            checked.append(texts | {"until": str(date.fromisoformat(texts["until"]))})
        except ValueError:
            raise ValueError(f"mark: until {texts['until']!r} is no date such as 2026-03-31") from None
    return checked


def apply_marks(incidents, found, marks, day):
    """(`incidents` with mark, marked_by, marked_until, marked_why, "" where none holds; `marks` with `used`,
    how many incidents each holds for).

    A mark holds up to and including its day `until`. Patterns such as T2-* hold for an incident if all its
    findings fit; of several marks, the first.
    """
    marked = incidents.assign(mark="", marked_by="", marked_until="", marked_why="")
    used = []
    for mark in marks.itertuples(index=False, name=None):
        name, kind, site, entity, way, by, until, why = mark
        fits = np.array(
            [
                all(
                    fnmatchcase(one, wanted.casefold())
                    for one, wanted in zip(map(str.casefold, row), (kind, site, entity), strict=True)
                    if wanted
                )
                for row in zip(found.kind, found.site, found.entity, strict=True)
            ],
            bool,
        )
        whole = (
            set(found.incident) - set(found.incident[~fits])
            if kind or site or entity
            else set(found.incident)
        )
        held = (
            marked.incident.isin(whole)
            & (name in ("", *marked.incident))
            & (marked.incident == name if name else True)
            & (until >= day)
        )
        used.append(int(held.sum()))
        free = held & (marked.mark == "")
        marked.loc[free, ["mark", "marked_by", "marked_until", "marked_why"]] = [way, by, until, why]
    return marked, marks.assign(used=used)
