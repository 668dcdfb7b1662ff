"""Incidents from night to night: which is which, its name, and what has become of it. All is pure."""

import hashlib

import numpy as np
import pandas as pd

from nightshift.incidents import NOT_WATCHED, PART_OF
from nightshift.incidents.correlation import (
    DAY_H,
    WEEK_H,
    hours_of,
    hours_shared,
    match_retrospective,
    pairs_alike,
    same_entity,
    same_place,
)

PAST_STATES = ("resolved", "closed")


def track_incidents(
    findings,
    label,
    made,
    earlier,
    earlier_findings,
    *,
    day,
    escalation_factor=1.5,
    still_h=6.0,
    remembered=None,
    watched=None,
    stored=None,
):
    """(incidents with their name and state tonight: the rows of `made`, and those gone since last night;
    tonight's findings with `incident`; the earlier findings of those gone that are resolved).

    earlier, earlier_findings : the last known row of each incident of earlier nights, with `of` (its night),
    and its findings; both may be empty. remembered : findings of all earlier nights; those that the sources
    of an incident had forgotten when it was last seen count too, except topics of tickets, whose weeks move
    on. An incident continues the earlier one that `match_identities` gives it; of several, the oldest, of
    which the others become part. The notebook explains the states. still_h : hours after which something has
    ended, as in `summarise_incidents`. Findings that are `kept` are of an earlier night: their study has none
    of tonight. watched : studies that reported on the night before (None: all), see `ended_unwatched`.
    stored : what this night and later ones held when they ran before, findings with `incident` and
    `first_seen`; a new incident takes its name of then, see `ids_of_earlier_run`.
    """
    nothing = pd.DataFrame(columns=["incident", "first_seen", "state", "ended", "of"])
    before = (earlier if len(earlier) else nothing).set_index("incident")
    compared = with_older(earlier_findings, remembered, before)
    taken, matches = match_identities(findings, label, before, compared)
    ids_then, reserved = ids_of_earlier_run(findings, label, taken, stored, day)
    names, rows, used = [], [], {*before.index, *reserved}
    of_number, of_name = rows_by(findings, np.asarray(label)), rows_by(earlier_findings, "incident")
    for number, one in enumerate(made.to_dict("records")):
        members = of_number(number)
        if number in taken:
            name = taken[number]
            rows.append(
                {"incident": name}
                | row_continued(one, before.loc[name], members, of_name(name), escalation_factor, still_h)
            )
        else:
            name = ids_then.get(number) or new_incident_id(one["key"], day, used)
            whence = next((other for other, numbers in matches.items() if number in numbers), "")
            then = before.loc[whence] if whence else None
            rows.append({"incident": name} | row_new(one, members, then, watched, day))
        used.add(name)
        names.append(name)
    gone = rows_gone(before, names, matches)
    tonight = findings.assign(
        incident=np.array(names, object)[np.asarray(label, int)] if len(findings) else []
    )
    resolved = [row["incident"] for row in gone if row["state"] == "resolved"]
    columns = [*made.columns, "incident", "first_seen", "state", "age_nights", "change"]
    return (
        pd.DataFrame([*rows, *gone], columns=columns),
        tonight,
        earlier_findings[earlier_findings.incident.isin(resolved)],
    )


def rows_by(findings, key):
    """A function that returns the findings of one value of `key`, with their times in hours and `night_h`,
    when their night begins.

    No other column says what has become of an incident, and whole rows of 2,000 incidents would take 10 s.
    """
    times = findings[["cadence", "scope", "first_h", "last_h", "kept"]].assign(
        night_h=hours_of(findings.night)
    )
    places = findings.groupby(key).indices
    return lambda value: times.iloc[places.get(value, [])]


def with_older(earlier_findings, remembered, before):
    """Return the findings that tonight's are compared with: those of earlier incidents as they were last
    seen, and older ones of the same incidents that their sources have forgotten, except topics of tickets.
    """
    if remembered is None:
        return earlier_findings
    older = remembered[(remembered.scope != "desk") & remembered.incident.isin(before.index)]
    return pd.concat([earlier_findings, older], ignore_index=True) if len(older) else earlier_findings


def row_continued(one, then, findings, past, escalation_factor, still_h=6.0):
    """Return the row of an incident of tonight, `one`, that earlier nights knew as `then`; arguments as in
    `continued`.
    """
    state = continued(one, then, findings, past, escalation_factor, still_h)
    if one["start"] > then.start:  # its source may have forgotten how it began
        stays = (
            ["start"]
            if not then.ended
            else ["start", "impact", "impacts"]
            if state["state"] == "closed"
            else []
        )
        one = one | {name: then[name] for name in stays if name in then}
    return one | {"first_seen": then.first_seen} | state


