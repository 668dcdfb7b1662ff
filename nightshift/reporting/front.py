"""The front page of a night: one line of state, a row per incident that opens in place, a row per study.

State       what is known of the night, and of which data    state_line, silence_line
Incidents   rows in groups, and what they are filtered by    incident_groups, filters_of
Studies     model, data, findings and steps of each          study_row
"""

import shlex
from datetime import date, timedelta
from typing import NamedTuple

from markupsafe import Markup

from helpers import ROOT
from nightshift import catalog
from nightshift.assurance import UNWATCHED, assure, simulated_in_words
from nightshift.evidence import ids_of
from nightshift.incidents import PART_OF
from nightshift.reporting.archive import history, kept
from nightshift.reporting.digests import count_word, pressing, rest_in_words
from nightshift.reporting.entity_pages import entity_links
from nightshift.reporting.incident_view import SEVERITIES, view_of
from nightshift.reporting.rows import places_of
from nightshift.reporting.strips import strip_of
from nightshift.wording import last_moment, moment, one_line, plural, skill_in_words

MAX_FINDINGS = 8  # rows of findings per study; the analysis page has all
COMMAND = ".venv/bin/nightshift"
REASON = "YOUR REASON"
SILENCE = timedelta(days=14)  # as long as the page proposes
# The digest has all incidents. A pressing row takes 6 kB with all that may be tried, a folded one 2 kB: where
# thousands go on, a front page has 0.35 MB.
MAX_ROWS = 40  # incidents that press
MAX_FOLDED = 12  # of each group that is folded
STATES = {"escalated": 0, "new, open": 1, "new, ended": 2, "ongoing": 3}  # others follow, as they come


# ------------------------------------------------------------------------------------------------------ State


def state_line(studies, assurance):
    """Say how many studies reported, up to when, and whether the data are simulated: list of str."""
    n = len(studies) - len(assurance.lacking)
    newest = [str(s["status"]["newest"]) for s in studies if s["status"].get("newest")]
    parts = [f"{n} of {plural(len(studies), 'study')} reported"]
    parts += [f"newest data {moment(max(newest).replace(' ', 'T'))}"] if newest else []
    sample = simulated_in_words(s["status"].get("source") for s in studies)
    return [*parts, sample] if sample else parts


def silence_line(studies, day):
    """Say that no study has data of the night `day`, where the newest rows of all studies are known and
    earlier; "" otherwise.
    """
    newest = [str((s["status"] or {}).get("newest") or "")[:10] for s in studies]
    if not all(newest) or not newest or max(newest) >= day:
        return ""
    return f"No study has data of {day}; the newest are from {max(newest)}, so what follows was known before."


# -------------------------------------------------------------------------------------------------- Incidents


class Group(NamedTuple):
    """Incidents that belong together. rows : views of them. heading : "" where they need none. rest : how
    many more there are, in words, "" for none.
    """

    name: str
    heading: str
    rows: list
    rest: str


def in_group(incident):
    """Tell which group of the front page an incident is in: pressing, resolved, known or closed."""
    if pressing(incident):
        return "pressing"
    if incident["state"] == "closed":
        return "closed"
    return "known" if incident["silence"] else "resolved"


def incident_groups(root, incidents, day, *, hrefs, pictures, rows):
    """Put the incidents of a night below `root` into groups, list of Group: those that press, then what is
    folded.

    incidents : as digest.json has them. hrefs, pictures, rows : {id: where it leads; address of its picture;
    links to the rows of its findings}.
    """
    headings = {
        "pressing": "",
        "resolved": "resolved since the night before",
        "known": "silenced or acknowledged",
        "closed": "closed",
    }
    groups = []
    for name, heading in headings.items():
        members = [one for one in incidents if in_group(one) == name]
        most = MAX_ROWS if name == "pressing" else MAX_FOLDED
        views = [
            view_of(one, href=hrefs.get(one["id"], ""), figure=pictures.get(one["id"], ""))
            | {"strip": strip_of(one, day), "studies": [str(study) for study in one["studies"]]}
            | {"entities": entity_links(one), "rows": rows.get(one["id"], [])}
            for one in members[:most]
        ]
        words = f"{len(members)} {heading}" if heading and members else ""
        words = closed_in_words(members) if name == "closed" else words
        for row in views:
            row["until"] = str(date.fromisoformat(day) + SILENCE)
            row["silence_command"] = silence_command(root, row["id"], row["until"])
            row["commands"] = {
                outcome: [
                    feedback_command(root, row["id"], one["remediation"], outcome) for one in row["proposals"]
                ]
                for outcome in ("worked", "failed")
            }
        rest = members[most:]
        in_words = rest_in_words(rest) if name == "pressing" else f"{len(rest)} more" if rest else ""
        groups.append(Group(name, words, views, in_words))
    return groups


