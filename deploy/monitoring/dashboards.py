"""What the dashboards show: per panel its queries, as data. `generate.py` makes Grafana's JSON of it; tests parse each query and ask a
Prometheus.

All series have a label `node`, which the configurations prometheus-*.yml give them. Of a quantity of GPUs whichever exporter there is
answers: NVIDIA's DCGM exporter, or nvidia_gpu_exporter on a PC.
"""

from dataclasses import dataclass, field

NODE, JOB, RUN = 'node=~"$node"', 'hpc_job=~"$job"', 'run=~"$run"'
IDLE, NOT_IDLE, WIRED = 'mode="idle"', 'mode!="idle"', 'device!="lo"'


@dataclass(frozen=True)
class Panel:
    """One panel: queries are (PromQL, legend) pairs; the unit is one of Grafana's; kind is timeseries, stat, table or bargauge."""

    title: str
    queries: tuple
    unit: str = "short"
    kind: str = "timeseries"
    about: str = ""
    stacked: bool = False
    top: float | None = None  # of the axis


@dataclass(frozen=True)
class Dashboard:
    """One dashboard: variables are (name, query) pairs, rows {title: panels}."""

    uid: str
    title: str
    about: str
    rows: dict
    variables: tuple = ()
    tags: tuple = field(default=("nightshift",))


def panel(title, *queries, **more):
    """A Panel of queries in the order of their legends: panel("load", ("node_load1", "{{node}}"))."""
    return Panel(title, queries, **more)


def rate(metric, *selectors):
    """PromQL for how fast a counter grows, a second."""
    chosen = ",".join(filter(None, selectors))
    return f"rate({metric}{{{chosen}}}[$__rate_interval])" if chosen else f"rate({metric}[$__rate_interval])"


def utilisation(selector):
    """PromQL for the utilisation of GPUs, %."""
    return f"(DCGM_FI_DEV_GPU_UTIL{{{selector}}} or 100 * nvidia_smi_utilization_gpu_ratio{{{selector}}})"


def memory_used(selector):
    """PromQL for the memory of GPUs that is used, bytes; DCGM has MiB."""
    return f"(1048576 * DCGM_FI_DEV_FB_USED{{{selector}}} or nvidia_smi_memory_used_bytes{{{selector}}})"


def power(selector):
    """PromQL for the power that GPUs draw, W; DCGM writes a number of 15 or more digits where it knows none."""
    return f"(DCGM_FI_DEV_POWER_USAGE{{{selector}}} < 10000 or nvidia_smi_power_draw_watts{{{selector}}})"


def slowed(bit, reason):
    """PromQL for 1 where the clocks of a GPU are lowered for a reason, a bit of DCGM's mask, and 0 elsewhere."""
    mask = f"DCGM_FI_DEV_CLOCKS_EVENT_REASONS{{{NODE}}}"
    return f"floor({mask} / {bit}) % 2 or nvidia_smi_clocks_event_reasons_{reason}{{{NODE}}}"


def waiting(selector):
    """PromQL for the share of the time that trainings wait for their data."""
    return rate("nightshift_training_loader_wait_seconds_total", selector)


def quantile_of_steps(q):
    """PromQL for a quantile of the durations of steps, s."""
    return f"histogram_quantile({q}, sum by (run, le) ({rate('nightshift_training_step_seconds_bucket', RUN)}))"


BUSY = f"1 - avg by (node) ({rate('node_cpu_seconds_total', IDLE, NODE)})"
AVAILABLE = f"node_memory_MemAvailable_bytes{{{NODE}}} / node_memory_MemTotal_bytes{{{NODE}}}"
OF_GPU, OF_RUN = "{{node}} gpu {{gpu}}{{uuid}}", "{{run}} rank {{rank}}"
REAL = 'fstype!~"tmpfs|overlay|ramfs|squashfs"'
NODES = ("node", "label_values(node_uname_info, node)")
JOBS = (("user", "label_values(nightshift_job_info, user)"), ("job", 'label_values(nightshift_job_info{user=~"$user"}, hpc_job)'))
RUNS = ("run", "label_values(nightshift_training_steps_total, run)")

