"""GPUs that a job holds and does not use: samples and the time they stand for, idle stretches, evidence,
use.

    Samples      the time that each stands for, what is held    weigh_samples
    Stretches    idle ones, allocations, findings               mark_stretches, allocations_of, idle_findings
    Words        evidence, findings, energy                     evidence_of, findings_table, energy_words
    Rows         the samples of an idle stretch                 rows_of
    Use          thresholds, users and jobs, devices            idle_lengths, usage_by, device_loads, ...
    Figures      where and when, ranges                         plot_loads, plot_wasted, plot_range
    How good     against known incidents                        compare
"""

from textwrap import shorten

import numpy as np
import pandas as pd

from nightshift.statistics import benjamini_hochberg, p_values, share_interval

ONE_HOUR = pd.Timedelta(hours=1)
QUANTITIES = {  # of the figure of ranges, with their units
    "utilisation_pct": "utilisation, %",
    "memory_used_mib": "memory, GiB",
    "power_w": "power, W",
    "temperature_c": "temperature, °C",
}


def weigh_samples(gpus, *, window_end, gap_periods, idle_pct, stall_pct):
    """Give each sample the time until the next one of its GPU: DataFrame sorted by device and timestamp, with
    period, gap (whether one follows it), until, hours, held, stalled, idle, kwh.

    gpus : DataFrame device, timestamp, job_id ("" is free), utilisation_pct, power_w, and loader_wait_pct
    where trainings were watched. Before a gap, of more than `gap_periods` sampling periods, a sample stands
    for one period only: what was not seen is neither use nor idleness. Samples without utilisation are left
    out. Stalled is one whose training waits for data at least `stall_pct` of the time and whose GPU computes
    no longer than the rest of it; where a loader works while the GPU computes, both shares are high.
    """
    seen = gpus.utilisation_pct.notna()
    samples = gpus[seen].sort_values(["device", "timestamp"], ignore_index=True)
    ahead = -samples.groupby("device", sort=False).timestamp.diff(-1)
    period = ahead.groupby(samples.device).transform("median")
    period = period.fillna(ahead.median()).fillna(pd.Timedelta(0))
    gap = ~(ahead <= gap_periods * period)  # one follows the last sample of a GPU, too
    until = (samples.timestamp + ahead.where(~gap, period)).clip(upper=window_end)
    hours, held = (until - samples.timestamp) / ONE_HOUR, samples.job_id != ""
    waits = samples.get("loader_wait_pct", pd.Series(np.nan, samples.index)) >= stall_pct
    stalled = held & waits & (samples.utilisation_pct <= 100 - stall_pct)
    idle = held & (samples.utilisation_pct <= idle_pct) | stalled
    samples = samples.assign(period=period, gap=gap, until=until, hours=hours)
    samples = samples.assign(held=held, stalled=stalled, idle=idle)
    return samples.assign(kwh=samples.power_w * hours / 1000)


def mark_stretches(samples, idle_hours):
    """Cut samples into stretches: (the samples with stretch (its number), unused_h, wasted, wasted_h;
    DataFrame of idle stretches, stalled ones included).

    samples : as `weigh_samples` gives them. A stretch is what one allocation, a job on a GPU, does without a
    break: all of it idle, stalled or used, and no gap inside. Idle and stalled stretches of `idle_hours` or
    more are wasted; of a stalled one, only the time in which the GPU did not compute.
    """
    free = samples.hours * (1 - samples.utilisation_pct / 100)
    samples = samples.assign(unused_h=free.where(samples.stalled, samples.hours))
    before = samples.groupby("device", sort=False)[["job_id", "idle", "stalled", "gap"]].shift()
    other = samples.job_id != before.job_id
    other |= (samples.idle != before.idle) | (samples.stalled != before.stalled)
    samples = samples.assign(stretch=(other | ~before.gap.eq(False)).cumsum())
    # each has one value in a stretch, or is not known in some samples
    names = {name: (name, "max") for name in ("device", "node_id", "job_id", "user")}
    stretches = samples[samples.idle].groupby("stretch", as_index=False)
    waits = {"waits_pct": ("loader_wait_pct", "mean")} if "loader_wait_pct" in samples else {}
    stretches = stretches.agg(
        start=("timestamp", "min"),
        end=("until", "max"),
        stalled=("stalled", "max"),
        unused_h=("unused_h", "sum"),
        kwh=("kwh", "sum"),
        utilisation_pct=("utilisation_pct", "mean"),
        memory_used_mib=("memory_used_mib", "median"),
        memory_total_mib=("memory_total_mib", "median"),
        power_w=("power_w", "mean"),
        **names,
        **waits,
    )
    stretches["hours"] = (stretches.end - stretches.start) / ONE_HOUR
    long = stretches.stretch[stretches.hours >= idle_hours]
    wasted = samples.stretch.isin(long)
    return samples.assign(wasted=wasted, wasted_h=samples.unused_h.where(wasted, 0.0)), stretches


