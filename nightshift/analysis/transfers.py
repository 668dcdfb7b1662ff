"""From the scored transfers to findings: three ways to be in trouble, problems, their evidence and figures.

    Items      requests and attempts, by their times    requests_of, attempts_of, failures_by_hour
               slow, stuck and failing transfers        slow_items, stuck_items, failing_items
    Problems   what the items of one way share          find_problems
    Evidence   sentences of numbers, errors, probes     evidence_of, read_probes, too_few_to_tell
    Probes     what perfSONAR saw, as a table           probes_table
    Rows       the transfers that made a finding        rows_of
    Figures    what is drawn, and how                   drawn_of, plot_problem, plot_waits

Items are transfers with time (UTC), value, usual (what is compared), expected (the chance of a flag on a
normal night) and flagged. What is asked of the flagged ones alone (size, file, request, error) may stand in a
table of its own, `about`, by the index of the items, since it is most of what a transfer takes.
"""

import numpy as np
import pandas as pd
from scipy import stats

from nightshift.catalog import label_of
from nightshift.detectors.transfers import (
    compare_probes,
    describe_errors,
    describe_probes,
    from_tape,
    of_entity,
    trouble_of_probes,
)
from nightshift.detectors.transfers_limits import ranks_among
from nightshift.detectors.transfers_scan import ENTITIES, scan_incidents
from nightshift.error_classes import error_class
from nightshift.sources.tables import read_optional
from nightshift.statistics import calibration_needed

ENTITY_WORDS = {"link": "link", "src": "source", "dst": "destination", "fts": "fts_server", "site": "site"}
KINDS = {f"{way}_{what}" for way in ("slow", "failing") for what in ENTITY_WORDS.values()} | {"stuck_queue"}
KINDS |= {f"{way}_stage_in" for way in ("slow", "failing", "stuck")}  # from tape
SECONDS = "where {expected:.1f} are normal; median {observed:,.0f} s, usually {usual:,.0f} s"
WORDING = {  # by way
    "slow": "{flagged} of {items} {noun}s beyond their limit " + SECONDS,
    "stuck": "{flagged} of {items} {noun}s waited beyond the limit " + SECONDS,
    "failing": "{flagged} of {items} {noun}s failed where {expected:.1f} are normal "
    "({observed:.0%}, usually {usual:.1%})",
}
ROW_COLUMNS = ["time", "link", "size_gb", "duration_s", "waited_s", "expected_s", "error", "request"]
NOUNS = {"slow": "transfer", "stuck": "request", "failing": "transfer"}  # of what is no stage-in
MOST_DRAWN = 10_000  # points of each colour in a figure: one takes 5 µs to draw, and 20 bytes of a page
AXIS_LABELS = {
    "slow": "duration / usual duration",
    "stuck": "time in the queue / usual time",
    "failing": "failed (1) or done (0)",
}


# ------------------------------------------------------------------------------------------------------ Items


def slow_items(judged, *, alarm_rate):
    """Take the scored transfers `judged` as items: DataFrame with value, the duration, and usual, s."""
    return judged.assign(
        time=judged.started, value=judged.duration_s, usual=judged.predicted_s, expected=alarm_rate
    )


def requests_of(clean, *, earlier):
    """Take of the `clean` transfers the requests that were submitted from `earlier` on and either wait or say
    how long they waited: DataFrame as `stuck_items` takes it.
    """
    asked = (clean.submitted >= earlier) & (clean.queue_s.notna() | (clean.state == "queued"))
    return clean[asked].drop(columns="state")


def stuck_items(asked, calibration, *, now, alarm_rate):
    """Take requests, of `requests_of`, as items: DataFrame with value, the wait, and usual, s; a request that
    still waits counts with its age at `now`.

    calibration : DataFrame fts, queue_s. Each server has its own usual wait, and its limit where it has
    enough calibration requests; else those of its kind, stage-ins or other transfers.
    """
    age = (now - asked.submitted).dt.total_seconds().clip(lower=0)
    waits = asked.queue_s.fillna(age).astype(float)
    stuck = asked.rename(columns={"submitted": "time"}).assign(value=waits, expected=alarm_rate)
    usual = stuck.fts.map(calibration.groupby("fts").queue_s.median()).astype(float)
    of_kind = calibration.queue_s.groupby(from_tape(calibration.fts)).median()
    stuck["usual"] = usual.fillna(pd.Series(from_tape(stuck.fts), stuck.index).map(of_kind)).fillna(waits)
    p = ranks_among(waits, calibration.queue_s, asked.fts, calibration.fts, least=int(2 / alarm_rate))
    stuck["flagged"] = p <= alarm_rate
    return stuck.drop(columns="queue_s")