OVERVIEW = Dashboard(
    "nightshift-overview",
    "Overview",
    "Whether all is well, and where to look.",
    {
        "Now": (
            panel("Targets that answer", ("sum(up)", "answer"), ("count(up)", "all"), kind="stat"),
            panel("Alerts that fire", ('sum(ALERTS{alertstate="firing"}) or vector(0)', "alerts"), kind="stat"),
            panel("Open incidents", ("sum by (severity) (nightshift_incidents_open)", "{{severity}}"), kind="stat"),
            panel("Age of the last night", ("time() - nightshift_night_ended_timestamp_seconds", "age"), unit="s", kind="stat"),
            panel("GPUs", (f"count({utilisation('')})", "GPUs"), kind="stat"),
            panel("Mean utilisation of GPUs", (f"avg({utilisation('')})", "mean"), unit="percent", kind="stat", top=100),
        ),
        "Alerts": (panel("Firing", ('ALERTS{alertstate="firing"}', "{{alertname}}"), kind="table"),),
        "Nodes and GPUs": (
            panel(
                "Busiest processors",
                (f"topk(10, 1 - avg by (node) ({rate('node_cpu_seconds_total', IDLE)}))", "{{node}}"),
                unit="percentunit",
                top=1,
            ),
            panel(
                "Least memory that is left",
                ("bottomk(10, node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)", "{{node}}"),
                unit="percentunit",
                top=1,
            ),
            panel("Utilisation of GPUs", (f"avg by (node) ({utilisation('')})", "{{node}}"), unit="percent", top=100),
            panel("Trainings that wait most for data", (f"topk(10, {waiting('')})", OF_RUN), unit="percentunit", top=1),
        ),
    },
)

OF_NODES = Dashboard(
    "nightshift-node",
    "Node",
    "Processors, memory and pressure of nodes.",
    {
        "Processors": (
            panel("Busy", (BUSY, "{{node}}"), unit="percentunit", top=1),
            panel(
                "By mode",
                (f"avg by (node, mode) ({rate('node_cpu_seconds_total', NOT_IDLE, NODE)})", "{{node}} {{mode}}"),
                unit="percentunit",
                stacked=True,
                top=1,
            ),
            panel(
                "Load per processor", (f'node_load1{{{NODE}}} / on (node) count by (node) (node_cpu_seconds_total{{mode="idle",{NODE}}})', "{{node}}")
            ),
            panel(
                "Waiting for processors, memory, disks",
                (rate("node_pressure_cpu_waiting_seconds_total", NODE), "{{node}} processors"),
                (rate("node_pressure_memory_waiting_seconds_total", NODE), "{{node}} memory"),
                (rate("node_pressure_io_waiting_seconds_total", NODE), "{{node}} disks"),
                unit="percentunit",
                about="Share of the time in which some process waits (pressure stall information of Linux).",
            ),
        ),
        "Memory": (
            panel("Left", (AVAILABLE, "{{node}}"), unit="percentunit", top=1),
            panel(
                "Used and cached",
                (f"node_memory_MemTotal_bytes{{{NODE}}} - node_memory_MemAvailable_bytes{{{NODE}}}", "{{node}} used"),
                (f"node_memory_Cached_bytes{{{NODE}}}", "{{node}} cached"),
                unit="bytes",
            ),
            panel("Major page faults", (rate("node_vmstat_pgmajfault", NODE), "{{node}}"), unit="ops"),
            panel("Killed for want of memory", (f"increase(node_vmstat_oom_kill{{{NODE}}}[1h])", "{{node}}"), about="Processes in the last hour."),
        ),
        "System": (
            panel("Processes", (f"node_procs_running{{{NODE}}}", "{{node}} run"), (f"node_procs_blocked{{{NODE}}}", "{{node}} blocked")),
            panel("Open files", (f"node_filefd_allocated{{{NODE}}} / node_filefd_maximum{{{NODE}}}", "{{node}}"), unit="percentunit"),
            panel("Running since", (f"node_time_seconds{{{NODE}}} - node_boot_time_seconds{{{NODE}}}", "{{node}}"), unit="s"),
            panel("Score by Nightshift", (f"nightshift_live_node_score{{{NODE}}}", "{{node}}"), about="Higher is stranger, see docs/live.md."),
        ),
    },
    (NODES,),
)