def row_new(one, findings, then, watched, day):
    """Return the row of an incident that no earlier night knows. then : the row of the one that it was part
    of, by its id, None of none; what had ended with that one is no news once more.
    """
    state = {"state": "new", "change": "" if then is None else f"split from {then.name}"}
    had_ended = then is not None and (then.ended or then.state in PAST_STATES)
    if had_ended and one["ended"] and not seen_after(then.end, findings, False):
        state |= {"state": "closed"}
    elif ended_unwatched(one, findings, watched):
        state = {"state": "closed", "change": NOT_WATCHED}
    return one | {"first_seen": day, "age_nights": 1} | state


def rows_gone(before, names, matches):
    """Return rows of the incidents of last night that are not among `names`: those that have been resolved
    or are now part of another, each once.
    """
    rows, last = [], before["of"].max() if len(before) else ""
    gone = before[(before["of"] == last) & ~before.index.isin(names)]
    for name, then in gone.iterrows():
        into = names[matches[name][0]] if name in matches else ""
        was_merged = then.state == "closed" and str(then.change).startswith(PART_OF)
        if (into and not was_merged) or not (then.ended or then.state in PAST_STATES):
            merged, resolved = (
                {"state": "closed", "change": f"{PART_OF}{into}"},
                {"state": "resolved", "change": ""},
            )
            rows.append(then.to_dict() | {"incident": name, "ended": True} | (merged if into else resolved))
    return rows


def ended_unwatched(one, findings, watched):
    """Whether an incident that no earlier night knows is no news, since it had ended before anybody looked.

    one : its row. findings : its findings. watched : studies that reported on the night before, None for all.
    Whatever these see for the first time tonight is news, however old it is. Of a study that reports for the
    first time, or again after nights without it, news is what goes on or was there on its night, and data of
    a detector, of any age, since somebody has to decide whether they are good for physics.
    """
    if watched is None or set(one["studies"]) & set(watched) or not one["ended"]:
        return False
    if (findings.scope == "detector").any():
        return False
    daily = findings[
        (findings.cadence == "day") & findings.last_h.notna()
    ]  # where a daily source sees it, its word on the end counts
    seen = daily if len(daily) else findings
    return bool((seen.last_h <= seen.night_h).all())


def ids_of_earlier_run(findings, label, taken, stored, day):
    """({number of an incident that is new tonight: the name that it had when this night ran before}, names
    that nothing else may get).

    stored : findings of this night and of later ones, as they were then, with `incident` and `first_seen`;
    None or no row: the night did not run. A name of this night goes to the incident that holds most of its
    findings (same study, scope and name, overlapping in time), one name to each.
    """
    if stored is None or not len(stored) or not len(findings):
        return {}, set() if stored is None else set(stored.incident)
    then = stored[(stored.first_seen == day) & ~stored.incident.isin(list(taken.values()))]
    here, there = pairs_alike(findings, then, ["study", "scope", "name"])
    overlap = ~(hours_shared(findings, here, then, there) < 0)  # unknown times overlap
    here, there = here[overlap], there[overlap]
    met = pd.DataFrame(
        {"number": np.asarray(label)[here], "name": then.incident.to_numpy(object)[there], "finding": here}
    ).drop_duplicates()
    shared = (
        met[~met.number.isin(list(taken))]
        .groupby(["name", "number"])
        .size()
        .sort_values(ascending=False, kind="stable")
    )
    names_before = {}
    for name, number in shared.index:
        if number not in names_before and name not in names_before.values():
            names_before[number] = name
    return names_before, set(stored.incident)


def match_identities(findings, label, before, earlier_findings):
    """({number of tonight: earlier name that it takes}, {earlier name: numbers of tonight that continue its
    findings, that of most first}).

    Older incidents have priority; matches of the same entity beat matches of the same site, and late reports
    of weekly sources come last.
    """
    taken, matches = {}, {}
    if not len(before) or not len(findings):
        return taken, matches
    order = before.reset_index().sort_values(["first_seen", "start", "incident"]).incident
    for relation in (same_entity, same_place):
        here, there = relation(findings, earlier_findings).nonzero()
        met = pd.DataFrame(
            {
                "number": np.asarray(label)[here],
                "name": earlier_findings.incident.to_numpy(object)[there],
                "finding": here,
            }
        )
        shared = met.drop_duplicates().groupby(["name", "number"]).size()
        for name in order[order.isin(shared.index.unique("name")) & ~order.isin(taken.values())]:
            numbers = list(shared[name].sort_values(ascending=False, kind="stable").index)
            matches.setdefault(name, numbers)
            free = [number for number in numbers if number not in taken]
            if free:
                taken[free[0]] = name
    for number, name in match_retrospective(findings, label, earlier_findings).items():
        if number not in taken and name not in taken.values():
            taken[number] = name
    return taken, matches