def closed_in_words(incidents):
    """Say how many incidents are closed and why, and which of them is the gravest, if that is of high
    severity; "" for none.
    """
    if not incidents:
        return ""
    n_unwatched = sum(count_word(one) == "unwatched" for one in incidents)
    n_merged = sum(one["change"].startswith(PART_OF) for one in incidents)
    why = [UNWATCHED] if n_unwatched else []
    why += [f"{PART_OF}another one"] if n_merged else []
    why += ["reported as ended on an earlier night"] if n_unwatched + n_merged < len(incidents) else []
    words = f"{len(incidents)} closed: {', or '.join(why)}"
    grave = [one for one in incidents if one["severity"] == "high"]
    first = max(grave, key=lambda one: one["priority"] or 0, default=None)
    return f"{words}; the gravest: {one_line(first['title'], 80)}" if first else words


class Filter(NamedTuple):
    """One list to choose from above the incidents. values : {mark that rows carry: words}."""

    name: str
    label: str
    values: dict


def filters_of(groups):
    """Give the lists by which rows are filtered: list of Filter; each row gets its `marks`.

    Marks are short made-up names, since they stand in a style sheet, where names of sites may not.
    """
    rows = [row for group in groups for row in group.rows]
    names = sorted({site for row in rows for site in row["sites"] or [""]})
    sites = {site: f"s{number}" for number, site in enumerate(names)}
    for row in rows:  # of a new one also whether it has ended; of others the state says so
        row["kept_by"] = row["status"] if row["state"] == "new" else row["state"]
    states = sorted({row["kept_by"] for row in rows}, key=lambda state: (STATES.get(state, 9), state))
    studies = sorted({study for row in rows for study in row["studies"]})
    marks = {study: f"t{number}" for number, study in enumerate(studies)}
    state_marks = {state: f"z{number}" for number, state in enumerate(states)}
    for row in rows:
        row["marks"] = {
            "severity": row["severity"],
            "study": " ".join(marks[study] for study in row["studies"]),
            "site": " ".join(sites[site] for site in row["sites"] or [""]),
            "state": state_marks[row["kept_by"]],
        }
    there = {row["severity"] for row in rows}
    severities = {one: one for one in (*SEVERITIES, "unknown") if one in there}
    return [
        Filter("severity", "Severity", severities),
        Filter("study", "Study", {mark: catalog.study_of(study).title for study, mark in marks.items()}),
        Filter("site", "Site", {mark: site or "no site" for site, mark in sites.items()}),
        Filter("state", "State", {mark: state for state, mark in state_marks.items()}),
    ]


def filter_rules(filters):
    """Write the style sheet that makes the lists of `filters` work without any script: Markup."""
    return Markup(
        "\n".join(
            f'main:has(#by-{one.name} option[value="{mark}"]:checked)'
            f' .rows > li:not([data-{one.name}~="{mark}"]) {{ display: none; }}'
            for one in filters
            for mark in one.values
        )
    )


def feedback_command(root, incident, remediation, outcome):
    """Give the command that notes what came of a proposal for an incident of a night below `root`, as a plain
    shell runs it in the folder of the repository. outcome : "worked" or "failed".
    """
    return shlex.join([COMMAND, "feedback", incident, remediation, outcome, *products_option(root)])


def silence_command(root, incident, until):
    """Give the command that silences an incident of a night below `root` up to the day `until`, with REASON
    in the place of the reason, which only the reader knows.
    """
    wish = ["--until", until, "--why", REASON]
    return shlex.join([COMMAND, "silence", incident, *wish, *products_option(root)])


def products_option(root):
    """The option of a command that names the folder of products, where it is not that of the repository."""
    if root == ROOT:
        return []
    return ["--products", str(root.relative_to(ROOT) if root.is_relative_to(ROOT) else root)]


# ---------------------------------------------------------------------------------------------------- Studies


