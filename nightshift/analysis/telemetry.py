"""Findings of the telemetry study: the metric that shows an incident most clearly, a sentence of evidence,
pictures.

    Ranges      what is healthy for an incident              Ranges, reference_of, deviations
    Words       metrics, numbers, opinions, evidence         name_of, amounts, opinion, evidence_of
    Findings    incidents and silent nodes as findings       finding_of, silence_of, findings_of, answer_of
    Rows        windows, or runs, that made a finding        rows_of
    Figures     a run, an incident, the map of nodes         plot_run, plot_incident, node_map, plot_map
"""

import re
from dataclasses import dataclass
from functools import cached_property
from textwrap import shorten

import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter

from helpers import FINDING_COLUMNS
from nightshift.catalog import label_of
from nightshift.detectors.telemetry_sites import site_of
from nightshift.series import NUMBERS
from nightshift.wording import from_to, last_moment, lasting, moment, plural

# the default of the digest: what ended so long before the newest data does not go on
STILL = pd.Timedelta(hours=6)

# ----------------------------------------------------------------------------------------------------- Ranges


@dataclass(frozen=True)
class Ranges:
    """Windows that say what is healthy.

    judged : DataFrame node_id, job_id, start, end and means of metrics. flagged : bool Series, of the same
    rows. past : healthy windows of the nodes with an incident, before the judged days. columns : {metric: its
    column}.
    """

    judged: pd.DataFrame
    flagged: pd.Series
    past: pd.DataFrame
    columns: dict

    @cached_property
    def unflagged(self):
        """Return the judged windows that are not flagged: node_id, job_id and the means."""
        return self.judged.loc[~self.flagged, ["node_id", "job_id", *self.columns.values()]]

    @cached_property
    def spread_of_all(self):
        """Return the spread of each metric over all nodes, a robust standard deviation."""
        values = self.unflagged[list(self.columns.values())]
        return (values.quantile(0.95) - values.quantile(0.05)) / 3.29


def reference_of(incident, ranges):
    """Choose the windows that show what is healthy for one incident: (DataFrame, whose they are, in words).

    These are the unflagged windows of the other nodes of the same job, which compute the same at the same
    time. Where there are fewer than three such nodes, or ten such windows, it is the node's own healthy past;
    where that has fewer than ten windows, all unflagged windows.
    """
    same_job = ranges.unflagged.job_id == incident.job_id
    others = ranges.unflagged[same_job & (ranges.unflagged.node_id != incident.node_id)]
    own = ranges.past[ranges.past.node_id == incident.node_id]
    if incident.job_id and others.node_id.nunique() >= 3 and len(others) >= 10:
        return others, f"the job's {others.node_id.nunique()} other nodes"
    if len(own) >= 10:
        return own, "this node when healthy"
    return ranges.unflagged, "all nodes"


def deviations(incident, ranges):
    """Measure how far each metric was from its healthy range in one incident: (DataFrame [metric] observed,
    expected, low, high, z, the farthest first; whose range it is).

    The healthy range holds nine of ten values of `reference_of`; z counts robust standard deviations. A
    spread below a tenth of the metric's spread over all nodes counts as that tenth: else three nodes in step
    would make a tiny difference look enormous.
    """
    healthy, whose = healthy_range(incident, ranges)
    hit = is_hit(incident, ranges)
    observed = ranges.judged.loc[hit, healthy.index].mean()
    z = (observed - healthy.expected) / healthy.pop("spread")
    table = pd.DataFrame({"observed": observed}).join(healthy).assign(z=z)
    table = table.set_axis(list(ranges.columns), axis=0).dropna(subset="z")
    return table.sort_values("z", key=np.abs, ascending=False, kind="stable"), whose


def is_hit(incident, ranges):
    """Tell which of the judged windows show an incident, bool Series: its flagged ones, or all where a
    stretch is strange by its length alone and no window is flagged.
    """
    judged = ranges.judged
    of_run = (judged.node_id == incident.node_id) & (judged.job_id == incident.job_id)
    flagged = of_run & ranges.flagged & judged.start.between(incident.start, incident.end)
    if flagged.any():
        return flagged
    return of_run & (judged.start >= incident.start) & (judged.end <= incident.end)