def new_incident_id(key, day, used):
    """The name of an incident first seen on `day`: "20260119-3f2a", the hash being of study, scope and
    name of its first finding.
    """
    for attempt in range(2**16):  # the hash again, should another incident of that night have it
        digest = hashlib.sha256("|".join([*key, str(attempt or "")]).encode()).hexdigest()
        name = f"{day.replace('-', '')}-{digest[:4]}"
        if name not in used:
            return name
    raise ValueError(f"more than 65,536 incidents first seen on {day}")


def continued(one, then, findings, past, escalation_factor, still_h=6.0):
    """State, age_nights and change of an incident that earlier nights had as `then`; findings, past : its
    findings tonight and then. still_h : as in `track_incidents`.
    """
    had_ended, further = (
        then.ended or then.state in PAST_STATES,
        sorted(set(one["studies"]) - set(then.studies)),
    )
    also = [f"now also seen by {', '.join(further)}"] * bool(further)
    told_late = not set(one["studies"]) & set(then.studies)
    stays_closed = {"state": "closed", "age_nights": int(then.age_nights), "change": "".join(also)}
    if had_ended and one["ended"] and not came_back(then.end, findings, still_h):
        return stays_closed
    if had_ended and not seen_after(then.end, findings, told_late):
        return stays_closed | {"ended": True, "end": then.end}
    if findings.kept.all() and not had_ended:
        return {
            "state": "ongoing",
            "ended": False,  # a source that stopped early knew no end, and nothing more is known now
            "age_nights": int(then.age_nights),
            "change": f"as it was, since there is no news of {', '.join(one['studies'])}",
        }
    if one["ended"] and not had_ended:
        return {"state": "resolved", "age_nights": int(then.age_nights), "change": ""}
    rates = growth((findings, one["impacts"]), (past, then.impacts))
    changes = ["it is back"] * bool(had_ended) + also
    changes += [
        f"{ratio:.1f} times as many {unit} a day"
        for unit, ratio in rates.items()
        if ratio >= escalation_factor
    ]
    return {
        "state": "escalated" if changes else "ongoing",
        "age_nights": int(then.age_nights) + 1,
        "change": "; ".join(changes),
    }


def came_back(end, findings, still_h):
    """Whether a daily source has seen any of the findings more than `still_h` hours after `end`, UTC, when it
    was known to have ended: what came back and has ended once more is news, as what is new and has ended is.

    Only what lasted to the day before its night counts, of which the source may have known nothing then: a
    new model may find more in days that are long past.
    """
    since_h = hours_of(pd.Series([end])).iloc[0] + still_h
    daily = findings.cadence == "day"
    return bool((daily & (findings.last_h > since_h) & (findings.last_h > findings.night_h - DAY_H)).any())


def seen_after(end, findings, told_late):
    """Whether any of the findings was there after `end`, UTC, or may have been, without times.

    A weekly finding was there in some part of its last week, which moves on even in nights without news, so
    it counts only if that whole week is after `end`. told_late : whether none of their studies knew the
    incident; a week is then taken off all findings, since they may name whole weeks.
    """
    weekly = (findings.cadence == "week").to_numpy()
    last_h = findings.last_h.to_numpy(float) - WEEK_H * (weekly | told_late)
    end_h = hours_of(pd.Series([end])).iloc[0]
    return not ((last_h < end_h) | ~weekly & (last_h == end_h)).all()


def growth(now, then):
    """{unit: how many times its impact per day is that of the night before}, where both are known; of several
    studies the largest.

    now, then : (findings, their impacts). The days are those that the findings span, not those of the
    incident, whose first days a source may forget.
    """

    def per_day(findings, impacts):
        length = (findings.last_h.max() - findings.first_h.min()) / DAY_H
        return (
            {(i["study"], i["unit"]): i["value"] / max(length, 1.0) for i in impacts}
            if length == length
            else {}
        )

    after, before, most = per_day(*now), per_day(*then), {}
    for key in after:
        if before.get(key):
            most[key[1]] = max(most.get(key[1], 0.0), after[key] / before[key])
    return most