OF_GPUS = Dashboard(
    "nightshift-gpu",
    "GPU",
    "What GPUs do, draw and suffer.",
    {
        "Use": (
            panel(
                "Utilisation",
                (utilisation(NODE), OF_GPU),
                unit="percent",
                top=100,
                about="Share of the time in which any kernel runs, however small.",
            ),
            panel("Memory", (memory_used(NODE), OF_GPU), unit="bytes"),
            panel("Power", (power(NODE), OF_GPU), unit="watt"),
            panel("Temperature", (f"DCGM_FI_DEV_GPU_TEMP{{{NODE}}} or nvidia_smi_temperature_gpu{{{NODE}}}", OF_GPU), unit="celsius"),
        ),
        "Clocks": (
            panel(
                "Clock of the processors",
                (f"1e6 * DCGM_FI_DEV_SM_CLOCK{{{NODE}}} or nvidia_smi_clocks_current_sm_clock_hz{{{NODE}}}", OF_GPU),
                unit="hertz",
            ),
            panel("Slowed by the limit of power", (slowed(4, "sw_power_cap"), OF_GPU), top=1),
            panel("Slowed by heat", (slowed(32, "sw_thermal_slowdown"), OF_GPU), (slowed(64, "hw_thermal_slowdown"), OF_GPU + " (hardware)"), top=1),
            panel(
                "Slowed by the hardware", (slowed(8, "hw_slowdown"), OF_GPU), top=1, about="Heat, too little power, or a power brake of the server."
            ),
        ),
        "Faults": (
            panel(
                "Last Xid",
                (f"DCGM_FI_DEV_XID_ERRORS{{{NODE}}} > 0", OF_GPU + " {{err_msg}}"),
                kind="table",
                about="The number of the last fault that the driver reported; 0 is none. nvidia_gpu_exporter has none.",
            ),
            panel("Errors of memory that could not be corrected", (f"increase(DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{{{NODE}}}[1h])", OF_GPU)),
            panel("Errors of memory that were corrected", (f"increase(DCGM_FI_DEV_ECC_SBE_VOL_TOTAL{{{NODE}}}[1h])", OF_GPU)),
            panel(
                "Remapped rows",
                (f"DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS{{{NODE}}}", OF_GPU),
                (f"DCGM_FI_DEV_ROW_REMAP_FAILURE{{{NODE}}}", OF_GPU + " failed"),
            ),
        ),
    },
    (NODES,),
)

ON_NODES = f"* on (node) group_left () max by (node) (nightshift_job_info{{{JOB}}})"  # of jobs that are chosen
OF_JOBS = Dashboard(
    "nightshift-job",
    "Job",
    "What a job of Slurm holds and uses. On a node that several jobs share, the figures of nodes are those of all of them.",
    {
        "Job": (
            panel("Jobs", (f"nightshift_job_info{{{JOB}}}", "{{hpc_job}} of {{user}} on {{node}}"), kind="table"),
            panel("GPUs held", (f"count by (hpc_job) (DCGM_FI_DEV_GPU_UTIL{{{JOB}}})", "{{hpc_job}}"), kind="stat"),
            panel("Mean utilisation of its GPUs", (f"avg by (hpc_job) (DCGM_FI_DEV_GPU_UTIL{{{JOB}}})", "{{hpc_job}}"), unit="percent", kind="stat"),
            panel("Power of its GPUs", (f"sum by (hpc_job) (DCGM_FI_DEV_POWER_USAGE{{{JOB}}} < 10000)", "{{hpc_job}}"), unit="watt", kind="stat"),
        ),
        "GPUs": (
            panel("Utilisation", (f"DCGM_FI_DEV_GPU_UTIL{{{JOB}}}", OF_GPU), unit="percent", top=100),
            panel("Memory", (f"1048576 * DCGM_FI_DEV_FB_USED{{{JOB}}}", OF_GPU), unit="bytes"),
        ),
        "Nodes": (
            panel(
                "Processors",
                (f"(1 - avg by (node) ({rate('node_cpu_seconds_total', IDLE)})) {ON_NODES}", "{{node}}"),
                unit="percentunit",
                top=1,
            ),
            panel("Memory used", (f"(node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes) {ON_NODES}", "{{node}}"), unit="bytes"),
            panel(
                "Received from the network",
                (f"sum by (node) ({rate('node_network_receive_bytes_total', WIRED)}) {ON_NODES}", "{{node}}"),
                unit="Bps",
            ),
            panel("In alarm by Nightshift", (f"nightshift_live_node_alarm {ON_NODES}", "{{node}}: {{diagnosis}}"), kind="table"),
        ),
    },
    JOBS,
)

