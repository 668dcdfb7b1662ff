"""What people have set for the findings of the accounting: what to mute, and what matters more."""

import re

import numpy as np
import pandas as pd

PARTS = ("site", "vo", "reason", "until")  # of a muting rule


def muting_rules(mute):
    """Read the muting rules, a list of dicts, as a table of text: DataFrame site, vo, reason, until (UTC).

    An empty name is missing. ValueError, one line, for a rule that cannot be understood: it needs a site or a
    vo (or both), a reason in words, and a date, and may have nothing else.
    """
    if not isinstance(mute, list):
        raise ValueError(
            f"mute: {mute} must be a list of rules such as [{{vo: atlas, reason: moved, until: 2026-03-31}}]"
        )
    rules = [
        {k: str(v).strip() for k, v in rule.items() if v not in (None, "")} if isinstance(rule, dict) else {}
        for rule in mute
    ]
    for rule, entry in zip(rules, mute, strict=True):
        check_rule(rule, entry)
    table = pd.DataFrame(rules, columns=list(PARTS), dtype=object)
    return table.assign(until=pd.to_datetime(table.until, utc=True, format="ISO8601"))


def check_rule(rule, entry):
    """Raise a ValueError, one line, when the muting `rule`, a dict of text, of the parameter's `entry` cannot
    be understood.
    """
    unknown = set(map(str, entry)) - set(PARTS) if isinstance(entry, dict) else set()
    if unknown:
        raise ValueError(
            f"mute: {entry} has {', '.join(sorted(unknown))}; it may have site, vo, reason and until"
        )
    nested = isinstance(entry, dict) and any(isinstance(v, (list, dict, bool, float)) for v in entry.values())
    if not {"reason", "until"} < set(rule) or nested or not rule["reason"]:
        raise ValueError(
            f"mute: {entry} needs a site or a vo (or both), a reason in words and a date until which it "
            "holds, and nothing else"
        )
    date = pd.to_datetime(rule["until"], errors="coerce", format="ISO8601")
    if not re.match(r"\d{4}-?\d\d-?\d\d", rule["until"]) or pd.isna(date):
        raise ValueError(f"mute: {entry} needs a date such as 2026-03-31")


def priority_factors(importance):
    """Read the factors of names, {name in lower case: factor}; ValueError for what is no mapping of names to
    factors of 0 or more.
    """
    good = isinstance(importance, dict) and all(
        type(factor) in (int, float) and 0 <= factor < np.inf for factor in importance.values()
    )
    if not good:
        raise ValueError(
            f"importance: {importance} must map names of sites or VOs to factors, such as {{atlas: 2}}"
        )
    return {str(name).casefold(): float(factor) for name, factor in importance.items()}


def muted_by(finding, rules, today):
    """Find the first of `rules` that holds for a finding (site, vo) at the moment `today`, by its position;
    -1 for none.
    """
    for i, rule in enumerate(rules.itertuples()):
        pairs = (rule.site, finding.site), (rule.vo, finding.vo)
        fits = all(pd.isna(want) or str(want).casefold() == have.casefold() for want, have in pairs)
        if fits and rule.until >= today:
            return i
    return -1


def unmatched(series, rules, importance):
    """Write one sentence for each muting rule, and each name of `importance`, that fits no series: list of
    str.

    series : DataFrame site, vo. rules : DataFrame site, vo, reason. importance : {name: factor}.
    """
    sites, vos = ({name.casefold() for name in series[column]} - {""} for column in ("site", "vo"))
    pairs = set(zip(series.site.str.casefold(), series.vo.str.casefold(), strict=True))
    sentences = []
    for rule in rules.itertuples():
        site, vo = ("" if pd.isna(name) else str(name).casefold() for name in (rule.site, rule.vo))
        if (
            (site and site not in sites)
            or (vo and vo not in vos)
            or (site and vo and (site, vo) not in pairs)
        ):
            who = " at ".join(str(name) for name in (rule.vo, rule.site) if not pd.isna(name))
            sentences.append(f"The muting rule for {who} ({rule.reason}) fits no series of the accounting.")
    names = [name for name in importance if str(name).casefold() not in sites | vos]
    return sentences + [
        f"importance: no site and no VO of the accounting is called {name}." for name in names
    ]