def healthy_range(incident, ranges):
    """Compute what is healthy for one incident: (DataFrame [column] expected, low, high, spread; whose range
    it is), as `deviations` says.
    """
    reference, whose = reference_of(incident, ranges)
    low, usual, high = (reference[list(ranges.columns.values())].quantile(q) for q in (0.05, 0.5, 0.95))
    least = 1e-6 * usual.abs() + 1e-12  # of what never varies
    spread = np.maximum((high - low) / 3.29, 0.1 * ranges.spread_of_all.fillna(0))
    columns = {"expected": usual, "low": low, "high": high, "spread": np.maximum(spread, least)}
    return pd.DataFrame(columns), whose


# ------------------------------------------------------------------------------------------------------ Words


@dataclass(frozen=True)
class Setting:
    """What sentences on an incident refer to.

    units : {metric: its unit}. spans : runs, as `spans_of` gives them. least_confidence : a diagnosis with a
    smaller probability is called unknown. site_pattern : as for `site_of`.
    """

    units: dict
    spans: pd.DataFrame
    least_confidence: float
    site_pattern: str


def name_of(metric):
    """Write a metric as a person reads it: MemFree (meminfo)."""
    return re.sub(r"^(.*)::([^:]*)$", r"\1 (\2)", metric)


def amounts(*numbers):
    """Write numbers as a person reads them, 0.529, 31.53, 12.30G: with up to six digits more where those that
    differ would look the same.
    """
    for more in range(7):
        large, small = EngFormatter(places=2 + more, sep=""), f".{3 + more}g"
        texts = [amount(x, large=large, places=2 + more, small=small) for x in numbers]
        if len(set(texts)) == len(set(numbers)):
            break
    return texts


def amount(x, *, large, places, small):
    """Write one number: from 1,000 on by the formatter `large`, else with `places` decimals, below 1 in the
    format `small`.
    """
    if abs(x) >= 1000:
        return large(x)
    return f"{x:.{places}f}" if abs(x) >= 1 or x == 0 else format(x, small)


def kind_in_words(kind):
    """What people call a kind of trouble: "memory leak" for memleak; "healthy" for none."""
    return "healthy" if kind == "none" else label_of("telemetry", kind)


def opinion(incident, least_confidence):
    """Say what the classifier makes of an incident."""
    if not incident.probable:
        return "unknown trouble: there were no labelled troubles to learn from"
    if incident.diagnosis != "unknown":
        return f"{kind_in_words(incident.diagnosis)} with {incident.confidence:.0%} confidence"
    if incident.probable == "none":
        return (
            f"unknown trouble: the classifier says healthy with {incident.confidence:.0%}, the healthy-only "
            "detector does not agree"
        )
    return (
        f"unknown trouble: the classifier says {kind_in_words(incident.probable)} with "
        f"{incident.confidence:.0%}, below {least_confidence:.0%}"
    )


def elapsed(seconds):
    """Write a time since the start of a run: 45 s, 12 min, 11 h."""
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 36_000 else f"{seconds / 3600:.0f} h"


def evidence_of(incident, metric, *, whose, setting):
    """Say in one sentence where the telling metric lies and where healthy values do, since when in the run,
    and what the classifier makes of it.

    metric : the row of `deviations`. whose : whose range that is, in words.
    """
    where = "inside the healthy range, yet farthest from usual"
    if metric.observed > metric.high:
        where = "above the healthy range"
    elif metric.observed < metric.low:
        where = "below the healthy range"
    unit = setting.units.get(metric.name, "")
    unit = {"1/s": " per s", "": ""}.get(unit, f" {unit}")
    since = f"since {incident.start:%Y-%m-%d %H:%M} UTC"
    if incident.job_id:
        spans = setting.spans
        of_run = (spans.node_id == incident.node_id) & (spans.job_id == incident.job_id)
        late = elapsed((incident.start - spans.start[of_run].min()).total_seconds())
        since = f"from {late} into job {incident.job_id} ({incident.start:%Y-%m-%d %H:%M} UTC)"
    observed, low, high = amounts(metric.observed, metric.low, metric.high)
    healthy = low if low == high else f"{low} to {high}"
    return (
        f"{name_of(metric.name)} {where}: {observed}{unit}, healthy {healthy} ({whose}); {since}; "
        f"{opinion(incident, setting.least_confidence)}"
    )


