"""Findings of all studies to incidents: what kinds say of them, which of them are one. All is pure.

Findings   what their kinds say of them         describe_findings
Links      which findings are one incident      correlate_findings, carry_over_topic_links, attach_delayed,
                                                all three of them: label_incidents
"""

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

from nightshift import catalog
from nightshift.schemas import FINDING_MAY_HAVE

DAY_H, WEEK_H = 24.0, 168.0
GROUND = ("site", "service")  # what lies at a site and is not about one user or machine of it
OF_KIND = list(catalog.FindingKind.model_fields)


def describe_findings(findings, sites, kinds=None):
    """Return `findings` with what their kinds say, in an order that does not depend on that of the rows.

    sites : {what people call a site, in small letters: its own name}. kinds : {(study, kind):
    FindingKind}, by default those of the catalog; a kind that is not there stands alone. Adds the fields of
    FindingKind, name (the entity up to its first ":" or ","), and first_h, last_h: hours since 1970, NaN
    where no time is known. A finding about a whole site that names no site is one of a community; a node that
    is called as its site is the site. No row gives no row.
    """
    kinds = catalog.finding_kinds() if kinds is None else kinds
    meant = [kinds.get((f.study, f.kind), catalog.FindingKind()) for f in findings.itertuples()]
    described = findings.assign(**{field: [getattr(kind, field) for kind in meant] for field in OF_KIND})
    described["label"] = described.label.where(described.label != "", described.kind.str.replace("_", " "))
    described["site"] = [sites.get(site.casefold(), site) for site in described.site]
    for name in FINDING_MAY_HAVE:  # which not every table has
        described[name] = described.get(name, pd.Series("", described.index)).fillna("").astype(str)
    described["sites"] = [
        ", ".join(sites.get(site.casefold(), site) for site in names.split(", ")) for names in described.sites
    ]
    described["name"] = described.entity.str.split("[:,]").str[0].str.strip()
    described.loc[(described.scope == "site") & (described.site == ""), "scope"] = "community"
    described.loc[
        (described.scope == "node") & (described.site != "") & (described.name == described.site), "scope"
    ] = "site"
    for column, first, other in (("first_h", "start", "end"), ("last_h", "end", "start")):
        described[column] = hours_of(described[first].fillna(described[other]))
    described["last_h"] = np.maximum(
        described.first_h + 1 / 3600, described.last_h
    )  # a moment lasts a second, else it would overlap nothing
    order = ["first_h", "study", "scope", "name", "kind", "entity", "site", "last_h", "p_value", "evidence"]
    return described.sort_values(order, ignore_index=True)


