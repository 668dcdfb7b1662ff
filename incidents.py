"""Findings of all studies to incidents: linked, named, followed over the nights, marked and ranked. All is pure but `read_`.

    Findings   what their kinds say of them                    read_kinds, describe_findings
    Links      which findings are one incident                 link_findings, keep_topics, join_late
    Incidents  one row for each, in words                      combine, combine_p, add_impacts
    Nights     its name and state from night to night          follow
    Marks      what somebody has muted or acknowledged         apply_marks
    Ranking    what comes first, and how grave it is           rank_incidents

The entry rule is that of helpers.py: an error in here would be silent and change what is reported, and the backtest relies on it, too.
"""

import hashlib
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd
import yaml
from scipy import stats
from scipy.sparse.csgraph import connected_components

from helpers import resolve
from nightshift.incidents import NOT_WATCHED

DAY_H, WEEK_H = 24.0, 168.0
SCOPES = {      # what an incident of one finding is called, gravest scope first
    "site": "{called} at {site}", "service": "{called} {name}", "community": "{called} of {name}", "node": "{called} on {name}",
    "gpu": "{called} at {site}", "detector": "{called}, {name}", "desk": "{called}: {entity}", "other": "{called}: {name}"}
GROUND = ("site", "service")      # what lies at a site and is not about one user or machine of it
NOTHING_KNOWN = {"scope": "other", "called": "", "says": "", "words": [], "every": "day", "wish": False, "loses": False, "follows": False}
TOLD_AS_ENDED = ("resolved", "over")
MADE = ["key", "site", "what", "says", "kinds", "studies", "start", "end", "ended", "fresh", "p_value", "impacts", "impact", "scope", "wish"]
UNITS = {"core hours": "core hours affected", "GPU hours": "GPU hours unused", "/pb": "/pb in doubt", "tickets": "tickets beyond the usual"}
WHOLE = ("nodes", "tickets")      # what comes in whole numbers


# -------------------------------------------------------------------------------------------------------------- Findings

def read_kinds(path):
    """{kind: {study, scope, called, says, words, every, wish, loses, follows}} of kinds.yaml; ValueError names the entry that is wrong."""
    entries = yaml.load(resolve(path).read_text(encoding="utf-8"), yaml.CSafeLoader) or {}      # the loader in C takes a tenth of the time
    needed = {"study": str, "scope": str, "called": str, "says": str, "words": list, "every": str}
    for kind, entry in entries.items():
        wrong = [key for key, of in needed.items() if not isinstance(entry, dict) or not isinstance(entry.get(key), of)]
        if wrong or entry["scope"] not in SCOPES or entry["every"] not in ("day", "week"):
            raise ValueError(f"{path}: {kind} needs {', '.join(needed)}; scope is one of {', '.join(SCOPES)}, every is day or week")
    return {kind: NOTHING_KNOWN | entry for kind, entry in entries.items()}


def describe_findings(findings, kinds, sites):
    """`findings` with sites called by their own names, and what their kinds say, in an order that does not depend on that of the rows.

    Adds name (the entity up to its first ":" or ","), scope, called, says, words, every, wish, loses, follows, and first_h, last_h: hours since 1970,
    NaN where no time is known. A site's own finding without a site is one of a community, a node that is called as its site is the site.
    """
    entries = [kinds.get(f"{f.study}.{f.kind}") or kinds.get(f.kind, {}) for f in findings.itertuples()]
    entries = [entry if entry.get("study") == study else NOTHING_KNOWN for entry, study in zip(entries, findings.study, strict=True)]
    described = findings.assign(**{key: [entry[key] for entry in entries] for key in NOTHING_KNOWN})
    described["called"] = described.called.where(described.called != "", described.kind.str.replace("_", " "))
    described["site"] = [sites.get(site.casefold(), site) for site in described.site]
    described["name"] = described.entity.str.split("[:,]").str[0].str.strip()
    described.loc[(described.scope == "site") & (described.site == ""), "scope"] = "community"
    described.loc[(described.scope == "node") & (described.site != "") & (described.name == described.site), "scope"] = "site"
    for column, first, other in (("first_h", "start", "end"), ("last_h", "end", "start")):
        described[column] = hours_of(described[first].fillna(described[other]))
    described["last_h"] = np.maximum(described.first_h + 1 / 3600, described.last_h)      # a moment lasts a second, else it would overlap nothing
    order = ["first_h", "study", "scope", "name", "kind", "entity", "site", "last_h", "p_value", "evidence"]
    return described.sort_values(order, ignore_index=True)