def three_farthest(incident, ranges):
    """Name the three metrics of an incident that are farthest from healthy, in one line."""
    table, _ = deviations(incident, ranges)
    return "; ".join(f"{name_of(metric)} {z:+,.0f}" for metric, z in table.z.head(3).items())


def farthest_table(incidents, ranges):
    """Name the three farthest metrics of each incident: DataFrame kind, node, farthest from healthy, standard
    deviations.
    """
    farthest = [three_farthest(incident, ranges) for incident in incidents.itertuples()]
    columns = {"kind": incidents.diagnosis.map(kind_in_words), "node": incidents.node_id}
    return pd.DataFrame(columns | {"farthest from healthy, standard deviations": farthest})


# --------------------------------------------------------------------------------------------------- Findings


def finding_of(incident, ranges, *, setting):
    """Turn one incident into a finding, a dictionary, shown by the metric that is farthest from its healthy
    range.
    """
    table, whose = deviations(incident, ranges)
    row = {
        "kind": incident.diagnosis,
        "entity": incident.node_id,
        "site": site_of(incident.node_id, setting.site_pattern),
        "start": incident.start,
        "end": incident.end,
        "score": incident.score,
        "p_value": incident.p_value,
        "job_id": incident.job_id,
        "impact": 1,
    }
    if not len(table):
        says = opinion(incident, setting.least_confidence)
        return row | {"evidence": f"no metric has a healthy range to compare with; {says}"}
    metric = table.iloc[0]
    return row | {
        "observed": metric.observed,
        "expected": metric.expected,
        "unit": setting.units.get(metric.name, ""),
        "evidence": evidence_of(incident, metric, whose=whose, setting=setting),
    }


def table_to_read(findings):
    """List findings as a table to read: DataFrame of text, kind, entity, seen from, to, evidence."""
    return pd.DataFrame(
        {
            "kind": findings.kind.map(kind_in_words),
            "entity": findings.entity,
            "seen from": findings.start.map(moment),
            "to": list(map(last_moment, findings.end, findings.start)),
            "evidence": findings.evidence,
        }
    )


def silence_of(silent, spans, *, source_end):
    """Turn one silent node, or site, into a finding, a dictionary; its p-value is the share of the pauses of
    all nodes that lasted as long or longer.

    silent : a row of `silent_entities`. spans : runs, as `spans_of` gives them. source_end : the newest
    window.
    """
    days, usual = silent.silence / pd.Timedelta(days=1), silent.usual
    p = (1 + int((spans.pause >= days).sum())) / (1 + int(spans.pause.notna().sum()))
    who = f"all {silent.nodes} nodes of the site" if silent.nodes > 1 else "the node"
    rhythm, seen = "it had never paused between runs", f"{silent.last:%Y-%m-%d %H:%M} UTC"
    if pd.notna(usual):
        rhythm = f"nineteen of twenty of its pauses are shorter than {usual:.1f} days"
    return {
        "kind": "silent",
        "entity": silent.entity,
        "site": silent.site,
        "start": silent.last,
        "end": source_end,
        "score": days,
        "p_value": p,
        "observed": days,
        "expected": usual,
        "unit": "days",
        "job_id": "",
        "impact": silent.nodes,
        "evidence": f"no sample of {who} for {days:.1f} days; {rhythm}; last seen {seen}",
    }