def allocations_of(samples, stretches):
    """Describe each job on each GPU: DataFrame device, job_id, begin, last, held_h, mean_pct, idle_share,
    longest_h (of its idle stretches; 0 is none).
    """
    allocations = samples[samples.held].groupby(["device", "job_id"], as_index=False)
    allocations = allocations.agg(
        begin=("timestamp", "min"),
        last=("until", "max"),
        held_h=("hours", "sum"),
        mean_pct=("utilisation_pct", "mean"),
        idle_share=("idle", "mean"),
    )
    longest = stretches.sort_values("hours").groupby(["device", "job_id"]).hours.last()
    allocations = allocations.merge(longest.rename("longest_h").reset_index(), how="left")
    # 24 times 5 minutes are 2 hours
    return allocations.fillna({"longest_h": 0.0}).round({"held_h": 6})


def idle_findings(judged, allocations, *, false_discovery_rate):
    """Choose the findings among idle stretches: (the longest stretch of each job and GPU, the longest first;
    those of them that are reported; whether p-values can tell anything).

    judged : idle stretches of the judged days. allocations : as `allocations_of` gives them. The p-value of a
    stretch is the share of the *used* allocations, idle in at most half of their samples, that hold one as
    long. Findings are kept by Benjamini and Hochberg's rule; where there are too few used allocations for any
    p-value to be small, all of them.
    """
    used = allocations[allocations.idle_share <= 0.5]
    judged = judged.merge(allocations.drop(columns="longest_h"))
    of_one = judged.groupby(["device", "job_id"])
    judged["stretches"] = of_one.stretch.transform("size")
    judged["wasted_h"] = of_one.unused_h.transform("sum")
    longest = judged.sort_values(["hours", "start"], ascending=[False, True])
    longest = longest.drop_duplicates(["device", "job_id"]).reset_index(drop=True)
    longest["p_value"] = p_values(longest.hours, used.longest_h) if len(used) else 1.0
    # else even the smallest p-value, 1 / (n + 1), is too large
    tellable = (len(used) + 1) * false_discovery_rate >= 1
    adjusted = benjamini_hochberg(longest.p_value)
    kept = (adjusted <= false_discovery_rate) | (not tellable)
    return longest, longest[kept].reset_index(drop=True), tellable


# ------------------------------------------------------------------------------------------------------ Words


def amount(value, text):
    """Fill `value` into `text`; empty where the source does not know it."""
    return "" if pd.isna(value) else text.format(value)


def evidence_of(finding):
    """Say in one sentence, with its numbers, how long a GPU was held and not used, or waited for data.

    finding : row of the idle stretches, with before_h, stretches, ongoing.
    """
    since = f"after {finding.before_h:.1f} h" if finding.before_h else "from its start"
    how = "and not used"
    if finding.stalled:
        how = f"by a training that waits for data {finding.waits_pct:.0f}% of the time"
    held = f"{finding.hours:.1f} GPU hours held {how}, {since}"
    if finding.stretches > 1:
        held += f", the longest of {finding.stretches} such stretches"
    use = f"mean utilisation {finding.utilisation_pct:.1f}%"
    if pd.notna(finding.memory_used_mib):
        total = amount(finding.memory_total_mib / 1024, " of {:.0f}")
        use += f"; {finding.memory_used_mib / 1024:.1f}{total} GiB of memory held"
    power = amount(finding.power_w, f"{{:.0f}} W drawn, {finding.kwh:.1f} kWh")
    job = f"job {finding.job_id}" + (f" of {finding.user}" if finding.user else "")
    parts = [held, use, power, "still held" if finding.ongoing else "", job]
    return "; ".join(part for part in parts if part)


