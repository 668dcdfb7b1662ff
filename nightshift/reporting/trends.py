"""The page of trends: what became of incidents, alarms, models and cost over the nights, as run.json has it.

Incidents   open by severity, how long they lasted    open_section, resolved_section
Studies     alarms, skill of the model in use         alarm_section, skill_section
Cost        seconds of notebooks by study and step    cost_sections
"""

import math

from nightshift import catalog
from nightshift.reporting.archive import assurance_of, sample_of
from nightshift.reporting.charts import SHARES, SMALL, Series, lines, numbers_of, stacked_bars
from nightshift.reporting.entity_pages import newest_source, write_current
from nightshift.reporting.incident_view import SEVERITIES
from nightshift.reporting.night_figures import night_figures
from nightshift.reporting.pages import CHARTS, can_zoom, script
from nightshift.wording import plural, skill_in_words

MAX_NIGHTS = 120  # on the page, the latest
N_MARKS = 8  # colours of the style sheet
MANY = 1.5  # times as many alarms as stated, from which on a study is said to flag too much


# ------------------------------------------------------------------------------------------- what is known


def number(value):
    """A finite number of run.json; None for anything else."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if fits else None


def figures_of(run, incidents):
    """Return what is known of the incidents of a night: `open` {severity: n} or None, `n` and `mean_h` of
    those that ended.

    run : its run.json. incidents : those of its digest.json, None where they cannot be read; what older
    versions did not write to run.json is taken from them.
    """
    digest = run.get("digest") or {}
    if digest.get("outcome") != "ok":
        return {"open": None, "n": None, "mean_h": None}
    if not isinstance(digest.get("open"), dict) or not isinstance(digest.get("resolved"), dict):
        digest = night_figures(incidents) if incidents is not None else {"open": None, "resolved": {}}
    counts, ended = digest["open"], digest["resolved"]
    is_counted = counts is not None and all(number(counts.get(one)) is not None for one in SEVERITIES)
    return {
        "open": {one: number(counts.get(one)) or 0 for one in (*SEVERITIES, "unknown")}
        if is_counted
        else None,
        "n": number(ended.get("n")),
        "mean_h": number(ended.get("mean_h")),
    }


def by_study(runs, key):
    """Give the number `key` of each study over the nights: {study: list, None where it is not known}."""
    studies = sorted({name for run in runs for name in run["studies"]})
    return {name: [number((run["studies"].get(name) or {}).get(key)) for run in runs] for name in studies}


def last_of(values):
    """The place and the value of the last number of a list; (None, None) where there is none."""
    places = [i for i, value in enumerate(values) if value is not None]
    return (places[-1], values[places[-1]]) if places else (None, None)


def seconds_of(run):
    """List how long the notebooks of a night ran: list of (study, step, seconds); for the digest, both names
    are "digest".
    """
    rows = [
        (study, name, number(step.get("seconds")))
        for study, record in run["studies"].items()
        for name, step in (record.get("steps") or {}).items()
        if step.get("outcome") in ("ok", "failed")
    ]
    rows.append(("digest", "digest", number((run.get("digest") or {}).get("seconds"))))
    return [row for row in rows if row[2] is not None]


def title_of(study):
    """What people call a study; "Digest" for the digest, which is none."""
    return "Digest" if study == "digest" else catalog.study_of(study).title


# ------------------------------------------------------------------------------------------------ sections


def section(name, claim, figures, **more):
    """The values that templates/trends.html.j2 shows of one section.

    figures : list of `figure_of`. more : key, list of (mark, words); note; table, {"head", "rows"}.
    """
    return {"name": name, "claim": claim, "figures": figures, "key": [], "note": ""} | more


def figure_of(svg, numbers, caption=""):
    """A figure with the numbers in it, as `numbers_of` gives them, and what stands below it."""
    return {"svg": svg, "numbers": numbers, "caption": caption}


def table_of(days, columns):
    """A table with a row per night, the latest first; columns : {heading: texts, a night each}."""
    rows = [[day, *(texts[i] for texts in columns.values())] for i, day in enumerate(days)]
    return {"head": ["night", *columns], "rows": rows[::-1]}


def as_texts(values, style="{:,.0f}"):
    """Numbers as texts; "not known" for None."""
    return ["not known" if value is None else style.format(value) for value in values]


def open_section(days, figures, assured):
    """Show how many incidents were open in each night, by severity.

    figures : what `figures_of` gives of each night. assured : the Assurance of each.
    """
    counts = {one: [row["open"][one] if row["open"] else None for row in figures] for one in SEVERITIES}
    other = [row["open"]["unknown"] if row["open"] else None for row in figures]
    if any(other):
        counts["unknown"] = other
    series = [Series(name, values, name) for name, values in counts.items()]
    totals = [sum(row["open"].values()) if row["open"] else None for row in figures]
    claim = open_claim(days, totals, assured[-1])
    # a night that an older version did not count must not look like one without incidents
    rows = zip(days, totals, assured, strict=True)
    shaded = [day for day, total, assurance in rows if total is None or not assurance.complete]
    unit = "open incidents"
    svg = stacked_bars(days, series, unit=unit, label=claim, shaded=shaded)
    return section(
        "Open incidents",
        claim,
        [figure_of(svg, numbers_of(days, series, unit))],
        key=[(name, f"{name} severity") for name in counts],
        note="Shaded: not all is known of the night, so there may have been more." if shaded else "",
        table=table_of(days, {name: as_texts(values) for name, values in counts.items()}),
    )


def open_claim(days, totals, assurance):
    """Say how many incidents were open in the last night, of which `assurance` is known, and when there were
    most.

    totals : a number per night, None where it is not known.
    """
    claim, most = assurance.open_line(totals[-1], days[-1]), max(filter(None, totals), default=0)
    if most and most != totals[-1]:
        claim += f"; most were open on {days[totals.index(most)]}: {most}"
    return claim


def resolved_section(days, figures):
    """Show how long the incidents that ended had lasted, by the night that reported their end."""
    means, numbers = [row["mean_h"] for row in figures], [row["n"] for row in figures]
    both = [(n, mean) for n, mean in zip(numbers, means, strict=True) if n and mean is not None]
    n_ended = sum(n for n, _ in both)
    claim = "How long incidents last is not known yet"
    if both:
        mean = sum(n * hours for n, hours in both) / n_ended
        claim = f"{plural(n_ended, 'incident')} ended, after {mean:,.0f} h on average"
    series, unit = [Series("mean", means, "c0")], "h from start to end, mean"
    svg = lines(days, series, unit=unit, label=claim)
    texts = ["none" if n == 0 else text for n, text in zip(numbers, as_texts(means, "{:,.1f}"), strict=True)]
    return section(
        "Time to resolve",
        claim,
        [figure_of(svg, numbers_of(days, series, unit))],
        note="Counted in the night that first reported the end, without what ended before monitoring began.",
        table=table_of(days, {"ended": as_texts(numbers), "mean, h": texts}),
    )


def alarm_section(days, runs):
    """Show the share of ordinary held-out items of its training that each study flagged, against the share
    that it states. The share of the items of one night stands only in the report of the study.
    """
    stated, observed = by_study(runs, "alarm_rate_stated"), by_study(runs, "alarm_rate_observed")
    figures, columns, ratios = [], {}, []
    for study, shares in observed.items():
        at, last = last_of(shares)
        if at is None or not stated[study][at]:
            continue
        ratios.append((last / stated[study][at], study))
        shown = f"{last:.2%} flagged in the test of the training, {stated[study][at]:.2%} stated"
        caption = f"{title_of(study)}: {shown}"
        series = [
            Series("stated", percent(stated[study]), "stated", is_level=True),
            Series("test of the training", percent(shares), "c0"),
        ]
        unit = "% of ordinary held-out items"
        svg = lines(days, series, unit=unit, label=caption, size=SMALL)
        figures.append(figure_of(svg, numbers_of(days, series, unit), caption))
        columns[f"{title_of(study)}, test of the training"] = as_texts(shares, "{:.2%}")
        columns[f"{title_of(study)}, stated"] = as_texts(stated[study], "{:.2%}")
    return section(
        "Alarms in the test of the training",
        alarm_claim(ratios),
        figures,
        key=[("c0", "flagged in the test of the training"), ("stated", "stated")] if figures else [],
        note="Measured on held-out items when the model in use was trained, so it changes with a training; "
        "older nights did not record it. The observed share of the items of one night stands in the report "
        "of its study, under How sure.",
        table=table_of(days, columns),
    )


def percent(shares):
    """Shares as percentages; None stays."""
    return [None if one is None else 100 * one for one in shares]


def alarm_claim(ratios):
    """Say how many studies flag more than MANY times what they state, and which the most: run.json has no
    interval that would tell less from chance. ratios : list of (observed over stated, study).
    """
    if not ratios:
        return "No night has recorded which share of ordinary items its models flag"
    n_above, (ratio, study) = sum(ratio > MANY for ratio, _ in ratios), max(ratios)
    of = f"{n_above} of {plural(len(ratios), 'study')}"
    claim = f"{of} flagged more than {MANY:g} times the stated share of their ordinary test items"
    return f"{claim}; the highest is {title_of(study)}, {ratio:.1f} times" if n_above else claim


def skill_section(days, runs):
    """Show the skill of the model in use of each study."""
    figures, columns, latest = [], {}, []
    for study, skills in by_study(runs, "skill").items():
        at, last = last_of(skills)
        if at is None:
            continue
        latest.append((last, study))
        model = (runs[at]["studies"][study] or {}).get("model")
        words = f", model {str(model).replace('_', ' ')}" if isinstance(model, str) and model else ""
        caption = f"{title_of(study)}: {skill_in_words(last)}{words}"
        series = [Series(study, skills, "c0")]
        svg = lines(days, series, unit="skill", label=caption, size=SHARES)
        figures.append(figure_of(svg, numbers_of(days, series, "skill"), caption))
        columns[title_of(study)] = as_texts(skills, "{:.2f}")
    claim = "No model is in use"
    if latest:
        (least, worst), (most, best) = min(latest), max(latest)
        claim = f"from {least:.2f} ({title_of(worst)}) to {most:.2f} ({title_of(best)})"
        claim = f"Skill over the baseline is {claim}"
    if len(latest) == 1:
        claim = f"Skill over the baseline is {latest[0][0]:.2f} ({title_of(latest[0][1])})"
    note = "1 is without error, 0 as good as the baseline; below 0 is drawn as 0."
    return section("Skill of the models in use", claim, figures, note=note, table=table_of(days, columns))


def cost_sections(days, runs):
    """Show how long the notebooks of each night ran, by study and by step: two sections."""
    rows = [seconds_of(run) for run in runs]
    totals = [sum(row[2] for row in night) for night in rows]
    claim = f"The notebooks of the night of {days[-1]} ran for {totals[-1]:,.0f} s together"
    if rows[-1]:
        study, step, longest = max(rows[-1], key=lambda row: row[2])
        longest_of = "the digest" if study == "digest" else f"{step.replace('_', ' ')} of {title_of(study)}"
        claim += f", longest {longest_of}: {longest:,.0f} s"
    note = "Notebooks run side by side where they can, so the night takes less."
    sections = []
    for place, name in enumerate(("study", "step")):
        groups = sorted({row[place] for night in rows for row in night})
        sums = {one: [sum(row[2] for row in night if row[place] == one) for night in rows] for one in groups}
        series = [Series(one, values, f"c{i % N_MARKS}") for i, (one, values) in enumerate(sums.items())]
        words = {one: title_of(one) if name == "study" else one.replace("_", " ") for one in groups}
        unit = "s of notebooks"
        svg = stacked_bars(days, series, unit=unit, label=f"{claim}; by {name}")
        sections.append(
            section(
                f"Cost by {name}",
                claim if place == 0 else f"The same by step; {share_claim(sums)}",
                [figure_of(svg, numbers_of(days, series, unit))],
                key=[(one.mark, words[one.name]) for one in series],
                note=note if place == 0 else "",
                table=table_of(
                    days, {words[one]: as_texts(values, "{:,.1f}") for one, values in sums.items()}
                ),
            )
        )
    return sections


def share_claim(sums):
    """Say which step took the largest share of all nights together; sums : {step: seconds of each night}."""
    total = sum(map(sum, sums.values()))
    if not total:
        return "none has been timed"
    step = max(sums, key=lambda one: sum(sums[one]))
    return f"{step.replace('_', ' ')} took {sum(sums[step]) / total:.0%} of all nights together"


# ---------------------------------------------------------------------------------------------------- page


def write_trends(reports, runs, incidents):
    """Write trends.html below `reports`.

    runs : run.json of the nights, the earliest first, removed ones among them. incidents : {night: incidents}
    of those whose digest.json can be read.
    """
    runs = runs[-MAX_NIGHTS:]
    days = [run["day"] for run in runs]
    figures = [figures_of(run, incidents.get(run["day"])) for run in runs]
    assured = [assurance_of(run) for run in runs]
    sections = []
    if runs:
        sections = [
            open_section(days, figures, assured),
            resolved_section(days, figures),
            alarm_section(days, runs),
            skill_section(days, runs),
            *cost_sections(days, runs),
        ]
    unknown = assured[-1].sentence if runs and not assured[-1].complete else ""
    zooms = can_zoom() and any(figure["numbers"] for one in sections for figure in one["figures"])
    write_current(
        reports / "trends.html",
        "trends.html.j2",
        newest_source(),
        title="Trends",
        up="",
        style=("style", "front", *(CHARTS.styles if zooms else ()), "print"),
        script=script(*CHARTS.scripts) if zooms else None,
        days=days,
        sections=sections,
        sample=sample_of(runs),
        unknown=f"The latest night, {days[-1]}: {unknown}" if unknown else "",
    )
