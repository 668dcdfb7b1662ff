"""Series as a Prometheus with the configuration of deploy/monitoring would have recorded them, in OpenMetrics: two nodes with GPUs of DCGM, a PC with
nvidia_gpu_exporter, a job, two trainings, Nightshift's own. All are made here; no GPU is read.

Two trainings of job 4711 on g01: "slow" waits 80% of the time and its GPU computes 8%, "fast" waits 2% and its GPU computes 96%.
"""

from collections import defaultdict

STEP_S, MINUTES = 60, 70
SINCE = 1e10  # of counters at the beginning
NODES, DEVICE = ("g01", "g02", "pc"), {"device": "nvme0n1"}
GAUGES, COUNTERS = defaultdict(list), defaultdict(list)  # {name: [(labels, value)]}, and increases per second


def gauge(name, value, **labels):
    GAUGES[name].append((labels, value))


def counter(name, rate, **labels):
    """A counter that rises by `rate` each second."""
    COUNTERS[name].append((labels, rate))


def of_node(node, busy):
    """What a node exporter says of a node with four processors, `busy` of each in use."""
    gauge("up", 1, job="node", instance=f"{node}:9100", node=node)
    gauge("node_uname_info", 1, node=node, nodename=node)
    for cpu in "0123":
        for mode, share in {"idle": 1 - busy, "user": 0.7 * busy, "system": 0.2 * busy, "iowait": 0.1 * busy}.items():
            counter("node_cpu_seconds_total", share, node=node, cpu=cpu, mode=mode)
    for name, value in {"MemTotal": 64e9, "MemAvailable": 40e9, "Cached": 8e9}.items():
        gauge(f"node_memory_{name}_bytes", value, node=node)
    for name, value in {"load1": 4 * busy, "procs_running": 3, "procs_blocked": 1, "filefd_allocated": 2048, "filefd_maximum": 1e6}.items():
        gauge(f"node_{name}", value, node=node)
    counter("node_time_seconds", 1, node=node)
    gauge("node_boot_time_seconds", 0, node=node)
    for name in ("cpu_waiting", "memory_waiting", "io_waiting"):
        counter(f"node_pressure_{name}_seconds_total", 0.05, node=node)
    for name, rate in {"vmstat_pgmajfault": 2, "vmstat_oom_kill": 0.001, "netstat_Tcp_RetransSegs": 0.5}.items():
        counter(f"node_{name}", rate, node=node)
    for name, rate in {"read_bytes": 5e7, "written_bytes": 1e7, "io_time_seconds": 0.4, "read_time_seconds": 0.3, "reads_completed": 300}.items():
        counter(f"node_disk_{name}_total", rate, node=node, **DEVICE)
    root = {"node": node, "mountpoint": "/", "fstype": "ext4", "device": "/dev/nvme0n1p1"}
    gauge("node_filesystem_size_bytes", 4e10, **root)
    counter("node_filesystem_avail_bytes", -1e5, **root)
    gauge("node_filesystem_files", 6e7, **root)
    gauge("node_filesystem_files_free", 5e7, **root)
    counter("node_nfs_requests_total", 12, node=node, proto="4", method="Read")
    for name, rate in {"receive_bytes": 1e8, "transmit_bytes": 2e7, "receive_errs": 0.1, "receive_drop": 0.2}.items():
        counter(f"node_network_{name}_total", rate, node=node, device="eth0")
    for name in ("received", "transmitted"):
        counter(f"node_infiniband_port_data_{name}_bytes_total", 1e9, node=node, device="mlx5_0", port="1")


def of_gpu(node, number, utilisation, **job):
    """What a DCGM exporter says of a GPU; its clocks are lowered by its limit of power and by heat, and its last Xid is 48."""
    labels = {"node": node, "gpu": number, "Hostname": node, "UUID": f"GPU-{node}-{number}"} | job
    values = {"GPU_UTIL": utilisation, "FB_USED": 30000, "FB_FREE": 10000, "POWER_USAGE": 300, "GPU_TEMP": 71, "SM_CLOCK": 1410}
    values |= {"CLOCKS_EVENT_REASONS": 4 + 32, "ROW_REMAP_FAILURE": 0}
    for name, value in values.items():
        gauge(f"DCGM_FI_DEV_{name}", value, **labels)
    gauge("DCGM_FI_DEV_XID_ERRORS", 48, **labels, err_code="48", err_msg="double bit ECC error")
    for name in ("ECC_SBE_VOL_TOTAL", "ECC_DBE_VOL_TOTAL", "UNCORRECTABLE_REMAPPED_ROWS"):
        counter(f"DCGM_FI_DEV_{name}", 0.001, **labels)