def findings_table(reported):
    """Name the columns of the findings as a person reads them: DataFrame GPU, job, since, idle, h, all
    stretches, h, before, h, memory, GiB, power, W, now.

    reported : findings of `idle_findings`, with before_h and ongoing.
    """
    columns = {
        "device": "GPU",
        "job_id": "job",
        "start": "since",
        "hours": "idle, h",
        "wasted_h": "all stretches, h",
        "before_h": "before, h",
        "memory_gib": "memory, GiB",
        "power_w": "power, W",
        "now": "now",
    }
    # "ended" is said of incidents, which wait some hours for the next such stretch
    now = np.where(reported.ongoing, "still idle", "in use or released")
    table = reported.assign(memory_gib=reported.memory_used_mib / 1024, now=now)
    return table.rename(columns=columns)[list(columns.values())]


def energy_words(held, wasted):
    """Say how much energy the wasted samples took, ", 1.0 kWh", and of what share of the held hours the power
    is known, where that is not all of them; "" where it is of none.
    """
    powered = held.hours[held.power_w.notna()].sum() / max(held.hours.sum(), 1e-9)
    if not powered:
        return ""
    where = f" where power was measured, {powered:.0%} of the held hours" if powered < 0.995 else ""
    return f", {wasted.kwh.sum():,.1f} kWh{where}"


def rows_of(finding, samples):
    """List the samples of the idle stretch of a finding, the latest first: DataFrame time, gpu, job,
    utilisation_pct, memory_gib, power_w, temperature_c; loader_wait_pct of a stalled one.

    samples : as `mark_stretches` gives them.
    """
    rows = samples[samples.stretch == finding.stretch]
    rows = rows.assign(memory_gib=rows.memory_used_mib / 1024)
    rows = rows.rename(columns={"timestamp": "time", "job_id": "job"}).drop(columns="gpu")
    rows = rows.rename(columns={"device": "gpu"}).sort_values("time", ascending=False)
    columns = ["time", "gpu", "job", "utilisation_pct", "memory_gib", "power_w", "temperature_c"]
    return rows[[*columns, "loader_wait_pct"] if finding.stalled else columns]


# -------------------------------------------------------------------------------------------------------- Use


def idle_lengths(week, limit_pct):
    """Measure every stretch at or below a utilisation of `limit_pct` in the samples: Series of hours."""
    idle = week.held & (week.utilisation_pct <= limit_pct)
    starts = [
        week.device != week.device.shift(),
        week.job_id != week.job_id.shift(),
        idle != idle.shift(),
        week.gap.shift(fill_value=True),
    ]
    stretch = np.logical_or.reduce(starts).cumsum()
    return week.hours[idle].groupby(stretch[idle]).sum().round(6)


def usage_by(held, key):
    """Sum up GPUs, jobs, hours, utilisation and energy of everything held, per value of `key`, most wasted
    first; rows without a value are left out.
    """
    rows = held[held[key] != ""]
    rows = rows.assign(
        computed=rows.utilisation_pct * rows.hours,
        wasted_kwh=rows.kwh * rows.wasted,
    )
    columns = {
        "GPUs": ("device", "nunique"),
        "jobs": ("job_id", "nunique"),
        "GPU hours": ("hours", "sum"),
        "computed, %": ("computed", "sum"),
        "wasted hours": ("wasted_h", "sum"),
        "kWh": ("kwh", "sum"),
        "wasted kWh": ("wasted_kwh", "sum"),
    }
    table = rows.groupby(key).agg(**columns)
    table["computed, %"] /= table["GPU hours"]
    return table.sort_values(["wasted hours", "GPU hours"], ascending=False).reset_index()


