"""From findings of all studies to incidents: what their kinds say, which belong together. All is pure.

Findings   what their kinds say of them         describe_findings
Links      which findings are one incident      correlate_findings, carry_over_topic_links, attach_delayed,
                                                all three of them: label_incidents
"""

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from nightshift import catalog
from nightshift.schemas import FINDING_MAY_HAVE
from nightshift.wording import fold_site

DAY_H, WEEK_H = 24.0, 168.0
GROUND = ("site", "service")  # scopes about a site or a service of it, not one of its users or machines
OF_KIND = list(catalog.FindingKind.model_fields)


def describe_findings(findings, sites, kinds=None):
    """Return `findings` with what their kinds say, in an order that does not depend on that of the rows.

    sites : {name, as `fold_site` gives it: site}, of `read_sites`. kinds : {(study, kind): FindingKind}, by
    default those of the catalog; a kind that is not there stands alone. Adds the fields of FindingKind, name
    (the entity up to its first ":" or ","), and first_h, last_h: hours since 1970, NaN where no time is
    known. A finding about a whole site that names no site counts as one about a community, a node with the
    name of its site as the site. No row gives no row.
    """
    kinds = catalog.finding_kinds() if kinds is None else kinds
    meant = [kinds.get((f.study, f.kind), catalog.FindingKind()) for f in findings.itertuples()]
    described = findings.assign(**{field: [getattr(kind, field) for kind in meant] for field in OF_KIND})
    described["label"] = described.label.where(described.label != "", described.kind.str.replace("_", " "))
    described["site"] = [sites.get(fold_site(site), site) for site in described.site]
    for name in FINDING_MAY_HAVE:  # which not every table has
        described[name] = described.get(name, pd.Series("", described.index)).fillna("").astype(str)
    described["sites"] = [
        ", ".join(sites.get(fold_site(site), site) for site in names.split(", ")) for names in described.sites
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


def codes_alike(one, other, columns):
    """Numbers that are equal where rows agree in all `columns`: (of `one` (n,), of `other` (m,)), int."""
    code = np.zeros(len(one) + len(other), int)
    for column in columns:
        both = np.concatenate([one[column].to_numpy(object), other[column].to_numpy(object)])
        values = pd.factorize(both, use_na_sentinel=False)[0]
        code = pd.factorize(code * len(both) + values)[0]
    return code[: len(one)], code[len(one) :]


def pairs_of_equals(here, there):
    """(places in `here`, places in `there`), int, of all pairs of equal numbers, ordered by both."""
    order = np.argsort(there, kind="stable")
    first, last = (np.searchsorted(there[order], here, side) for side in ("left", "right"))
    n = last - first
    place = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + np.repeat(first, n)
    return np.repeat(np.arange(len(here)), n), order[place]


def pairs_alike(one, other, columns):
    """(rows of `one`, rows of `other`), int, of all pairs that agree in all `columns`, ordered by both.

    Only such pairs are ever compared: a matrix of hours of 5,000 findings and 20,000 of earlier nights would
    take 0.8 GB.
    """
    return pairs_of_equals(*codes_alike(one, other, columns))


def pairs_among(one, other, columns, chosen, chosen_other):
    """`pairs_alike` of the `chosen` rows of one table, bool (n,), and those of the other, bool (m,)."""
    rows, others = np.flatnonzero(chosen), np.flatnonzero(chosen_other)
    code, code_other = codes_alike(one, other, columns)
    here, there = pairs_of_equals(code[rows], code_other[others])
    return rows[here], others[there]


def hours_shared(one, here, other, there):
    """Hours in which rows `here` of `one` and `there` of `other` overlap, or minus the hours between them;
    NaN where a time is not known: float (pairs,).
    """
    first, last = (np.asarray(rows, float) for rows in (one.first_h, one.last_h))
    first_other, last_other = (np.asarray(rows, float) for rows in (other.first_h, other.last_h))
    return np.minimum(last[here], last_other[there]) - np.maximum(first[here], first_other[there])


def within_gap(one, here, other, there):
    """Whether rows `here` of `one` and `there` of `other` are less than a day apart, or a week if one is
    weekly: bool (pairs,). True where a time is not known.
    """
    weekly = [(rows.cadence == "week").to_numpy() for rows in (one, other)]
    allowed = np.where(weekly[0][here] | weekly[1][there], WEEK_H, DAY_H)
    return ~(-hours_shared(one, here, other, there) >= allowed)


def relation(one, other, pairs):
    """Pairs of rows as a sparse matrix of counts (n, m)."""
    rows, others = pairs
    return csr_array((np.ones_like(rows, np.int32), (rows, others)), shape=(len(one), len(other)))


def near_ones(findings, earlier_findings, pairs):
    """The `relation` of those pairs that are `within_gap`."""
    near = within_gap(findings, pairs[0], earlier_findings, pairs[1])
    return relation(findings, earlier_findings, (pairs[0][near], pairs[1][near]))


def same_entity(findings, earlier_findings):
    """Which findings (n,) continue which of earlier nights (m,): same study, scope and name, in time as
    `within_gap` says. Sparse (n, m)
    """
    pairs = pairs_alike(findings, earlier_findings, ["study", "scope", "name"])
    return near_ones(findings, earlier_findings, pairs)


def same_place(findings, earlier_findings):
    """The same for findings of one study and site, one of them about the whole site: trouble with a storage
    may turn out to be the site's. Sparse (n, m)
    """
    here, there = (is_placed(rows) for rows in (findings, earlier_findings))
    pairs = pairs_among(findings, earlier_findings, ["study", "site"], here, there)
    whole, whole_then = ((rows.scope == "site").to_numpy() for rows in (findings, earlier_findings))
    about_it = whole[pairs[0]] | whole_then[pairs[1]]
    return near_ones(findings, earlier_findings, (pairs[0][about_it], pairs[1][about_it]))


def is_placed(findings):
    """Which findings are about a site, or a service of it, that they name: bool (n,)."""
    return (findings.scope.isin(GROUND) & (findings.site != "")).to_numpy(bool)


def continues(findings, earlier_findings):
    """Which findings are the same thing or of the same place as which of earlier nights: sparse (n, m)."""
    return same_entity(findings, earlier_findings).maximum(same_place(findings, earlier_findings))


def correlate_findings(findings):
    """Number of the incident of each finding, int (n,), from 0 in the order of their first findings.

    findings : as `describe_findings` gives it. Links join findings of one study and name less than a day
    apart (a week if one is weekly), findings about a site or its services that overlap in time, idle GPUs of
    one site less than a day apart, and findings of one run. Then a community that does less at a site joins
    the incident that another study sees there with the longest overlap, and a topic of tickets joins at most
    one incident. No finding, no number.
    """
    if not len(findings):
        return np.zeros(0, int)
    linked = relation(findings, findings, linked_pairs(findings))
    label = in_order(connected_components(linked, directed=False)[1])
    return in_order(attach_topics(findings, attach_losses(findings, label)))


def linked_pairs(findings):
    """(rows, rows) of the pairs of findings that are of one incident whatever else there is."""
    run, gpu = ((findings.scope == name).to_numpy() for name in ("detector", "gpu"))
    here, there = pairs_alike(findings, findings, ["study", "name"])
    named = within_gap(findings, here, findings, there) | run[here] & run[there]
    idle, idle_too = pairs_among(findings, findings, ["site"], *[gpu & (findings.site != "").to_numpy()] * 2)
    near = within_gap(findings, idle, findings, idle_too)
    ground, ground_too = pairs_among(findings, findings, ["site"], *[is_placed(findings)] * 2)
    overlap = hours_shared(findings, ground, findings, ground_too) > 0
    return (
        np.concatenate([here[named], idle[near], ground[overlap]]),
        np.concatenate([there[named], idle_too[near], ground_too[overlap]]),
    )


def attach_losses(findings, label):
    """`label` (n,) with each incident of communities that do less at a site joined to the incident that
    another study sees there with the longest overlap.

    Each joins one incident, since a community that went down twice must not link two unrelated ones.
    """
    losing = ((findings.scope == "community") & findings.is_loss.astype(bool)).to_numpy()
    loss, other = pairs_among(findings, findings, ["site"], losing, is_placed(findings))
    hours, study = hours_shared(findings, loss, findings, other), findings.study.to_numpy(object)
    meets = (hours > 0) & (study[loss] != study[other])
    loss, other, hours = loss[meets], other[meets], hours[meets]
    order = np.lexsort((other, -hours, label[loss]))  # of equals, the first
    joining, first = np.unique(label[loss][order], return_index=True)
    met = dict(zip(joining, other[order][first], strict=True))
    joined = label.copy()
    for one in pd.unique(label[losing]):
        if one in met:
            joined[joined == one] = joined[met[one]]
    return joined


def attach_topics(findings, label):
    """`label` (n,) with each topic of tickets joined to the one incident that it may be about.

    Candidates begin less than a week before or after the topic and are of its site; for a topic without a
    site, they have no site and share two of its keywords. The nearest is taken. Only sites and services
    count: few users ask about a node, and many things happen to nodes.
    """
    topics, label = np.flatnonzero(findings.follows_incident.to_numpy(bool)), label.copy()
    if not len(topics):
        return label
    rows = np.flatnonzero(findings.scope.isin(GROUND))
    ground, number_of, first = findings.iloc[rows], label[rows], findings.first_h.to_numpy()
    others, sites = ground.first_h.groupby(number_of).min(), ground.site.groupby(number_of).agg(set).to_dict()
    keywords = {
        number: {singular(word) for words in lists for word in words}
        for number, lists in ground.keywords.groupby(number_of)
        if not any(sites[number])
    }
    for topic in topics:
        words = {singular(word) for word in findings.entity[topic].partition(":")[2].split(",")}
        away, site, fits = (others - first[topic]).abs(), findings.site[topic], []
        for number, hours in away[away < WEEK_H].items():
            shared = set() if any(sites[number]) else words & keywords[number]
            if site in sites[number] if site else len(shared) >= 2:
                fits.append((hours, number))
        if fits:
            label[label == label[topic]] = min(fits)[1]
    return label


def carry_over_topic_links(findings, label, earlier_findings):
    """`label` (n,) with each topic of tickets that joined no incident tonight joined to the one that it
    joined when it was last seen, if that is seen tonight.

    Otherwise an incident would lose its topic once the weeks of the topic, which move on with the nights,
    begin too early or too late.
    """
    label = np.asarray(label).copy()
    if not len(findings) or not len(earlier_findings):
        return label
    goes_on = continues(findings, earlier_findings)
    ground, before = findings.scope.isin(GROUND).to_numpy(), pd.factorize(earlier_findings.incident)[0]
    for topic in np.flatnonzero(findings.follows_incident.to_numpy(bool)):
        if not (ground & (label == label[topic])).any():
            followed = np.isin(before, before[goes_on[[topic]].indices])
            meets = pd.Series(label[ground & (goes_on @ followed > 0)])
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
    site at its time, with the longest overlap}.

    A weekly study reports what daily ones may have forgotten. It is linked as within a night, but to one
    incident only, since a week overlaps many unrelated things.
    """
    label, before = np.asarray(label), earlier_findings.scope.isin(GROUND).to_numpy(bool)
    here, there = pairs_among(findings, earlier_findings, ["site"], is_retrospective(findings), before)
    hours = hours_shared(findings, here, earlier_findings, there)
    study, study_then = (rows.study.to_numpy(object) for rows in (findings, earlier_findings))
    met = pd.DataFrame({"number": label[here], "hours": hours, "there": there})
    met = met[(hours > 0) & (study[here] != study_then[there])]
    going_on = np.unique(label[continues(findings, earlier_findings).nonzero()[0]])
    met = met[~met.number.isin(going_on)]
    met = met.sort_values(["number", "hours", "there"], ascending=[True, False, True])
    met = met.drop_duplicates("number")
    return dict(zip(met.number, earlier_findings.incident.iloc[met.there], strict=True))


def attach_delayed(findings, label, earlier_findings):
    """`label` (n,) with late reports of weekly studies on one incident joined to each other, and to the
    incident if it is seen tonight.

    A late report belongs to the incident of `match_retrospective`, or else to that of which it was part when
    it was last seen, since its weeks may have moved on.
    """
    label, before = np.asarray(label).copy(), earlier_findings.incident.to_numpy(object)
    here, there = continues(findings, earlier_findings).nonzero()
    late, whose = is_retrospective(findings), match_retrospective(findings, label, earlier_findings)
    all_late = set(label[late]) - set(label[~late]) - set(whose)
    goes_on = pd.DataFrame({"number": label[here], "name": before[there], "here": here, "there": there})
    goes_on = goes_on.astype({"name": object})
    of_late = goes_on[goes_on.number.isin(all_late)].drop_duplicates(["number", "there"])
    whose |= {number: names.mode().iloc[0] for number, names in of_late.name.groupby(of_late.number)}
    rows_of = {name: pd.unique(rows) for name, rows in goes_on.here.groupby(goes_on.name)}
    whose = pd.Series(whose, dtype=object)
    for name, numbers in whose.groupby(whose).groups.items():
        rows = rows_of.get(name, np.zeros(0, int))
        there = pd.Series(label[rows[~np.isin(label[rows], numbers)]])
        label[np.isin(label, numbers)] = there.mode().iloc[0] if len(there) else numbers[0]
    return in_order(label)


def singular(word):
    """A keyword without the s of a plural, in small letters."""
    return word.strip().casefold().removesuffix("s")


def in_order(label):
    """Labels (n,) renumbered from 0 by their first rows."""
    return pd.factorize(np.asarray(label))[0]


def label_incidents(findings, before, remembered):
    """Number the incident of each finding, int (n,), from tonight's findings and those of earlier nights.

    before : findings of the incidents as they were last seen. remembered : all findings of earlier nights.
    """
    label = carry_over_topic_links(findings, correlate_findings(findings), before)
    return attach_delayed(findings, label, remembered)