OF_TRAININGS = Dashboard(
    "nightshift-training",
    "Training",
    "Whether a training waits for its data, and what that costs. Trainings report by nightshift.live.watch_training, see docs/live.md.",
    {
        "What holds it up": (
            panel("Waits for its data", (waiting(RUN), OF_RUN), unit="percentunit", top=1),
            panel(
                "Utilisation of its GPUs",
                (
                    f"avg by (node, hpc_job) (DCGM_FI_DEV_GPU_UTIL) * on (node, hpc_job) group_right () max by (node, hpc_job, run) "
                    f"(nightshift_training_steps_total{{{RUN}}} > bool -1)",
                    "{{run}} on {{node}}",
                ),
                unit="percent",
                top=100,
            ),
            panel(
                "Loader stalls",
                (f"training:nightshift_loader_stalls:bool{{{RUN}}}", OF_RUN),
                top=1,
                about="1 where a training waits more than half of the time for its data and its GPUs compute less than half of it.",
            ),
            panel(
                "GPUs that nothing uses",
                ("gpu:nightshift_idle:bool", OF_GPU),
                top=1,
                about="1 where a GPU computes at most 5% of the time, and no training of its job waits for data.",
            ),
        ),
        "Steps": (
            panel("Duration of a step", *((quantile_of_steps(q), f"{{{{run}}}} {name}") for q, name in ((0.5, "median"), (0.99, "99%"))), unit="s"),
            panel("Samples per second", (f"sum by (run) ({rate('nightshift_training_samples_total', RUN)})", "{{run}}"), unit="ops"),
            panel("Steps per second", (rate("nightshift_training_steps_total", RUN), OF_RUN), unit="ops"),
            panel("Time since the last step", (f"time() - nightshift_training_last_step_timestamp_seconds{{{RUN}}}", OF_RUN), unit="s"),
        ),
        "Progress": (
            panel("Loss", (f"nightshift_training_loss{{{RUN}}}", OF_RUN)),
            panel("Epochs", (f"nightshift_training_epoch{{{RUN}}}", OF_RUN)),
        ),
    },
    (RUNS,),
)