def of_training(run, node, rate, wait, loss):
    """What `watch_training` says of a run with `rate` steps of 32 samples a second, which waits a share of the time."""
    labels = {"run": run, "node": node, "hpc_job": "4711", "user": "u001", "rank": "0"}
    counter("nightshift_training_loader_wait_seconds_total", wait, **labels)
    counter("nightshift_training_steps_total", rate, **labels)
    counter("nightshift_training_samples_total", 32 * rate, **labels)
    for le in ("0.01", "0.1", "1.0", "10.0", "+Inf"):
        counter("nightshift_training_step_seconds_bucket", rate if float(le) >= 1 / rate else 0, **labels, le=le)
    counter("nightshift_training_step_seconds_sum", 1, **labels)
    counter("nightshift_training_step_seconds_count", rate, **labels)
    gauge("nightshift_training_loss", loss, **labels)
    gauge("nightshift_training_epoch", 3, **labels)


def of_nightshift(end):
    """What `nightshift live export` says; `end` is the end of the record, seconds since 1970."""
    gauge("nightshift_night_ended_timestamp_seconds", end - 7200)
    gauge("nightshift_night_duration_seconds", 300)
    for state, n in {"reported": 4, "expected": 5}.items():
        gauge("nightshift_night_studies", n, state=state)
    about = {"failed": 0, "findings": 7, "newest_timestamp_seconds": end - 90000, "alarm_share_stated": 0.005, "alarm_share_observed": 0.006}
    for name, value in (about | {"scored": 1000, "flagged": 5}).items():
        gauge(f"nightshift_study_{name}", value, study="transfers")
    for severity, n in {"high": 1, "medium": 0, "low": 2}.items():
        gauge("nightshift_incidents_open", n, severity=severity)
    gauge("nightshift_incidents_silenced", 1)
    gauge("nightshift_incidents_left_out", 0)
    gauge("nightshift_incident_open", 1, incident="20260131-0a1b", severity="high", site="A", study="transfers", kind="slow_site", entity="A")
    live = {"looked_timestamp_seconds": end - 10, "look_duration_seconds": 1.2, "step_seconds": 15}
    for name, value in live.items():
        gauge(f"nightshift_live_{name}", value, stream="telemetry")
    counter("nightshift_live_scored", 4, stream="telemetry")
    counter("nightshift_live_flagged", 0.01, stream="telemetry")
    gauge("nightshift_live_findings", 1, stream="telemetry", kind="memleak")
    gauge("nightshift_live_node_score", 9, node="g01")
    gauge("nightshift_live_node_alarm", 1, node="g01", diagnosis="memleak")


def openmetrics(end):
    """The text of all series, the last sample of each at `end`, seconds since 1970."""
    for samples in (GAUGES, COUNTERS):
        samples.clear()
    for node, busy in zip(NODES, (0.9, 0.5, 0.1), strict=True):
        of_node(node, busy)
    of_gpu("g01", "0", 8, hpc_job="4711")
    of_gpu("g02", "0", 96, hpc_job="4711")
    of_gpu("g02", "1", 1, hpc_job="4712")
    of_training("slow", "g01", 2, 0.8, 2.5)
    of_training("fast", "g02", 20, 0.02, 0.5)
    for node, user, job in (("g01", "u001", "4711"), ("g02", "u001", "4711"), ("g02", "u002", "4712")):
        gauge("nightshift_job_info", 1, node=node, hpc_job=job, user=user, account="physics")
    smi = {"utilization_gpu_ratio": 0.5, "memory_used_bytes": 1e9, "memory_total_bytes": 8e9, "power_draw_watts": 120, "temperature_gpu": 50}
    smi |= {"clocks_current_sm_clock_hz": 2e9, "clocks_event_reasons_sw_power_cap": 1, "clocks_event_reasons_sw_thermal_slowdown": 0}
    for name, value in (smi | {"clocks_event_reasons_hw_thermal_slowdown": 0, "clocks_event_reasons_hw_slowdown": 0}).items():
        gauge(f"nvidia_smi_{name}", value, node="pc", uuid="c")
    of_nightshift(end)
    for run, node in (("slow", "g01"), ("fast", "g02")):
        labels = {"run": run, "node": node, "hpc_job": "4711", "user": "u001", "rank": "0"}
        gauge("nightshift_training_last_step_timestamp_seconds", end - 5, **labels)
    lines = [line for name, series in GAUGES.items() for labels, value in series for line in samples_of(name, labels, end, value, 0)]
    lines += [line for name, series in COUNTERS.items() for labels, rate in series for line in samples_of(name, labels, end, SINCE, rate)]
    return "\n".join([*lines, "# EOF\n"])


def samples_of(name, labels, end, value, rate):
    """Lines of one series, which has `value` at its beginning."""
    text = ",".join(f'{key}="{label}"' for key, label in labels.items())
    return [f"{name}{{{text}}} {value + rate * at:.4f} {end - MINUTES * 60 + at}" for at in range(0, MINUTES * 60 + 1, STEP_S)]