def findings_of(reported, silent, *, ranges, setting, source_end):
    """Turn incidents and silent nodes into findings, the smallest p-value first: DataFrame FINDING_COLUMNS,
    job_id, and node_id, which is the entity, as incidents have it.

    reported : incidents that are kept. silent : rows of `silent_entities`. source_end : the newest window.
    """
    rows = [finding_of(incident, ranges, setting=setting) for incident in reported.itertuples()]
    rows += [silence_of(node, setting.spans, source_end=source_end) for node in silent.itertuples()]
    findings = pd.DataFrame(rows, columns=[*FINDING_COLUMNS, "job_id"])
    findings = findings.assign(node_id=findings.entity)
    return findings.sort_values("p_value", kind="stable", ignore_index=True)


def answer_of(reported, by_chance, *, silent, judged, newest, reason):
    """Say in a sentence what the night brought: which nodes misbehaved, that none did, or why it cannot say.

    reported, by_chance : incidents that are findings, the strongest first, and others. silent : rows of
    `silent_entities`. judged : windows. newest : end of the newest window of any node. reason : why there is
    too little history, "" where there is enough.
    """
    quiet = f"{plural(int(silent.nodes.sum()), 'node')} fell silent" if len(silent) else ""
    findings = plural(len(reported) + len(silent), "finding")
    if len(reported):
        return "; ".join(filter(None, [f"{findings}: {misbehaviour_words(reported, judged, newest)}", quiet]))
    if quiet and len(judged) and not reason:
        return f"{findings}: {quiet}, and no other node misbehaved"
    if quiet:
        return f"{findings}: {quiet}"
    if not len(judged):
        return "Nothing to judge: these days hold no window that the models have not learned from"
    if reason:
        return f"Too little history: {reason}"
    return "No suspicion is certain enough to be a finding" if len(by_chance) else "No node misbehaved"


def misbehaviour_words(reported, judged, newest):
    """Say how many nodes misbehaved, how and how long, and which still do: "2 of 9 nodes misbehaved (2 memory
    leak), for 4 min to 11 h, most clearly n1 (memory leak, 2026-01-30 12:00 to 12:04 UTC)".

    reported : incidents that are findings, the strongest first. judged : windows. An incident still goes on
    where it ends less than STILL before `newest`, the end of the newest window, judged or not.
    """
    first, n, of = reported.iloc[0], reported.node_id.nunique(), judged.node_id.nunique()
    kinds = ", ".join(
        f"{n_of} {kind_in_words(kind)}" for kind, n_of in reported.diagnosis.value_counts().items()
    )
    goes_on = reported.end > newest - STILL
    n_still = reported.node_id[goes_on].nunique()
    verb = "misbehaved"
    if n_still == n:
        verb = "misbehaves" if n == 1 else "misbehave"
    lengths = (reported.end - reported.start).dt.total_seconds()
    shortest, longest = lasting(lengths.min()), lasting(lengths.max())
    how_long = f"for {shortest}" if shortest == longest else f"for {shortest} to {longest}"
    still = f"; {n_still} still {'does' if n_still == 1 else 'do'}" if 0 < n_still < n else ""
    when = f"since {moment(first.start)}" if goes_on.iloc[0] else from_to(first.start, first.end)
    return (
        f"{n} of {plural(of, 'node')} {verb} ({kinds}), {how_long}, most clearly {first.node_id} "
        f"({kind_in_words(first.diagnosis)}, {when}){still}"
    )


# ------------------------------------------------------------------------------------------------------- Rows


def rows_of(finding, scored, *, ranges, setting):
    """List the windows that show a finding, the strangest first: DataFrame time, node, job, score, p_value,
    strongest_metric and its value beside the expected one. Of a silent node or site, the runs of its nodes,
    the latest first: DataFrame time, until, node, job, pause_before_d.

    finding : a row of `findings_of`. scored : score and p_value of the judged windows of `ranges`.
    """
    if finding.kind == "silent":
        spans = setting.spans
        site = spans.node_id.map(lambda node: site_of(node, setting.site_pattern))
        runs = spans[(spans.node_id == finding.entity) | (site == finding.entity)]
        names = {"start": "time", "end": "until", "node_id": "node", "job_id": "job"}
        runs = runs.rename(columns=names | {"pause": "pause_before_d"})
        return runs.sort_values("until", ascending=False)
    hit = is_hit(finding, ranges)
    windows, of = ranges.judged[hit], scored[hit]
    names = {"time": windows.start, "node": windows.node_id, "job": windows.job_id}
    rows = pd.DataFrame(names | {"score": of.score, "p_value": of.p_value})
    rows = rows.join(strongest_metrics(finding, windows, ranges))
    return rows.sort_values("score", ascending=False, kind="stable")


