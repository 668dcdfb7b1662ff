"""How much of what jobs held was used: GPUs, processors and memory by VO, as `seff` of Slurm has it by job.

Only accounting of single jobs says so, and only where it records it.
"""

import numpy as np
import pandas as pd

AMOUNTS = {  # what the raw table calls what is read
    "gpu_hours": "GpuHours",
    "gpu_hours_used": "GpuHoursUsed",
    "memory_gib": "MemoryAskedGiB",
    "memory_used_gib": "MemoryUsedGiB",
}
TITLES = {  # of the columns of the table, for people
    "vo": "VO",
    "jobs": "jobs",
    "core_hours": "core hours",
    "cpu_share": "used of CPU",
    "gpu_hours": "GPU hours",
    "gpu_share_at_most": "used of GPUs, at most",
    "gpu_measured": "GPU hours with a measure",
    "memory_share": "used of memory",
}
COLUMNS = list(TITLES)
SHARES = ("cpu_share", "gpu_share_at_most", "gpu_measured", "memory_share")
FORMATS = {TITLES[name]: "{:.0%}" if name in SHARES else "{:,.0f}" for name in COLUMNS[1:]}


def share_of(used, held, by):
    """Sum up per VO which share of what was `held` was `used`, Series, over the rows that know both: a Series
    by VO, missing where no row does.
    """
    both = used.notna() & held.notna()
    sums = pd.DataFrame({"used": used[both], "held": held[both]}).groupby(by[both]).sum()
    return sums.used / sums.held.where(sums.held > 0)


def efficiency_by_vo(raw, records):
    """Sum up what was used of what was held: DataFrame of COLUMNS, most GPU hours, then core hours first;
    without a row where no record says anything of GPUs or memory.

    raw, records : of the same index, the raw table and what `type_records` makes of it. Shares are of the
    hours that know both sides: CPU time of core hours, GPUs in use of GPU hours (`gpu_measured` is the share
    of these that is known), memory at its highest of that asked for, weighted by wall time.
    """
    there = pd.DataFrame(index=raw.index)
    for name, field in AMOUNTS.items():
        there[name] = pd.to_numeric(raw[field], errors="coerce") if field in raw else np.nan
    if not there.notna().to_numpy().any():
        return pd.DataFrame(columns=COLUMNS)
    vo, hours = records.vo, records.wall_s / 3600
    measured = there.gpu_hours.where(there.gpu_hours_used.notna())
    table = pd.DataFrame(
        {
            "jobs": records.jobs.groupby(vo).sum(),
            "core_hours": records.core_hours.groupby(vo).sum(),
            "cpu_share": share_of(records.cpu_s / 3600, records.core_hours, vo),
            "gpu_hours": there.gpu_hours.groupby(vo).sum(),
            "gpu_share_at_most": share_of(there.gpu_hours_used, there.gpu_hours, vo),
            "gpu_measured": share_of(measured.fillna(0), there.gpu_hours, vo),
            "memory_share": share_of(there.memory_used_gib * hours, there.memory_gib * hours, vo),
        }
    )
    table = table.rename_axis("vo").reset_index()
    return table.sort_values(["gpu_hours", "core_hours"], ascending=False, ignore_index=True)[COLUMNS]
