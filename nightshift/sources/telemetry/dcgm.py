"""GPU metrics under the names of NVIDIA's DCGM and of other exporters: what a table or a series of one says,
and which values no GPU can have.
"""

import numpy as np
import pandas as pd

from nightshift.sources.files import names_in_words
from nightshift.sources.prometheus import without_port
from nightshift.sources.telemetry.cells import is_blank
from nightshift.sources.telemetry.trainings import WAIT

HOSTS = ["Hostname", "hostname"]  # dcgm-exporter renamed the label after 4.5.3-4.8.2 (commit d5e5f51)
COLUMNS = {
    "timestamp": ["timestamp", "time", "Time", "ts"],
    "node_id": [*HOSTS, "node_id", "node", "host"],
    "gpu": ["gpu", "gpu_id", "UUID", "uuid", "device", "minor_number"],
    "slice": ["GPU_I_ID"],  # a MIG instance, a part of a GPU that is a device of its own
    "job_id": ["hpc_job", "job_id", "slurmjobid", "jobid"],
    "user": ["user", "account_user", "job_user"],
}
NUMBERS = {
    "utilisation_pct": "DCGM_FI_DEV_GPU_UTIL",
    "memory_used_mib": "DCGM_FI_DEV_FB_USED",
    "memory_free_mib": "DCGM_FI_DEV_FB_FREE",
    "power_w": "DCGM_FI_DEV_POWER_USAGE",
    "temperature_c": "DCGM_FI_DEV_GPU_TEMP",
}
# {quantity: {metric: what makes its unit ours}}, the best first: dcgm-exporter 4 (etc/*.csv; a MIG instance
# has the ratio only), nvidia_gpu_exporter (docs/METRICS.md), AMD's device-metrics-exporter
# (metricslist.md; its MB are taken for MiB, since public examples give 65,536 and 32,768 as totals)
EXPORTED = {
    "utilisation_pct": {
        "DCGM_FI_DEV_GPU_UTIL": 1,
        "nvidia_smi_utilization_gpu_ratio": 100,
        "gpu_gfx_activity": 1,
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE": 100,
    },
    "memory_used_mib": {
        "DCGM_FI_DEV_FB_USED": 1,
        "nvidia_smi_memory_used_bytes": 2**-20,
        "gpu_used_vram": 1,
    },
    "memory_free_mib": {"DCGM_FI_DEV_FB_FREE": 1},
    "memory_total_mib": {"nvidia_smi_memory_total_bytes": 2**-20, "gpu_total_vram": 1},
    "power_w": {
        "DCGM_FI_DEV_POWER_USAGE": 1,
        "nvidia_smi_power_draw_watts": 1,
        "gpu_package_power": 1,
        "gpu_average_package_power": 1,
    },
    "temperature_c": {
        "DCGM_FI_DEV_GPU_TEMP": 1,
        "nvidia_smi_temperature_gpu": 1,
        "gpu_junction_temperature": 1,
        "gpu_edge_temperature": 1,
    },
}
SERIES = {  # {metric: (quantity, factor, rank)}; AMD's exporter can be told to begin its names with amd_
    prefix + name: (quantity, factor, rank)
    for quantity, names in EXPORTED.items()
    for rank, (name, factor) in enumerate(names.items())
    for prefix in (("", "amd_") if name.startswith("gpu_") else ("",))
}
LIMITS = {  # what a GPU can have; memory up to 10 TiB
    "utilisation_pct": (0, 100),
    "memory_used_mib": (0, 10 * 2**20),
    "memory_free_mib": (0, 10 * 2**20),
    "memory_total_mib": (0, 10 * 2**20),
    "power_w": (0, 10_000),
    "temperature_c": (-50, 200),
    WAIT: (0, 100),
}


def is_gpu_table(names):
    """Whether a table with the columns `names` is one of a GPU exporter: it has a metric of NUMBERS, or a
    time, a GPU and one of HOSTS.
    """
    return bool(set(NUMBERS.values()) & set(names)) or (
        {"timestamp", "gpu"} <= set(names) and bool({*HOSTS} & set(names))
    )


def layout_of_gpus(names):
    """{what: column} of a table of a GPU exporter, of what it has; ValueError of one line names the columns
    of time, host or GPU that are missing.
    """
    layout = {what: next((name for name in named if name in names), None) for what, named in COLUMNS.items()}
    if lacking := [
        f"{what} ({', '.join(COLUMNS[what])})"
        for what in ("timestamp", "node_id", "gpu")
        if layout[what] is None
    ]:
        raise ValueError(
            f"it is a table of a GPU exporter, and lacks {' and '.join(lacking)}; "
            f"it has {names_in_words(names)}"
        )
    return {what: name for what, name in layout.items() if name} | {
        what: name for what, name in [*NUMBERS.items(), (WAIT, WAIT)] if name in names
    }


def possible(values, what):
    """The `values` (Series) of one quantity of LIMITS, missing where no GPU can have them or they stand for
    no value, as in `is_blank`.
    """
    low, high = LIMITS[what]
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    return numbers.where(numbers.between(low, high) & ~is_blank(numbers.to_numpy()))


def blank_impossible(gpus):
    """(the table `gpus` with impossible values missing, {quantity: number of them}); where more memory is
    used than there is, both are missing.
    """
    gpus, counts = gpus.copy(), {}
    for what in [name for name in LIMITS if name in gpus]:
        kept = possible(gpus[what], what)
        counts[what] = int((gpus[what].notna() & kept.isna()).sum())
        gpus[what] = kept
    if {"memory_used_mib", "memory_total_mib"} <= set(gpus):
        odd = gpus.memory_used_mib > gpus.memory_total_mib
        counts["memory_used_mib"] += int(odd.sum())
        gpus.loc[odd, ["memory_used_mib", "memory_total_mib"]] = np.nan
    return gpus, {what: n for what, n in counts.items() if n}


def host_of(labels):
    """The host that a series of a GPU exporter names, without a port; "" where it names none."""
    return without_port(next((labels[name] for name in HOSTS if labels.get(name)), ""))


def first_label(labels, what):
    """The first label of a series that says `what`, of COLUMNS; None where none does."""
    return next((labels[name] for name in COLUMNS[what] if labels.get(name)), None)


def number_of(labels):
    """The GPU that a series names, with its slice: 0, or 0/3."""
    return "/".join(filter(None, (first_label(labels, "gpu"), first_label(labels, "slice"))))


def selector(metric):
    """PromQL for the series of a metric of EXPORTED, with either name where it is AMD's."""
    return f'{{__name__=~"(amd_)?{metric}",gpu_id!=""}}' if metric.startswith("gpu_") else metric


def queries():
    """{quantity: PromQL} of NUMBERS, from whichever exporter there is; where one gives the total memory, what
    is free is the total less what is used.
    """
    terms = {
        quantity: [
            f"{factor:.15g} * {selector(name)}" if factor != 1 else selector(name)
            for name, factor in names.items()
        ]
        for quantity, names in EXPORTED.items()
    }
    terms["memory_free_mib"] += [
        f"({total} - {used})"
        for total, used in zip(terms["memory_total_mib"], terms["memory_used_mib"][1:], strict=True)
    ]
    return {quantity: " or ".join(terms[quantity]) for quantity in NUMBERS}