def attempts_of(clean):
    """Take of the `clean` transfers those that were tried, with the time of each, its start, or, where that
    is not known, its end, submission or creation: DataFrame as `failing_items` takes it.
    """
    tried = clean[clean.state != "queued"]
    time = tried.started.fillna(tried.finished).fillna(tried.submitted).fillna(tried.created)
    others = ["started", "finished", "submitted", "created", "state"]
    return tried.assign(time=time, flagged=tried.state == "failed").drop(columns=others)


def failures_by_hour(tried, *, until):
    """Count attempts, of `attempts_of`, before `until` by link and hour: DataFrame link, hour, tried,
    failed.
    """
    before = tried.loc[tried.time < until, ["link", "flagged"]]
    hour = tried.time[before.index].dt.floor("h").rename("hour")
    counts = before.groupby(["link", hour], observed=True).flagged.agg(["size", "sum"]).reset_index()
    return counts.rename(columns={"size": "tried", "sum": "failed"})


def usual_failures(hours):
    """Compute the usual failures: (share of failures that is usual on each link, Series; that of all links),
    from the counts of `failures_by_hour`.

    An hour in which most of five attempts or more on a link failed is not usual, and is left out. Each link
    counts as if 20 transfers with the overall share were known too; that is 5% where nothing has been seen.
    """
    hours = hours.groupby(["link", "hour"], observed=True)[["tried", "failed"]].sum().reset_index()
    hours = hours[~((hours.tried >= 5) & (hours.failed > hours.tried / 2))]
    of_link = hours.groupby("link", observed=True)[["tried", "failed"]].sum()
    overall = max((hours.failed.sum() + 0.5) / (hours.tried.sum() + 10), 0.001)
    return (of_link.failed + 20 * overall) / (of_link.tried + 20), overall


def failing_items(tried, hours):
    """Take attempts, of `attempts_of`, as items: DataFrame with value, 1 for a failure and 0 for a transfer
    that is done, and usual, the share of failures that its link had before, by the counts of
    `failures_by_hour`; of stage-ins and of other transfers each by itself.
    """
    staged, staged_before = from_tape(tried.link), from_tape(hours.link)
    expected = np.zeros(len(tried))
    for kind in (False, True):
        of_link, overall = usual_failures(hours[staged_before == kind])
        expected[staged == kind] = tried.link[staged == kind].map(of_link).astype(float).fillna(overall)
    return tried.assign(value=tried.flagged.astype(float), expected=expected, usual=expected)


# --------------------------------------------------------------------------------------------------- Problems


def size_of_files(items):
    """Add up the sizes of the files of transfers, GB, each file once, however often it was tried and wherever
    it was sent: float, NaN where no size is known.

    items : DataFrame file, bytes.
    """
    return float(items.groupby("file").bytes.max().sum(min_count=1)) / 1e9


def find_problems(items, way, *, since, about=None):
    """Find the incidents among the `items` of one way to be in trouble: DataFrame of `scan_incidents`, with
    kind, that of stage-ins where most of what is flagged comes from tape, observed, usual (median, or mean of
    failures), delayed_gb (see `size_of_files`), way, unit and until, when it was over.

    Items before `since` only tell when a problem began. Queues are those of servers, and no site has one. An
    item lies at its beginning; a queue was stuck until the last of those who waited got through. about :
    DataFrame bytes, file of the flagged items, by default these themselves.
    """
    about = items if about is None else about
    average = np.mean if way == "failing" else np.median
    entities = {kind: columns for kind, columns in ENTITIES.items() if way != "stuck" or kind != "site"}
    found = scan_incidents(items, entities, clump="link", since=since).fillna({"entity": "unknown"})
    found["kind"] = "stuck_queue" if way == "stuck" else way + "_" + found.entity_kind.map(ENTITY_WORDS)
    inside = [
        items[of_entity(items, f.entity_kind, f.entity) & items.time.between(f.start, f.end)]
        for f in found.itertuples()
    ]
    staged = pd.Series([from_tape(rows.link[rows.flagged]).mean() > 0.5 for rows in inside], dtype=bool)
    found["kind"] = found.kind.mask(staged, f"{way}_stage_in")
    for count in ("flagged", "expected"):
        found[count] = [rows[count].sum() for rows in inside]
    found["items"] = [len(rows) for rows in inside]
    found["observed"] = [average(rows.value) for rows in inside]
    found["usual"] = [average(rows.usual) for rows in inside]
    found["delayed_gb"] = [size_of_files(about.loc[rows.index[rows.flagged]]) for rows in inside]
    found["p_value"] = found.p_value.astype(float)
    found["until"] = found.end
    if way == "stuck" and len(found):
        through = [(rows.time + pd.to_timedelta(rows.value, unit="s"))[rows.flagged].max() for rows in inside]
        found["until"] = np.maximum(found.end, pd.Series(through, found.index))
    return found.assign(way=way, unit="share" if way == "failing" else "s")