def hours_of(times):
    """Hours since 1970, float64, of a Series of times or dates; NaN where one is missing."""
    return (pd.to_datetime(times, utc=True) - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(hours=1)


# ---------------------------------------------------------------------------------------------------- Links


def within_gap(one, other):
    """Whether findings of `one` (n,) and `other` (m,) are less than a day apart, or a week if one is
    weekly: bool (n, m). Unknown times are near.
    """
    apart = np.maximum(
        one.first_h.to_numpy()[:, None] - other.last_h.to_numpy(),
        other.first_h.to_numpy() - one.last_h.to_numpy()[:, None],
    )
    weekly = (one.cadence == "week").to_numpy()[:, None] | (other.cadence == "week").to_numpy()
    return ~(apart >= np.where(weekly, WEEK_H, DAY_H))


def same(one, other, columns):
    """Whether rows of `one` (n,) and `other` (m,) agree in all `columns`: bool (n, m)."""
    codes, keys = {}, [list(zip(*(rows[c] for c in columns), strict=True)) for rows in (one, other)]
    first, second = (np.array([codes.setdefault(key, len(codes)) for key in each], int) for each in keys)
    return first[:, None] == second


def same_entity(findings, earlier_findings):
    """Whether findings (n,) continue those of earlier nights (m,): same study, scope and name, in time as
    `within_gap` says. bool (n, m)
    """
    return same(findings, earlier_findings, ["study", "scope", "name"]) & within_gap(
        findings, earlier_findings
    )


def same_place(findings, earlier_findings):
    """The same for a whole site and what lies at it, of one study: trouble of a storage may turn out to be
    the site's. bool (n, m)
    """
    here, there = (
        (rows.scope.isin(GROUND) & (rows.site != "")).to_numpy() for rows in (findings, earlier_findings)
    )
    whole = (findings.scope == "site").to_numpy()[:, None] | (earlier_findings.scope == "site").to_numpy()
    return (
        here[:, None]
        & there
        & whole
        & same(findings, earlier_findings, ["study", "site"])
        & within_gap(findings, earlier_findings)
    )


def continues(findings, earlier_findings):
    """Whether findings (n,) are the same thing or of the same place as those of earlier nights (m,): bool
    (n, m).
    """
    return same_entity(findings, earlier_findings) | same_place(findings, earlier_findings)


def correlate_findings(findings):
    """Number of the incident of each finding, int (n,), from 0 in the order of their first findings.

    findings : as `describe_findings` gives it. Linked are: the same name in one study, less than a day apart
    (a week if one is weekly); what is about a site or a service of it, overlapping in time; idle GPUs of one
    site, less than a day apart; findings of one run. Then a community that does less at a site joins what
    overlaps it most there of another study, and a topic of tickets follows at most one incident. No finding,
    no number.
    """
    if not len(findings):
        return np.zeros(0, int)
    scope, first, last = (
        findings.scope.to_numpy(object),
        findings.first_h.to_numpy(),
        findings.last_h.to_numpy(),
    )
    shared = np.minimum(last[:, None], last) - np.maximum(
        first[:, None], first
    )  # hours; NaN where a time is not known
    same_site = same(findings, findings, ["site"]) & (findings.site != "").to_numpy()
    overlap = same_site & (shared > 0)
    ground, gpu, run = np.isin(scope, GROUND), scope == "gpu", scope == "detector"
    named, close = same(findings, findings, ["study", "name"]), within_gap(findings, findings)
    linked = (
        named & (close | run & run[:, None])
        | gpu & gpu[:, None] & same_site & close
        | ground & ground[:, None] & overlap
    )
    label = in_order(connected_components(linked, directed=False)[1])
    losing = (scope == "community") & findings.is_loss.to_numpy(bool)
    other_study = ~same(findings, findings, ["study"])
    joined = label.copy()
    for one in pd.unique(
        label[losing]
    ):  # by incident, since a community that went down twice must not bridge two strangers
        meets = np.where(
            (losing & (label == one))[:, None] & ground & overlap & other_study, shared, 0.0
        ).max(axis=0)
        if meets.max() > 0:
            joined[joined == one] = label[meets.argmax()]  # of equals, the first
    return in_order(attach_topics(findings, joined))


def attach_topics(findings, label):
    """`label` (n,) with each topic of tickets joined to the one incident that it may be about.

    Of the same site, or, without one, incidents without a site that share two of its keywords, those count
    that begin less than a week from the topic's first week; the nearest is taken. Only sites and services:
    few users ask about a node, and many things happen to nodes.
    """
    label = label.copy()
    others = {
        number: rows
        for number in np.unique(label)
        if len(rows := np.flatnonzero((label == number) & findings.scope.isin(GROUND).to_numpy()))
    }
    site, first, meant = (
        findings.site.to_numpy(object),
        findings.first_h.to_numpy(),
        findings.keywords.to_numpy(object),
    )
    for topic in np.flatnonzero(findings.follows_incident.to_numpy(bool)):
        words, fits = {singular(word) for word in findings.entity[topic].partition(":")[2].split(",")}, []
        for number, rows in others.items():
            away = abs(np.nanmin(first[rows], initial=np.inf) - first[topic])
            named = {singular(word) for row in rows for word in meant[row]} if not any(site[rows]) else set()
            if away < WEEK_H and (site[topic] in site[rows] if site[topic] else len(words & named) >= 2):
                fits.append((away, number))
        if fits:
            label[label == label[topic]] = min(fits)[1]
    return label


def carry_over_topic_links(findings, label, earlier_findings):
    """`label` (n,) with each topic of tickets that follows nothing tonight joined to what it followed when it
    was last seen, if that is seen tonight.

    A topic's weeks move on with the nights, and its incident would lose it on the day on which they begin too
    early, or too late.
    """
    label = np.asarray(label).copy()
    if not len(findings) or not len(earlier_findings):
        return label
    goes_on = continues(findings, earlier_findings)
    ground, before = findings.scope.isin(GROUND).to_numpy(), earlier_findings.incident.to_numpy(object)
    for topic in np.flatnonzero(findings.follows_incident.to_numpy(bool)):
        if not (ground & (label == label[topic])).any():
            same_incident = goes_on & np.isin(before, before[goes_on[topic]])
            meets = pd.Series(label[ground & same_incident.any(axis=1)])
            if len(meets):
                label[label == label[topic]] = meets.mode().iloc[0]
    return in_order(label)


def is_retrospective(findings):
    """Which findings are of a weekly study, about a site or a service or a community that does less at a
    site: bool (n,).
    """
    meant = findings.scope.isin(GROUND) | (findings.scope == "community") & findings.is_loss.astype(bool)
    return (meant & (findings.site != "") & (findings.cadence == "week")).to_numpy(bool)


def match_retrospective(findings, label, earlier_findings):
    """{number of an incident that continues nothing: name of the earlier one that other studies saw at its
    site at its time, that of most hours}.

    A weekly study tells of what daily ones may have forgotten. What would be linked within a night is linked,
    but only to one incident, since a week overlaps many things that have nothing to do with each other.
    """
    overlap = np.minimum(findings.last_h.to_numpy()[:, None], earlier_findings.last_h.to_numpy())
    overlap = overlap - np.maximum(
        findings.first_h.to_numpy()[:, None], earlier_findings.first_h.to_numpy()
    )  # hours; NaN where a time is not known
    possible = (
        is_retrospective(findings)[:, None]
        & earlier_findings.scope.isin(GROUND).to_numpy()
        & same(findings, earlier_findings, ["site"])
    )
    hours = np.where(possible & ~same(findings, earlier_findings, ["study"]) & (overlap > 0), overlap, 0.0)
    goes_on, met = continues(findings, earlier_findings).any(axis=1), {}
    for number in np.unique(label):
        members = np.asarray(label) == number
        if not goes_on[members].any() and hours[members].any():
            met[number] = earlier_findings.incident.iloc[hours[members].max(axis=0).argmax()]
    return met


def attach_delayed(findings, label, earlier_findings):
    """`label` (n,) with what a weekly study tells of an incident joined to it, if it is seen tonight, and to
    what else it tells of it.

    Of an incident is what is told late (see `match_retrospective`), and what was part of it when it was last
    seen: its weeks may have moved on.
    """
    label, before = np.asarray(label).copy(), earlier_findings.incident.to_numpy(object)
    goes_on, late = continues(findings, earlier_findings), is_retrospective(findings)
    whose = match_retrospective(findings, label, earlier_findings)
    for number in set(label[late]) - set(label[~late]) - set(whose):
        if (goes := goes_on[label == number].any(axis=0)).any():
            whose[number] = pd.Series(before[goes]).mode().iloc[0]
    whose = pd.Series(whose, dtype=object)
    for name, numbers in whose.groupby(whose).groups.items():
        there = pd.Series(label[goes_on[:, before == name].any(axis=1) & ~np.isin(label, numbers)])
        label[np.isin(label, numbers)] = there.mode().iloc[0] if len(there) else numbers[0]
    return in_order(label)


def singular(word):
    """A keyword without the s of a plural, in small letters."""
    return word.strip().casefold().removesuffix("s")


def in_order(label):
    """Labels (n,) renumbered from 0 by their first rows."""
    return pd.factorize(np.asarray(label))[0]


def label_incidents(findings, before, remembered):
    """Number the incident of each finding, int (n,), by what is found tonight and what earlier nights had.

    before : findings of the incidents as they were last seen. remembered : all findings of earlier nights.
    """
    label = carry_over_topic_links(findings, correlate_findings(findings), before)
    return attach_delayed(findings, label, remembered)