def strongest_metrics(finding, windows, ranges):
    """Name the metric of each window of a finding that is farthest from what is healthy: DataFrame
    strongest_metric, value, expected.
    """
    healthy, _ = healthy_range(finding, ranges)
    names = dict(zip(healthy.index, ranges.columns, strict=True))
    values = windows[healthy.index].astype(float)
    distance = ((values - healthy.expected) / healthy.spread).abs()
    strongest = distance.dropna(how="all").idxmax(axis=1)
    value = pd.Series({at: values.at[at, column] for at, column in strongest.items()}, dtype=float)
    metric = strongest.map(names).map(name_of)
    columns = {"strongest_metric": metric, "value": value, "expected": strongest.map(healthy.expected)}
    return pd.DataFrame(columns, index=windows.index)


# ---------------------------------------------------------------------------------------------------- Figures


def plot_run(samples, means, ax):
    """Draw the samples of one metric in grey and the means of its windows in blue.

    samples : Series [time], NaN in a gap. means : DataFrame start, end and the mean as its last column.
    """
    marker = "." if len(samples) < 500 else ""
    ax.plot(samples.index, samples, lw=0.8, color="0.6", marker=marker, ms=2)
    ax.plot(means.start + (means.end - means.start) / 2, means.iloc[:, -1], "o", ms=3, color="C0")
    return ax


def windows_around(incident, judged):
    """Choose what is drawn of an incident: the windows of its node, and of the other nodes of its job, from a
    day before to a day after, with `minutes` since the first of them.
    """
    of_job = judged.job_id == incident.job_id
    rows = judged[of_job & ((judged.node_id == incident.node_id) | (incident.job_id != ""))]
    one_day = pd.Timedelta(days=1)
    rows = rows[(rows.end > incident.start - one_day) & (rows.start < incident.end + one_day)]
    return rows.assign(minutes=(rows.end - rows.start.min()) / pd.Timedelta(minutes=1))


def plot_incident(incident, windows, ax, *, metric, column):
    """Draw the telling metric of an incident over its run: red the node, with dots where it was flagged, grey
    the other nodes of its job, the band what is healthy.

    windows : as `windows_around` gives them, with `flagged`. metric : the row of `deviations`. column : that
    of the metric in `windows`.
    """
    ax.axhspan(metric.low, metric.high, color="0.9", zorder=0)
    for node, rows in windows.groupby("node_id"):
        look = {"color": "0.6", "lw": 0.8, "zorder": 2}
        if node == incident.node_id:
            look = {"color": "C3", "lw": 1.5, "zorder": 3, "label": shorten(node, 30)}
        ax.plot(rows.minutes, rows[column], **look)
    hit = windows[(windows.node_id == incident.node_id) & windows.flagged]
    ax.plot(hit.minutes, hit[column], color="C3", marker="o", ms=4, ls="", zorder=4, label="flagged")
    ax.xaxis.set_gid(f"{NUMBERS}minutes")
    if windows[column].abs().max() >= 1000:
        ax.yaxis.set_major_formatter(EngFormatter(sep=""))
    return ax


def label_incident(finding, ax, *, metric, unit):
    """Write above a picture what it shows of which node, and at its axis the `metric` with its unit."""
    what = f"{kind_in_words(finding.kind)}: {shorten(finding.entity, 30)}"
    title = f"{what}, {finding.start:%Y-%m-%d %H:%M} UTC"
    ax.set_title(title, loc="left", fontsize="medium", parse_math=False)
    name = shorten(name_of(metric), 32, placeholder=" ...")
    ax.set_ylabel(name + (f", {unit}" if unit else ""), fontsize="small", parse_math=False)
    return ax