OF_STORAGE = Dashboard(
    "nightshift-storage",
    "Storage and network",
    "Disks, file systems and interfaces.",
    {
        "Disks": (
            panel("Read", (rate("node_disk_read_bytes_total", NODE), "{{node}} {{device}}"), unit="Bps"),
            panel("Written", (rate("node_disk_written_bytes_total", NODE), "{{node}} {{device}}"), unit="Bps"),
            panel("Busy", (rate("node_disk_io_time_seconds_total", NODE), "{{node}} {{device}}"), unit="percentunit", top=1),
            panel(
                "Time of a read",
                (
                    f"{rate('node_disk_read_time_seconds_total', NODE)} / ({rate('node_disk_reads_completed_total', NODE)} > 0)",
                    "{{node}} {{device}}",
                ),
                unit="s",
            ),
        ),
        "File systems": (
            panel(
                "Full",
                (f"1 - node_filesystem_avail_bytes{{{REAL},{NODE}}} / node_filesystem_size_bytes{{{REAL},{NODE}}}", "{{node}} {{mountpoint}}"),
                unit="percentunit",
                kind="bargauge",
                top=1,
            ),
            panel(
                "Full in, at the rate of the last six hours",
                (
                    f"node_filesystem_avail_bytes{{{REAL},{NODE}}} / -(deriv(node_filesystem_avail_bytes{{{REAL},{NODE}}}[6h]) < 0)",
                    "{{node}} {{mountpoint}}",
                ),
                unit="s",
            ),
            panel(
                "Inodes used",
                (f"1 - node_filesystem_files_free{{{REAL},{NODE}}} / (node_filesystem_files{{{REAL},{NODE}}} > 0)", "{{node}} {{mountpoint}}"),
                unit="percentunit",
                top=1,
            ),
            panel("Calls to NFS", (f"sum by (node, method) ({rate('node_nfs_requests_total', NODE)})", "{{node}} {{method}}"), unit="ops"),
        ),
        "Network": (
            panel("Received", (rate("node_network_receive_bytes_total", WIRED, NODE), "{{node}} {{device}}"), unit="Bps"),
            panel("Sent", (rate("node_network_transmit_bytes_total", WIRED, NODE), "{{node}} {{device}}"), unit="Bps"),
            panel(
                "Errors and drops",
                (rate("node_network_receive_errs_total", WIRED, NODE), "{{node}} {{device}} errors"),
                (rate("node_network_receive_drop_total", WIRED, NODE), "{{node}} {{device}} drops"),
                unit="pps",
            ),
            panel("TCP segments sent again", (rate("node_netstat_Tcp_RetransSegs", NODE), "{{node}}"), unit="pps"),
            panel(
                "InfiniBand",
                (rate("node_infiniband_port_data_received_bytes_total", NODE), "{{node}} {{device}} received"),
                (rate("node_infiniband_port_data_transmitted_bytes_total", NODE), "{{node}} {{device}} sent"),
                unit="Bps",
            ),
        ),
    },
    (NODES,),
)

OF_NIGHTSHIFT = Dashboard(
    "nightshift-own",
    "Nightshift",
    "What the nights and the streams do, and whether they say what they state.",
    {
        "Nights": (
            panel("Age of the last night", ("nightshift:night_age:seconds", "age"), unit="s", kind="stat"),
            panel("Time of its steps", ("nightshift_night_duration_seconds", "all steps"), unit="s", kind="stat"),
            panel("Studies", ("nightshift_night_studies", "{{state}}"), kind="stat"),
            panel("Studies that failed", ("sum(nightshift_study_failed)", "failed"), kind="stat"),
        ),
        "Studies": (
            panel("Findings", ("nightshift_study_findings", "{{study}}")),
            panel("Age of the newest row", ("study:nightshift_data_age:seconds", "{{study}}"), unit="s"),
            panel("Alarms, observed to stated", ("study:nightshift_alarm_excess:ratio", "{{study}}"), about="1 is as stated."),
            panel("Items flagged", ("nightshift_study_flagged / (nightshift_study_scored > 0)", "{{study}}"), unit="percentunit"),
        ),
        "Incidents": (
            panel("Open", ("nightshift_incidents_open", "{{severity}}"), stacked=True),
            panel("Silenced, and without a series", ("nightshift_incidents_silenced", "silenced"), ("nightshift_incidents_left_out", "left out")),
            panel("Each", ("nightshift_incident_open == 1", "{{incident}}"), kind="table"),
        ),
        "Streams": (
            panel("Since the last look", ("time() - nightshift_live_looked_timestamp_seconds", "{{stream}}"), unit="s"),
            panel("Share of its step that a look takes", ("stream:nightshift_live_look_load:ratio", "{{stream}}"), unit="percentunit"),
            panel("Items scored", (rate("nightshift_live_scored"), "{{stream}}"), unit="ops"),
            panel("Findings that go on", ("nightshift_live_findings", "{{stream}} {{kind}}")),
            panel("Strangest nodes", ("topk(10, nightshift_live_node_score)", "{{node}}")),
            panel("Nodes in alarm", ("nightshift_live_node_alarm", "{{node}}: {{diagnosis}}"), kind="table"),
        ),
    },
)

DASHBOARDS = (OVERVIEW, OF_NODES, OF_GPUS, OF_JOBS, OF_TRAININGS, OF_STORAGE, OF_NIGHTSHIFT)