def hours_of(times):
    """Hours since 1970, float64, of a Series of times or dates; NaN where one is missing."""
    return (pd.to_datetime(times, utc=True) - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(hours=1)


# ----------------------------------------------------------------------------------------------------------------- Links

def near(one, other):
    """Whether findings of `one` (n,) and `other` (m,) are less than a day apart, or a week if one is weekly: bool (n, m). Unknown times are near."""
    apart = np.maximum(one.first_h.to_numpy()[:, None] - other.last_h.to_numpy(), other.first_h.to_numpy() - one.last_h.to_numpy()[:, None])
    weekly = (one.every == "week").to_numpy()[:, None] | (other.every == "week").to_numpy()
    return ~(apart >= np.where(weekly, WEEK_H, DAY_H))


def same(one, other, columns):
    """Whether rows of `one` (n,) and `other` (m,) agree in all `columns`: bool (n, m)."""
    codes, keys = {}, [list(zip(*(rows[c] for c in columns), strict=True)) for rows in (one, other)]
    first, second = (np.array([codes.setdefault(key, len(codes)) for key in each], int) for each in keys)
    return first[:, None] == second


def same_thing(found, earlier_found):
    """Whether findings (n,) continue those of earlier nights (m,): same study, scope and name, in time as `near` says. bool (n, m)"""
    return same(found, earlier_found, ["study", "scope", "name"]) & near(found, earlier_found)


def same_place(found, earlier_found):
    """The same for a whole site and what lies at it, of one study: trouble of a storage may turn out to be the site's. bool (n, m)"""
    here, there = ((rows.scope.isin(GROUND) & (rows.site != "")).to_numpy() for rows in (found, earlier_found))
    whole = (found.scope == "site").to_numpy()[:, None] | (earlier_found.scope == "site").to_numpy()
    return here[:, None] & there & whole & same(found, earlier_found, ["study", "site"]) & near(found, earlier_found)


def continues(found, earlier_found):
    """Whether findings (n,) are the same thing or of the same place as those of earlier nights (m,): bool (n, m)."""
    return same_thing(found, earlier_found) | same_place(found, earlier_found)


def link_findings(found):
    """Number of the incident of each finding, int (n,), from 0 in the order of their first findings.

    found : as `describe_findings` gives it. Linked are: the same name in one study, less than a day apart (a week if one is weekly); what is about
    a site or a service of it, overlapping in time; idle GPUs of one site, less than a day apart; findings of one run. Then a community that does
    less at a site joins what overlaps it most there of another study, and a topic of tickets follows at most one incident. No finding, no number.
    """
    if not len(found):
        return np.zeros(0, int)
    scope, first, last = found.scope.to_numpy(object), found.first_h.to_numpy(), found.last_h.to_numpy()
    shared = np.minimum(last[:, None], last) - np.maximum(first[:, None], first)      # hours; NaN where a time is not known
    same_site = same(found, found, ["site"]) & (found.site != "").to_numpy()
    overlap = same_site & (shared > 0)
    ground, gpu, run = np.isin(scope, GROUND), scope == "gpu", scope == "detector"
    named, close = same(found, found, ["study", "name"]), near(found, found)
    linked = named & (close | run & run[:, None]) | gpu & gpu[:, None] & same_site & close | ground & ground[:, None] & overlap
    label = in_order(connected_components(linked, directed=False)[1])
    losing = (scope == "community") & found.loses.to_numpy(bool)
    other_study = ~same(found, found, ["study"])
    joined = label.copy()
    for one in pd.unique(label[losing]):      # by incident, since a community that went down twice must not bridge two strangers
        meets = np.where((losing & (label == one))[:, None] & ground & overlap & other_study, shared, 0.0).max(axis=0)
        if meets.max() > 0:
            joined[joined == one] = label[meets.argmax()]      # of equals, the first
    return in_order(follow_topics(found, joined))


def follow_topics(found, label):
    """`label` (n,) with each topic of tickets joined to the one incident that it may be about.

    Of the same site, or, without one, incidents without a site that share two of its keywords, those count that begin less than a week from the
    topic's first week; the nearest is taken. Only sites and services: few users ask about a node, and many things happen to nodes.
    """
    label = label.copy()
    others = {number: rows for number in np.unique(label) if len(rows := np.flatnonzero((label == number) & found.scope.isin(GROUND).to_numpy()))}
    site, first, meant = found.site.to_numpy(object), found.first_h.to_numpy(), found.words.to_numpy(object)
    for topic in np.flatnonzero(found.follows.to_numpy(bool)):
        words, fits = {singular(word) for word in found.entity[topic].partition(":")[2].split(",")}, []
        for number, rows in others.items():
            away = abs(np.nanmin(first[rows], initial=np.inf) - first[topic])
            named = {singular(word) for row in rows for word in meant[row]} if not any(site[rows]) else set()
            if away < WEEK_H and (site[topic] in site[rows] if site[topic] else len(words & named) >= 2):
                fits.append((away, number))
        if fits:
            label[label == label[topic]] = min(fits)[1]
    return label


def keep_topics(found, label, earlier_found):
    """`label` (n,) with each topic of tickets that follows nothing tonight joined to what it followed when it was last seen, if that is seen tonight.

    A topic's weeks move on with the nights, and its incident would lose it on the day on which they begin too early, or too late.
    """
    label = np.asarray(label).copy()
    if not len(found) or not len(earlier_found):
        return label
    goes_on = continues(found, earlier_found)
    ground, before = found.scope.isin(GROUND).to_numpy(), earlier_found.incident.to_numpy(object)
    for topic in np.flatnonzero(found.follows.to_numpy(bool)):
        if not (ground & (label == label[topic])).any():
            same_incident = goes_on & np.isin(before, before[goes_on[topic]])
            meets = pd.Series(label[ground & same_incident.any(axis=1)])
            if len(meets):
                label[label == label[topic]] = meets.mode().iloc[0]
    return in_order(label)


def speaks_late(found):
    """Which findings are of a weekly study, about a site or a service or a community that does less at a site: bool (n,)."""
    meant = found.scope.isin(GROUND) | (found.scope == "community") & found.loses.astype(bool)
    return (meant & (found.site != "") & (found.every == "week")).to_numpy(bool)


def seen_then(found, label, earlier_found):
    """{number of an incident that continues nothing: name of the earlier one that other studies saw at its site at its time, that of most hours}.

    A weekly study tells of what daily ones may have forgotten. What would be linked within a night is linked, but only to one incident, since a week
    overlaps many things that have nothing to do with each other.
    """
    overlap = np.minimum(found.last_h.to_numpy()[:, None], earlier_found.last_h.to_numpy())
    overlap = overlap - np.maximum(found.first_h.to_numpy()[:, None], earlier_found.first_h.to_numpy())      # hours; NaN where a time is not known
    possible = speaks_late(found)[:, None] & earlier_found.scope.isin(GROUND).to_numpy() & same(found, earlier_found, ["site"])
    hours = np.where(possible & ~same(found, earlier_found, ["study"]) & (overlap > 0), overlap, 0.0)
    goes_on, met = continues(found, earlier_found).any(axis=1), {}
    for number in np.unique(label):
        members = np.asarray(label) == number
        if not goes_on[members].any() and hours[members].any():
            met[number] = earlier_found.incident.iloc[hours[members].max(axis=0).argmax()]
    return met


def join_late(found, label, earlier_found):
    """`label` (n,) with what a weekly study tells of an incident joined to it, if it is seen tonight, and to what else it tells of it.

    Of an incident is what is told late (see `seen_then`), and what was part of it when it was last seen: its weeks may have moved on.
    """
    label, before = np.asarray(label).copy(), earlier_found.incident.to_numpy(object)
    goes_on, late = continues(found, earlier_found), speaks_late(found)
    whose = seen_then(found, label, earlier_found)
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


# ------------------------------------------------------------------------------------------------------------- Incidents

def combine_p(p_values):
    """Cauchy combination of p-values (n,), valid whatever their dependence (Liu & Xie 2020); 1 for none.

    A p-value of 0 counts as 1e-300. Those above 0.99 count as that: one of 1 would outweigh all others.
    """
    p = np.clip(np.asarray(p_values, float), 1e-300, 0.99)
    return float(stats.cauchy.sf(np.mean(stats.cauchy.isf(p)))) if len(p) else 1.0


def add_impacts(found):
    """What some findings cost: [{"study", "value", "unit"}], by study and unit.

    Findings of one study and name that overlap count the same thing, so the largest counts; a node counts once, however often it is found.
    """
    sums = {}
    with_impact = found[found.impact.notna() & (found.impact_unit != "")].sort_values("first_h", kind="stable")
    for (study, unit, _), group in with_impact.groupby(["study", "impact_unit", "name"]):
        ends = group.last_h.cummax().shift().fillna(-np.inf)
        parts = (group.first_h >= ends).cumsum() if unit != "nodes" else pd.Series(0, group.index)
        sums[study, unit] = sums.get((study, unit), 0.0) + float(group.impact.groupby(parts).max().sum())
    return [{"study": study, "value": value, "unit": unit} for (study, unit), value in sorted(sums.items())]


def impact_text(impacts):
    """Impacts as text such as "103,178 core hours affected, 1 node"; "" for none."""
    sums = {}
    for one in impacts:
        sums[one["unit"]] = sums.get(one["unit"], 0.0) + one["value"]
    texts = {unit: f"{value:,.0f}" if value >= 100 or unit in WHOLE else f"{value:.3g}" for unit, value in sums.items()}
    named = {unit: UNITS.get(unit, unit) for unit in sums}
    return ", ".join(f"{text} {named[unit].replace(unit, unit.removesuffix('s')) if text == '1' else named[unit]}" for unit, text in texts.items())


def combine(found, label, still_h=6.0, newest=None):
    """One row per incident: DataFrame [label] with key (study, scope, name of its first finding), site, what, says, kinds, studies, start, end,
    ended, fresh (seen in the last day that its daily sources know), p_value, impacts, impact, scope, wish.

    found : as `describe_findings` gives it, with `night`, the night (date text) that each is of. newest : {study: newest time in its source}, if that
    may be earlier than the end of the night. A finding has ended when it ends `still_h` or more hours before what its source knows, a weekly one when
    it ends a week or more before; without times it goes on as long as it is found. Where a daily source sees an incident, its word on the end counts.
    """
    weekly = (found.every == "week").to_numpy()
    known_h = hours_of(found.night) + DAY_H
    last_row = hours_of(found.study.map(newest or {}).astype("datetime64[us, UTC]")).where(~found.kept.astype(bool))
    known_h = np.fmin(known_h, np.where(weekly, np.floor(last_row / DAY_H + 1) * DAY_H, last_row))      # of a weekly source its whole last day
    has_ended, fresh = found.last_h <= known_h - np.where(weekly, WEEK_H, still_h), ~weekly & (found.last_h > known_h - DAY_H)
    rows = []
    for _, group in found.assign(has_ended=has_ended, fresh=fresh).groupby(np.asarray(label), sort=True):
        grave = group.scope.map(list(SCOPES).index)
        lead = group.loc[group.assign(grave=grave).sort_values(["grave", "p_value"], kind="stable").index[0]]
        sites = group.site[group.site != ""].value_counts()
        first, impacts = group.iloc[0], add_impacts(group)
        daily = group[(group.every == "day") & group.last_h.notna()]
        rows.append({
            "key": (first.study, first.scope, first["name"]), "site": sites.index[0] if len(sites) else "", "what": title_of(group, lead),
            "says": lead.says, "kinds": list(pd.unique(group.kind)), "studies": sorted(set(group.study)),
            "start": group.start.fillna(group.end).min(), "end": group.end.fillna(group.start).max(),
            "ended": bool((daily if len(daily) else group).has_ended.all()), "fresh": bool(group.fresh.any()),
            "p_value": combine_p(group.p_value), "impacts": impacts, "impact": impact_text(impacts), "scope": lead.scope,
            "wish": bool(group.wish.all())})
    made = pd.DataFrame(rows, columns=MADE)
    for time in ("start", "end"):
        made[time] = pd.to_datetime(made[time], utc=True).astype("datetime64[us, UTC]")
    return made


def title_of(group, lead):
    """What an incident is called: by its gravest finding, or, where several things or several troubles of a site come together, by the site."""
    names, troubles = group[group.scope.isin([*GROUND, "community"])].name.nunique(), group[group.scope == "site"].kind.nunique()
    if lead.scope in GROUND and lead.site and (names > 1 or troubles > 1):
        return f"site trouble at {lead.site}"
    entity = lead.entity.partition(": ")[2] or lead.entity      # of a topic its keywords
    called = SCOPES[lead.scope].format(called=lead.called, site=lead.site or lead["name"], name=lead["name"], entity=entity)
    return called.replace("run, run", "run")[:120]      # of a bad run, the run is the name


# ---------------------------------------------------------------------------------------------------------------- Nights

def follow(found, label, made, earlier, earlier_found, *, day, worse_factor=1.5, remembered=None, watched=None, stored=None):
    """(incidents with their name and state tonight, findings with `incident`): the rows of `made`, and what is gone since last night.

    earlier, earlier_found : the last known row of each incident of earlier nights, with `of` (its night), and its findings; both may be empty.
    remembered : findings of all earlier nights, of which those that its sources had forgotten when it was last seen count, too, but for what users
    ask, whose weeks move on. An incident is the one of earlier nights that `claim` gives it. Of several it is the oldest, the others are part of it.
    States are those that the notebook explains. Findings that are `kept` are of an earlier night: their study has none of tonight.
    watched : studies that reported on the night before (None: all), see `ended_unwatched`. stored : what this night and later ones were said to
    hold when they ran before, findings with `incident` and `first_seen`; what is new takes its name of then, see `names_of_then`.
    """
    before = (earlier if len(earlier) else pd.DataFrame(columns=["incident", "first_seen", "state", "ended", "of"])).set_index("incident")
    older = earlier_found.iloc[:0] if remembered is None else remembered[(remembered.scope != "desk") & remembered.incident.isin(before.index)]
    taken, claims = claim(found, label, before, pd.concat([earlier_found, older], ignore_index=True) if len(older) else earlier_found)
    then_called, reserved = names_of_then(found, label, taken, stored, day)
    names, used = [], set(before.index) | set(taken.values()) | reserved
    rows = []
    for number, one in enumerate(made.to_dict("records")):
        own = found[np.asarray(label) == number]
        if number in taken:
            name, then = taken[number], before.loc[taken[number]]
            state = continued(one, then, own, earlier_found[earlier_found.incident == name], worse_factor)
            if one["start"] > then.start and not then.ended:      # its source may have forgotten how it began
                one["start"] = then.start
            rows.append(one | {"incident": name, "first_seen": then.first_seen} | state)
        else:
            name = then_called.get(number) or new_name(one["key"], day, used)
            split = next((f"split from {other}" for other, numbers in claims.items() if number in numbers), "")
            state = {"state": "over", "change": NOT_WATCHED} if ended_unwatched(one, own, watched) else {"state": "new", "change": split}
            rows.append(one | {"incident": name, "first_seen": day, "night": 1} | state)
        used.add(name)
        names.append(name)
    last = before["of"].max() if len(before) else ""
    gone = before[(before["of"] == last) & ~before.index.isin(names)]
    for name, then in gone.iterrows():
        into = names[claims[name][0]] if name in claims else ""
        was_merged = then.state == "over" and str(then.change).startswith("now part of")
        if (into and not was_merged) or not (then.ended or then.state in TOLD_AS_ENDED):
            change = {"state": "over", "change": f"now part of {into}"} if into else {"state": "resolved", "change": ""}
            rows.append(then.to_dict() | {"incident": name, "ended": True} | change)
    tonight = found.assign(incident=np.array(names, object)[np.asarray(label, int)] if len(found) else [])
    resolved = [row["incident"] for row in rows[len(made):] if row["state"] == "resolved"]
    kept = earlier_found[earlier_found.incident.isin(resolved)]
    return pd.DataFrame(rows, columns=[*made.columns, "incident", "first_seen", "state", "night", "change"]), tonight, kept


def ended_unwatched(one, findings, watched):
    """Whether an incident that no earlier night knows had ended before anybody looked: no news, though nobody has said so before.

    one : its row. findings : its findings. watched : studies that reported on the night before, None for all. Of those, what is first seen tonight
    is news, whenever it was. Of a study that reports for the first time, or again after nights without it, news is what goes on, or was there
    on its night.
    """
    if watched is None or set(one["studies"]) & set(watched) or not one["ended"]:
        return False
    daily = findings[(findings.every == "day") & findings.last_h.notna()]      # where a daily source sees it, its word on the end counts
    seen = daily if len(daily) else findings
    return bool((seen.last_h <= hours_of(seen.night)).all())


def names_of_then(found, label, taken, stored, day):
    """({number of an incident that is new tonight: the name that it had when this night ran before}, names that nothing else may get).

    stored : findings of this night and of later ones, as they were then, with `incident` and `first_seen`; None or no row: the night did not run. A
    name of this night goes to the incident that holds most of its findings (same study, scope and name, overlapping in time), one name to each.
    """
    if stored is None or not len(stored) or not len(found):
        return {}, set() if stored is None else set(stored.incident)
    then = stored[(stored.first_seen == day) & ~stored.incident.isin(list(taken.values()))]
    apart = np.maximum(found.first_h.to_numpy()[:, None] - then.last_h.to_numpy(), then.first_h.to_numpy() - found.last_h.to_numpy()[:, None])
    same_finding = same(found, then, ["study", "scope", "name"]) & ~(apart > 0)      # unknown times overlap
    here, there = np.nonzero(same_finding)
    met = pd.DataFrame({"number": np.asarray(label)[here], "name": then.incident.to_numpy(object)[there], "finding": here}).drop_duplicates()
    shared = met[~met.number.isin(list(taken))].groupby(["name", "number"]).size().sort_values(ascending=False, kind="stable")
    called = {}
    for name, number in shared.index:
        if number not in called and name not in called.values():
            called[number] = name
    return called, set(stored.incident)


def claim(found, label, before, earlier_found):
    """({number of tonight: earlier name that it takes}, {earlier name: numbers of tonight that continue its findings, that of most first}).

    The oldest names choose first: what is the same thing, then what is left of the same place, then what is told late.
    """
    taken, claims = {}, {}
    if not len(before) or not len(found):
        return taken, claims
    order = before.reset_index().sort_values(["first_seen", "start", "incident"]).incident
    for relation in (same_thing, same_place):
        here, there = np.nonzero(relation(found, earlier_found))
        met = pd.DataFrame({"number": np.asarray(label)[here], "name": earlier_found.incident.to_numpy(object)[there], "finding": here})
        shared = met.drop_duplicates().groupby(["name", "number"]).size()
        for name in order[order.isin(shared.index.unique("name")) & ~order.isin(taken.values())]:
            numbers = list(shared[name].sort_values(ascending=False, kind="stable").index)
            claims.setdefault(name, numbers)
            free = [number for number in numbers if number not in taken]
            if free:
                taken[free[0]] = name
    for number, name in seen_then(found, label, earlier_found).items():
        if number not in taken and name not in taken.values():
            taken[number] = name
    return taken, claims


def new_name(key, day, used):
    """The name of an incident first seen on `day`: "20260119-3f2a", the hash being of study, scope and name of its first finding."""
    for attempt in range(2**16):      # the hash again, should another incident of that night have it
        name = f"{day.replace('-', '')}-{hashlib.sha256('|'.join([*key, str(attempt or '')]).encode()).hexdigest()[:4]}"
        if name not in used:
            return name
    raise ValueError(f"more than 65,536 incidents first seen on {day}")


def continued(one, then, own, past, worse_factor):
    """State, night and change of an incident that earlier nights knew as `then`; own, past : its findings tonight and then."""
    had_ended, further = then.ended or then.state in TOLD_AS_ENDED, sorted(set(one["studies"]) - set(then.studies))
    also = [f"now also seen by {', '.join(further)}"] * bool(further)
    known_until = then.end + pd.Timedelta(hours=0 if set(one["studies"]) & set(then.studies) else WEEK_H)      # what is told late names whole weeks
    if had_ended and (one["ended"] or one["end"] <= known_until):
        return {"state": "over", "night": int(then.night), "change": "".join(also), "ended": True}
    if one["ended"]:
        return {"state": "resolved", "night": int(then.night), "change": ""}
    if own.kept.all() and not had_ended:
        return {"state": "ongoing", "night": int(then.night), "change": f"as it was, since there is no news of {', '.join(one['studies'])}"}
    rates = growth((own, one["impacts"]), (past, then.impacts))
    changes = ["it is back"] * bool(had_ended) + also
    changes += [f"{ratio:.1f} times as many {unit} a day" for unit, ratio in rates.items() if ratio >= worse_factor]
    return {"state": "worse" if changes else "ongoing", "night": int(then.night) + 1, "change": "; ".join(changes)}


def growth(now, then):
    """{unit: how many times its impact per day is that of the night before}, where both are known; of several studies the most.

    now, then : (findings, their impacts). The days are those that the findings span, not those of the incident, of which a source forgets the first.
    """
    def per_day(found, impacts):
        length = (found.last_h.max() - found.first_h.min()) / DAY_H
        return {(i["study"], i["unit"]): i["value"] / max(length, 1.0) for i in impacts} if length == length else {}
    after, before, most = per_day(*now), per_day(*then), {}
    for key in after:
        if before.get(key):
            most[key[1]] = max(most.get(key[1], 0.0), after[key] / before[key])
    return most


# ----------------------------------------------------------------------------------------------------------------- Marks

def apply_marks(incidents, found, marks, day):
    """(`incidents` with mark, marked_by, marked_until, marked_why, "" where none holds; `marks` with `used`, how many incidents each holds for).

    A mark holds up to and including its day `until`. Patterns such as T2-* hold for an incident if all its findings fit; of several marks, the first.
    """
    marked = incidents.assign(mark="", marked_by="", marked_until="", marked_why="")
    used = []
    for mark in marks.itertuples(index=False, name=None):
        name, kind, site, entity, way, by, until, why = mark
        fits = np.array([all(fnmatchcase(one, wanted.casefold()) for one, wanted in zip(map(str.casefold, row), (kind, site, entity), strict=True)
                             if wanted) for row in zip(found.kind, found.site, found.entity, strict=True)], bool)
        whole = set(found.incident) - set(found.incident[~fits]) if kind or site or entity else set(found.incident)
        held = marked.incident.isin(whole) & (name in ("", *marked.incident)) & (marked.incident == name if name else True) & (until >= day)
        used.append(int(held.sum()))
        free = held & (marked.mark == "")
        marked.loc[free, ["mark", "marked_by", "marked_until", "marked_why"]] = [way, by, until, why]
    return marked, marks.assign(used=used)


# --------------------------------------------------------------------------------------------------------------- Ranking

def rank_incidents(incidents, weights, scales, limits, max_incidents):
    """`incidents` sorted by rank with the points of which `priority` is the sum, severity, rank from 1, and shown (the first `max_incidents`).

    weights : {"decade", "decades", "tenfold", "study", "site", "new", "going_on", "tonight", "wish"}: points per decade of p, how many decades count,
    per factor of ten of impact above its scale, per further study, for a whole site, for new or worse, for what goes on, for what a daily source saw
    in the last day, for what somebody wanted.
    scales : {unit: amount that is noticeable}. limits : {"high", "medium"}: points of the evidence alone (surprise, impact, sources, site, wish) from
    which an incident is grave. What changes because a night passes (news, going on, tonight) puts in order and makes nothing graver or less grave.
    Marked ones, then what is over or resolved come last and are never shown in full.
    """
    w = weights
    impact = [max([np.log10(1 + one["value"] / scales.get(one["unit"], np.inf)) for one in impacts], default=0.0) for impacts in incidents.impacts]
    decades = np.minimum(-np.log10(np.maximum(incidents.p_value.astype(float), 1e-300)), w["decades"])
    evidence = pd.DataFrame({
        "surprise": w["decade"] * decades, "impact": w["tenfold"] * np.array(impact, float),
        "sources": w["study"] * (incidents.studies.map(len).astype(float) - 1), "site": w["site"] * (incidents.scope == "site"),
        "wish": w["wish"] * incidents.wish.astype(bool)}, index=incidents.index).astype(float) + 0.0      # no -0
    points = evidence.assign(**{
        "news": w["new"] * incidents.state.isin(["new", "worse"]), "going on": w["going_on"] * ~incidents.ended.astype(bool),
        "tonight": w["tonight"] * incidents.fresh.eq(True)}).astype(float) + 0.0
    ranked = incidents.join(points.rename(columns="points {}".format)).assign(priority=points.sum(axis=1).round(3))
    gravity = evidence.sum(axis=1).round(3)
    ranked["severity"] = np.select([gravity >= limits["high"], gravity >= limits["medium"]], ["high", "medium"], "low")
    last = np.select([ranked.state.isin(TOLD_AS_ENDED), ranked.mark != ""], [2, 1], 0)
    ranked = ranked.assign(last=last, down=-ranked.priority).sort_values(["last", "down", "incident"], ignore_index=True)
    ranked["rank"] = np.arange(1, len(ranked) + 1)
    ranked["shown"] = (ranked["last"] == 0) & (ranked["rank"] <= max_incidents)
    return ranked.drop(columns=["last", "down"])