def plot_findings(findings, ax, *, incidents, ranges, units):
    """Draw the telling metric of each finding on an axis of its own, and hide the remaining axes.

    findings : rows of the table of findings; incidents : those that they report, by node_id and start. ranges
    : the Ranges that say what is healthy. ax : array of axes, at least one per finding. units : {metric:
    unit}.
    """
    windows = ranges.judged.assign(flagged=ranges.flagged)
    for one, finding in zip(ax.flat, findings.itertuples(), strict=False):
        of_node = incidents[incidents.node_id == finding.entity]
        incident = of_node[of_node.start == finding.start].iloc[0]
        metric = deviations(incident, ranges)[0].iloc[0]
        around = windows_around(incident, windows)
        plot_incident(incident, around, one, metric=metric, column=ranges.columns[metric.name])
        label_incident(finding, one, metric=metric.name, unit=units.get(metric.name, ""))
    for one in ax.flat[len(findings) :]:
        one.set_visible(False)
    return ax


def node_map(scored, reported, *, judged_from, days, max_nodes):
    """Compute the strength of the strangest window of each node and stretch of time: (DataFrame [node, 0 to
    n - 1] of -log10 of the p-value, NaN where it did not run; the n + 1 moments between the stretches,
    without zone; hours of one).

    days : length of the judged time, which is cut into at most 84 stretches of whole hours. A window belongs
    to the stretch in which it ends. The strangest nodes come first: those with most findings, then with the
    strongest window; at most `max_nodes`.
    """
    hours = np.clip(np.ceil(days * 24 / 84), 1, None)
    n_columns = int(np.ceil(days * 24 / hours))
    edges = judged_from.tz_localize(None) + pd.to_timedelta(hours * np.arange(n_columns + 1), unit="h")
    strength = -np.log10(scored.p_value)
    column = scored.score
    if len(scored):
        column = ((scored.end - judged_from) / pd.Timedelta(hours=hours)).astype(int)
        column = column.clip(upper=n_columns - 1)  # the judged time holds its end
    table = strength.groupby([scored.node_id, column]).max().unstack()
    order = pd.DataFrame({"findings": reported.node_id.value_counts(), "strength": table.max(axis=1)}).fillna(
        0
    )
    order = order.sort_values(["findings", "strength"], ascending=False).index[:max_nodes]
    return table.reindex(index=order, columns=range(n_columns)), edges, hours


def plot_map(table, edges, ax, *, incidents, darkest):
    """Draw the map of `node_map`, with a mark for each incident, and its scale.

    edges : moments between the columns, without zone. incidents : DataFrame node_id, diagnosis, start; those
    of nodes in the map are marked. darkest : the value with the darkest colour.
    """
    marked = incidents[incidents.node_id.isin(table.index)]
    colour = {"cmap": "magma_r", "vmin": 0, "vmax": darkest}
    mesh = ax.pcolormesh(edges, np.arange(len(table) + 1), table.to_numpy(), **colour)
    for number, (kind, of_kind) in enumerate(marked.groupby("diagnosis")):
        ax.plot(
            of_kind.start.dt.tz_localize(None),
            table.index.get_indexer(of_kind.node_id) + 0.5,
            lw=0,
            marker="osD^vP*X"[number % 8],
            ms=7,
            color=f"C{(0, 2, 4, 8, 9, 5)[number % 6]}",
            mec="white",
            label=kind_in_words(kind),
        )
    ax.grid(False, axis="x")
    names = [shorten(node, 30, placeholder="...") for node in table.index]
    ax.set_yticks(np.arange(len(table)) + 0.5, names, fontsize="small", parse_math=False)
    ax.figure.colorbar(mesh, ax=ax, label="-log10 of the p-value", pad=0.01)
    if len(marked):
        ax.legend(loc="upper left", bbox_to_anchor=(1.13, 1))
    ax.invert_yaxis()
    return ax