# --------------------------------------------------------------------------------------------------- Evidence


def too_few_to_tell(n_calibration, alarm_rate):
    """Write the part of a sentence that says why slow transfers and long waits cannot be told, in a list; an
    empty one where `n_calibration` transfers are enough for the `alarm_rate`.
    """
    needed = calibration_needed(alarm_rate)
    if n_calibration >= needed:
        return []
    times = needed / max(n_calibration, 1)
    return [
        f"slow transfers and long waits cannot be told, since {n_calibration:,} calibration transfers are "
        f"too few for an alarm rate of {alarm_rate:.2%}: at least {needed:,} are needed, which take about "
        f"{times:.1f} times this history"
    ]


def attempts_during(finding, failing):
    """Return the attempts, of `failing_items`, of a finding's entity in its time."""
    here = of_entity(failing, finding.entity_kind, finding.entity)
    return failing[here & failing.time.between(finding.start, finding.end)]


def evidence_of(finding, failing, probes, about=None):
    """Write the sentence of one finding: its numbers, and what the errors and perfSONAR say of it, if
    anything.

    failing : of `failing_items`. probes : DataFrame of perfSONAR, see `describe_probes`. about : DataFrame
    reason of what failed, by default in `failing`.
    """
    during = attempts_during(finding, failing)
    failed = during[during.flagged]
    failed = failed if about is None else failed.join(about.reason)
    errors, seen = describe_errors(failed, finding.entity_kind), ""
    if finding.way != "failing":  # what fails on every night says nothing of this one
        unusual = len(failed) >= 5 and stats.poisson.sf(len(failed) - 1, during.expected.sum()) < 0.01
        errors = f"{len(failed)} others failed: {errors}" if errors and unusual else ""
    if finding.way != "stuck" and len(probes):
        seen = describe_probes(probes, during, finding.start, finding.end)
    noun = "stage-in" if finding.kind.endswith("stage_in") else NOUNS[finding.way]
    numbers = WORDING[finding.way].format(noun=noun, **finding._asdict())
    return "; ".join(part for part in (numbers, errors, seen) if part)


def read_probes(path, sample):
    """Read the measurements of perfSONAR: DataFrame src_host, dst_host, time (UTC), loss_pct, latency_ms,
    throughput_mbps.

    path, sample : as `read_optional` takes them.
    """
    columns = ["src_host", "dst_host", "time", "loss_pct", "latency_ms", "throughput_mbps"]
    probes = read_optional(path, sample, columns)
    return probes.assign(time=pd.to_datetime(probes.time, utc=True))


def probes_table(findings, failing, probes):
    """List what perfSONAR saw during findings, of the same probes as their evidence: DataFrame of text
    kind, entity, probes, verdict, and loss, latency and throughput with what is usual.

    findings : of `find_problems`, those of queues are left out. failing : of `failing_items`. probes : as in
    `compare_probes`.
    """
    heads = {
        "loss_pct": ("mean loss, % (usually)", "{:,.1f}"),
        "latency_ms": ("median latency, ms (usually)", "{:,.1f}"),
        "throughput_mbps": ("median throughput, Mb/s (usually)", "{:,.0f}"),
    }
    rows = []
    for finding in findings[findings.way != "stuck"].itertuples():
        n, then, usually = compare_probes(
            probes, attempts_during(finding, failing), finding.start, finding.end
        )
        bad = [part.split()[1] for part in trouble_of_probes(then, usually)] if n else []
        row = {
            "kind": label_of("transfers", finding.kind),
            "entity": finding.entity,
            "probes": n,
            "verdict": " and ".join(bad) or ("clean" if n else ""),
        }
        for name, (head, form) in heads.items():
            numbers = (form.format(one).replace("nan", "not measured") for one in (then[name], usually[name]))
            row[head] = "{} ({})".format(*numbers)
        rows.append(row)
    return pd.DataFrame(rows)