def model_line(model, models=()):
    """The model that scores, as metrics.json names it (None: none does), with its skill and the baseline of
    that, and which of `models` is better.
    """
    if not model:
        return "none"
    name, baseline = model["name"].replace("_", " "), model["baseline_name"].replace("_", " ")
    line = f"{name}, a trivial baseline"
    if name != baseline:
        line = (
            f"{name}, skill {skill_in_words(model['skill'], model['skill_low'], model['skill_high'])} "
            f"against {baseline}"
        )
        if model["skill_low"] <= 0 <= model["skill"]:
            line += ", so it is not shown to be better"
    same = [
        one
        for one in models
        if all(one.get(key) == model.get(key) for key in ("metric", "baseline_name", "split"))
    ]
    least = 0 if name == baseline else model["skill_high"]
    if better := [one for one in same if not one["in_use"] and one["skill_low"] > least]:
        best = max(better, key=lambda one: one["skill"])
        skill = skill_in_words(best["skill"], best["skill_low"], best["skill_high"])
        line += f"; {best['name'].replace('_', ' ')} is better, skill {skill}, and does not score"
    return line


def data_line(s):
    """State, rows and newest row of a study's data."""
    if not (status := s["status"]):
        return "not known"
    newest = (
        f"{str(status['newest'])[:16]} UTC" if status["newest"] else "not known" if status["rows"] else "none"
    )
    ends = "" if s["state"] in ("ok", "partial", "empty") else f", window to {status['window'][1]}"
    return f"{s['state']}; {plural(status['rows'], 'row')}, newest {newest}{ends}"


def reach_of(s, day):
    """Until when the data of a study reach: "to 23:57" of the night `day`, or "to 2026-01-25" for another one
    and for data known by the day; "" where it is not known.
    """
    newest = str((s["status"] or {}).get("newest") or "")
    if not newest.startswith(day) or newest[11:16] in ("", "00:00"):  # another day, or known by the day
        return f"to {newest[:10]}" if newest else ""
    return f"to {newest[11:16]}"


def figure_of(root, s):
    """The first finding of a study with a picture, and its path; (None, None) where there is none."""
    return next(
        (
            (f, root / f.figure)
            for f in s["findings"].itertuples()
            if f.figure and (root / f.figure).is_file()
        ),
        (None, None),
    )


def steps_row(s):
    """The steps of a study, as links where they have a page: list of dicts name, href, outcome."""
    rows = []
    for step in s["steps"]:
        took = f"{step['outcome']} in {step['seconds']:.0f} s" if step.get("seconds") else step["outcome"]
        has_page = step["outcome"] != "not run" or step.get("of")
        rows.append(
            {
                "name": step["name"].replace("_", " "),
                "href": f"{s['study']}/{step['name']}.html" if has_page else "",
                "outcome": f"of {step['of']}" if step.get("of") else took,
            }
        )
    return rows


def found_by(s):
    """How many findings each page of a study has, where several have any: list of dicts n, words, href."""
    pages = s["found_by"] if len(s["found_by"]) > 1 else {}
    return [
        {"n": n, "words": step.replace("_", " "), "href": f"{s['study']}/{step}.html"}
        for step, n in pages.items()
    ]


def study_row(root, s, runs, pictures):
    """The values that templates/front.html.j2 shows for one study.

    runs : run.json of the nights up to this one. pictures : {path: address}.
    """
    rows, places = list(s["findings"].itertuples()), places_of([s])
    findings = [
        {
            "kind": catalog.label_of(s["study"], f.kind),
            "entity": f.entity,
            "evidence": f.evidence,
            "start": moment(f.start),
            "end": last_moment(f.end, f.start),
            "rows": places.get(name, ("", "")),
        }
        for name, f in zip(ids_of(s["findings"]) if rows else [], rows[:MAX_FINDINGS], strict=False)
    ]
    of, path = figure_of(root, s)
    verdicts = {
        run["day"]: run["studies"].get(s["study"], {}).get("verdict", "failed") for run in kept(runs)[:-1]
    }
    good = [night for night, verdict in verdicts.items() if not assure({"": verdict}).lacking]
    names = (
        "study",
        "title",
        "question",
        "verdict",
        "reason",
        "warnings",
        "headline",
        "error",
        "failed_step",
    )
    return {name: s[name] for name in names} | {
        "findings": findings,
        "steps": steps_row(s),
        "analysis": next((one["href"] for one in steps_row(s) if one["name"] == "4 analyse"), ""),
        "more": max(len(s["findings"]) - MAX_FINDINGS, 0),
        "found_by": found_by(s),
        "last_good": good[-1] if good else "",
        "history": history(runs, s["study"]),
        "data": data_line(s),
        "reach": reach_of(s, runs[-1]["day"]),
        "model": model_line(s["in_use"], s["models"]),
        "figure": pictures.get(path, ""),
        "figure_alt": f"{catalog.label_of(s['study'], of.kind)}, {of.entity}: {of.evidence}" if of else "",
    }