def device_loads(week, devices, *, begin, bin_h, n_bins):
    """Compute the mean utilisation of each device and bin of `bin_h` hours from `begin` on: (float (devices,
    bins), NaN where no job held it; bool (devices, bins), where it was seen).
    """
    shown = week[week.device.isin(devices)]
    at = [shown.device, (shown.timestamp - begin) // pd.Timedelta(hours=bin_h)]
    size = {"index": devices, "columns": range(n_bins)}
    load = shown.utilisation_pct.where(shown.held).groupby(at).mean().unstack().reindex(**size)
    seen = shown.utilisation_pct.groupby(at).size().unstack().reindex(**size)
    return load.to_numpy(float), seen.notna().to_numpy()


def ranges_of(held, devices):
    """Compute where nine of ten values of each quantity lie, and their median: DataFrame [device, sorted]
    (quantity, quantile) of QUANTITIES; memory in GiB.
    """
    in_gib = held.assign(memory_used_mib=held.memory_used_mib / 1024).groupby("device")
    return in_gib[list(QUANTITIES)].quantile([0.05, 0.5, 0.95]).unstack().reindex(sorted(devices))


# ---------------------------------------------------------------------------------------------------- Figures


def name_devices(ax, devices):
    """Write the names of GPUs on the y axis, at most 34 characters of each; a $ does not begin a formula."""
    names = [shorten(" ".join(name.split()), 34, placeholder=" ...")[:34] for name in devices]
    ax.set_yticks(np.arange(len(devices)) + 0.5, names, parse_math=False)
    return ax


def plot_loads(edges, load, seen, ax):
    """Draw the utilisation of GPUs (lines) over time: the darker, the more was computed; white is a GPU that
    no job held, grey one that was not seen. Adds a colour scale.
    """
    lines = np.arange(len(load) + 1)
    ax.pcolormesh(edges, lines, np.where(seen, np.nan, 1.0), cmap="Greys", vmin=0, vmax=5)
    mesh = ax.pcolormesh(edges, lines, load, cmap="Blues", vmin=-10, vmax=100)
    scale = {"boundaries": np.linspace(0, 100, 101), "ticks": [0, 50, 100], "pad": 0.01}
    ax.figure.colorbar(mesh, ax=ax, label="utilisation, %", **scale)
    ax.grid(False)
    return ax


def plot_wasted(stretches, devices, ax, *, begin):
    """Draw red lines over the stretches, from `begin` on, in which a job held a GPU of `devices` and did not
    use it.
    """
    for stretch in stretches.itertuples():
        line = [devices.index(stretch.device) + 0.5] * 2
        span = [max(stretch.start, begin), stretch.end]
        ax.plot(span, line, color="C3", lw=4, solid_capstyle="butt")
    return ax


def plot_range(ranges, label, ax):
    """Draw where nine of ten values of each GPU lie, and their median.

    ranges : DataFrame [device] of the quantiles 0.05, 0.5 and 0.95. label : quantity and unit.
    """
    lines = np.arange(len(ranges)) + 0.5
    ax.hlines(lines, ranges[0.05], ranges[0.95], color="C0", lw=2)
    ax.plot(ranges[0.5], lines, "o", color="C0", ms=5)
    ax.set_xlabel(label)
    ax.set_xlim(left=0)
    return ax


# --------------------------------------------------------------------------------------------------- How good


def compare(name, alarms, *, incidents, idle_hours):
    """Count how many of the known incidents a method finds, and how many of its alarms are one of them: a
    dictionary, recall and precision with Wilson's 95% intervals as text.

    alarms : DataFrame device, start, end. incidents : DataFrame entity, start, end; those of less than
    `idle_hours` need not be found, but an alarm on one of them is not false either.
    """
    long_enough = (incidents.end - incidents.start) >= pd.Timedelta(hours=idle_hours)
    pairs = [
        (alarms.device == one.entity) & (alarms.start < one.end) & (alarms.end > one.start)
        for one in incidents.itertuples()
    ]
    pairs = np.array(pairs, bool).reshape(len(incidents), len(alarms))
    hits, true = int(pairs[long_enough].any(axis=1).sum()), int(pairs.any(axis=0).sum())
    n = int(long_enough.sum())
    row = {"method": name, "incidents": n, "found": hits, "alarms": len(alarms), "true": true}
    return row | {"recall": rate_text(hits, n), "precision": rate_text(true, len(alarms))}


def rate_text(k, n):
    """Write the share k of n with Wilson's 95% interval; "" of none."""
    if not n:
        return ""
    low, high = share_interval(k, n)
    return f"{k / n:.2f} ({low:.2f} to {high:.2f})"
