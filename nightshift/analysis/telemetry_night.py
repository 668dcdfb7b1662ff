"""What a night of the telemetry study reads, and what its page says beside the findings.

Windows      with their labels, of the judged days       read_spans, healthy_past
Metrics      units, those that tell                      units_of, telling_columns
Words        of the headline                             headline_notes, watched_words
Warnings     of what cannot be found                     lone_node_words, lacking_words
Silence      nodes that have paused, but not too long    waiting_nodes
"""

import json

import pandas as pd

from nightshift.analysis.telemetry_scores import ABOUT
from nightshift.cleaning.telemetry_days import days_of_table, read_windows
from nightshift.detectors.telemetry_incidents import spans_of
from nightshift.wording import plural

ONE_DAY = pd.Timedelta(days=1)


def read_spans(path, window_end):
    """Find when each run began and ended, and the pause before it, as `spans_of` does, of all windows of the
    clean table up to `window_end`. Memory holds the windows of one day.
    """
    keys, of_days = ["job_id", "node_id", "start", "end"], []
    for file in days_of_table(path):
        windows = read_windows(file, columns=keys)
        of_days.append(spans_of(windows[windows.end <= window_end])[keys])
    return spans_of(pd.concat(of_days, ignore_index=True))


def healthy_past(path, nodes, *, judged, columns, judged_from):
    """Read the healthy windows of `nodes`: labelled so, or without a label and for training or before the
    judged days; of `judged`, the judged windows, where there is no node. columns : {metric: its column}.
    """
    past = judged
    if len(nodes):
        of_nodes = [("node_id", "in", list(nodes))]
        past = read_windows(path, columns=[*ABOUT, *columns.values()], filters=of_nodes)
    trusted = (past.part == "train") | (past.end <= judged_from)
    return past[(past.anomaly == "none") | (past.anomaly == "") & trusted]


# ---------------------------------------------------------------------------------------------------- Metrics


def units_of(encoders):
    """Read the unit of each metric, {metric: unit}, "" where it has none. encoders : folder of the study."""
    metrics = json.loads((encoders / "metrics.json").read_text())["metrics"]
    return {metric: kind.get("unit", "") for metric, kind in metrics.items()}


def telling_columns(judged, encoders):
    """Choose the metrics that distinguished labelled troubles, or all where none did: {metric: column of its
    mean in `judged`}. encoders : folder of the study.
    """
    path = encoders / "features.json"
    selected = json.loads(path.read_text())["features"] if path.exists() else {}
    telling = {feature.rpartition("|")[0] for feature in selected}
    means = {column[:-5]: column for column in judged if column.endswith("|mean")}
    return {metric: column for metric, column in means.items() if metric in telling} or means


# ------------------------------------------------------------------------------------------------------ Words


def headline_notes(n_unkept, lacking, *, source_end):
    """Give the sentences that the headline adds where they apply: text, "" where none does.

    n_unkept : incidents that are no findings. lacking : metrics that no node has any more. source_end :
    newest window of a source that has ended, else None.
    """
    notes = []
    if source_end:
        end = f"{source_end:%Y-%m-%d %H:%M} UTC"
        notes.append(f"Silent nodes are not counted, since the source itself ended on {end}.")
    if n_unkept:
        verb = "is" if n_unkept == 1 else "are"
        notes.append(f"{plural(n_unkept, 'further suspicion')} {verb} too weak to be a finding.")
    if lacking:
        notes.append(f"Metrics that the models know and no node has any more: {len(lacking)}.")
    return " ".join(notes)


def watched_words(scored, *, n_runs, days, day):
    """Say what was looked at: nodes, runs of jobs, and how many windows look unlike healthy ones.

    scored : judged windows, DataFrame node_id, job_id, start, end, flagged. n_runs : runs that they are of.
    days, day : length and last day of the judged time.
    """
    when = f"In the {days:g} days to {day}"
    if not len(scored):
        return f"{when}, no window was judged."
    seconds = (scored.end - scored.start).median().total_seconds()
    length = f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
    nodes = plural(scored.node_id.nunique(), "node")
    if (scored.job_id != "").any():
        nodes = f"{plural(n_runs, 'run')} of jobs on {nodes}"
    return (
        f"{when}, {nodes} {'was' if nodes.startswith('1 ') else 'were'} watched in windows of {length}: "
        f"{scored.flagged.sum():,} of {plural(len(scored), 'window')} ({scored.flagged.mean():.2%}) look "
        "unlike healthy ones."
    )


def lone_node_words(n_calibration, alone):
    """Warn that the trouble of a single node cannot be distinguished from chance; "" where it can."""
    if alone <= 1:
        return ""
    return (
        f"A node that misbehaves alone is not told from chance: with {n_calibration:,} healthy windows to "
        f"compare with, {alone} incidents must be as strange at once; about {n_calibration * alone:,} would "
        "be enough for one."
    )


def lacking_words(lacking):
    """Warn of the metrics that the models know and no node measures any more; "" where there is none."""
    if not lacking:
        return ""
    more = " and others" if len(lacking) > 3 else ""
    return (
        f"{len(lacking)} metrics that the models know are measured on no node any more, and count as not "
        f"sampled: {', '.join(lacking[:3])}{more}."
    )


# ---------------------------------------------------------------------------------------------------- Silence


def waiting_nodes(nodes, gone):
    """List the nodes without a sample for more than half a day that are not called silent, longest first:
    DataFrame node, "last seen", "silent, days", "allowed, days".

    nodes : as `node_rhythms` gives them. gone : the silent rows of them.
    """
    waiting = nodes.assign(silence=nodes.silence / ONE_DAY, limit=nodes.limit / ONE_DAY)
    waiting = waiting.sort_values("silence", ascending=False)
    waiting = waiting[(waiting.silence > 0.5) & ~waiting.index.isin(gone.index)]
    names = {"node_id": "node", "last": "last seen", "silence": "silent, days", "limit": "allowed, days"}
    return waiting.rename(columns=names)[list(names.values())]