# ------------------------------------------------------------------------------------------------------- Rows


def rows_of(finding, items, about=None):
    """List the flagged transfers of a finding, one of `find_problems`: DataFrame of ROW_COLUMNS, what does
    not apply missing; error is a class of errors, request the id by which the source knows it.

    items : of the finding's way. Those that took most times as long as usual come first; of failures, the
    latest. about : DataFrame bytes, request_id, reason and duration_s of them, by default in `items`.
    """
    of_finding = of_entity(items, finding.entity_kind, finding.entity)
    hit = items[of_finding & items.flagged & items.time.between(finding.start, finding.end)]
    if about is not None:
        hit = hit.join(about[about.columns.difference(hit.columns)])
    about = {"time": hit.time, "link": hit.link.astype(str), "size_gb": hit.bytes / 1e9}
    rows = pd.DataFrame(about | {"request": hit.request_id}).reindex(columns=ROW_COLUMNS)
    if finding.way == "failing":
        errors = {text: error_class(text) for text in hit.reason.dropna().astype(str).unique()}
        rows = rows.assign(duration_s=hit.duration_s, error=hit.reason.astype(object).map(errors))
        return rows.sort_values("time", ascending=False)
    rows = rows.assign(**{"waited_s" if finding.way == "stuck" else "duration_s": hit.value})
    times_as_long = hit.value.clip(lower=1) / hit.usual.clip(lower=1)
    in_order = times_as_long.sort_values(ascending=False, kind="stable").index
    return rows.assign(expected_s=hit.usual).loc[in_order]


# ---------------------------------------------------------------------------------------------------- Figures


def heights_of(group, way, *, rng):
    """Compute what a figure of the items `group` shows of each: failed or not, scattered by `rng`, or how
    many times the usual seconds it took, (n,).
    """
    if way == "failing":
        return group.value + rng.uniform(-0.06, 0.06, len(group))
    return group.value.clip(lower=1) / group.usual.clip(lower=1)


def drawn_of(group, *, rng, most=MOST_DRAWN):
    """Choose what a figure shows of the items `group`: at most so many flagged ones and so many others, drawn
    by `rng`; more of them would be one spot.
    """
    rows = [np.flatnonzero(group.flagged), np.flatnonzero(~group.flagged)]
    chosen = [rng.choice(one, most, replace=False) if len(one) > most else one for one in rows]
    return group.iloc[np.sort(np.concatenate(chosen))]


def plot_problem(ax, group, heights, finding):
    """Draw the items of one finding's entity over time, at `heights` (n,): red where flagged, grey band where
    the finding is. Returns `ax`.
    """
    ax.axvspan(finding.start, finding.end, color="0.85", zorder=0)
    flagged = group.flagged.to_numpy(bool)
    for is_shown, name, color in ((~flagged, "as usual", "C0"), (flagged, "flagged", "C3")):
        at, height = group.time[is_shown], np.asarray(heights)[is_shown]
        ax.scatter(at, height, s=9, color=color, alpha=0.7, lw=0, label=name)
    ax.set_yscale("linear" if finding.way == "failing" else "log")
    return ax


def plot_waits(ax, daily):
    """Draw the median seconds of queue and network per day: DataFrame [day, (queue_s, duration_s)]. Returns
    `ax`.
    """
    for column, name, color in (("queue_s", "queue", "C4"), ("duration_s", "network", "C0")):
        ax.plot(daily.index, daily[column], color=color, marker="o", ms=4, label=name)
        if len(daily):
            ax.annotate(f" {name}", (daily.index[-1], daily[column].iloc[-1]), color=color, va="center")
    ax.set_ylim(bottom=0)
    return ax
