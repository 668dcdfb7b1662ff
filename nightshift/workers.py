"""Where the parts of a heavy table are computed: by the processors of this machine, or by workers of Dask.

    for result in results_of([joblib.delayed(work)(part) for part in parts], jobs):
        ...

The setting `engine` says which. It reaches the steps of a night by the environment and not as a parameter,
since what they write does not depend on it. All workers read and write the same files, so they must see the
folders of this machine by the same paths. Where a worker is killed, another one computes its part again.
"""

import contextlib
import os
import re
import shlex
import sys
from pathlib import Path

LOCAL, SLURM = "local", "slurm"
ADDRESS = re.compile(r"(tcp|tls|ws|wss|ucx)://[^\s/]+:\d+")  # of a scheduler of Dask
ENGINE, COUNT = "NIGHTSHIFT_ENGINE", "NIGHTSHIFT_WORKERS"  # environment variables that hold the settings
PROFILE = Path(__file__).resolve().parents[1] / "deploy/slurm/profile"  # steps as jobs, for Snakemake
PATIENCE_S = 600  # for the first worker: queues of clusters are seldom empty
LOGS = ".snakemake/slurm_logs"  # of workers, beside those of steps
MEMORY = "4 GiB"  # of a worker, unless Dask's own configuration sets `jobqueue.slurm.memory`


def is_engine(text):
    """Whether `text` names an engine: local, slurm, or the address of a scheduler."""
    return text in (LOCAL, SLURM) or bool(ADDRESS.fullmatch(text))


def choose(engine, count):
    """Let all steps that this process starts use an `engine`, with `count` workers where it starts these.

    With the engine slurm, the steps themselves become jobs of Slurm, unless SNAKEMAKE_PROFILE is set.
    """
    os.environ |= {ENGINE: engine, COUNT: str(count)}
    if engine == SLURM:
        os.environ.setdefault("SNAKEMAKE_PROFILE", str(PROFILE))


def results_of(calls, jobs, *, patience_s=PATIENCE_S):
    """Run `calls`, as joblib.delayed makes them, on the engine, and yield their results in their order, each
    as soon as it is there.

    jobs : processes on this machine, -1 for one per processor; with 1, this process does all of it, whatever
    the engine. Raises the first error of a call, and TimeoutError of one line where no scheduler can be
    reached or no worker has started after `patience_s` seconds.
    """
    engine = os.environ.get(ENGINE, LOCAL)
    if engine == LOCAL or jobs == 1:
        import joblib  # a third of a second, which only callers of this should wait for

        yield from joblib.Parallel(n_jobs=jobs, return_as="generator")(calls)
        return
    with contextlib.ExitStack() as stack:
        client = connect(engine, stack, patience_s)
        waiting = [client.submit(work, *values, pure=False, **named) for work, values, named in calls]
        while waiting:  # popped, so that the scheduler may forget each result once it has been yielded
            yield waiting.pop(0).result()


def connect(engine, stack, patience_s):
    """Connect to Dask and wait for a first worker: its client, which the ExitStack `stack` closes together
    with the cluster that this process started, if any.
    """
    from distributed import Client  # half a second

    address = stack.enter_context(slurm_cluster()) if engine == SLURM else engine
    try:
        client = stack.enter_context(Client(address, timeout=min(patience_s, 30), set_as_default=False))
    except OSError:
        raise TimeoutError(f"no scheduler of Dask answers at {engine}") from None
    try:
        client.wait_for_workers(1, timeout=patience_s)
    except TimeoutError:
        what = "Slurm has started no worker: see squeue" if engine == SLURM else f"{engine} has no worker"
        raise TimeoutError(f"after {patience_s:g} s {what}") from None
    return client


def slurm_cluster():
    """Start a scheduler of Dask in this process, and its workers in the queue of Slurm, with this Python and
    this working folder; what Dask's configuration says under `jobqueue.slurm` overrides what is set here.
    """
    import dask
    import dask_jobqueue  # which reads its defaults into Dask's configuration

    settings = {"cores": 1, "memory": MEMORY, "processes": 1, "walltime": "02:00:00", "log-directory": LOGS}
    chosen = {
        name: dask.config.get(f"jobqueue.slurm.{name}", None) or value for name, value in settings.items()
    }
    paths = os.pathsep.join(filter(None, (os.getcwd(), os.environ.get("PYTHONPATH"))))
    prologue = [
        f"cd {shlex.quote(os.getcwd())}",
        f"export PYTHONPATH={shlex.quote(paths)} NUMBA_NUM_THREADS={chosen['cores']}",
        *(dask.config.get("jobqueue.slurm.job-script-prologue", None) or []),
    ]
    chosen = {name.replace("-", "_"): value for name, value in chosen.items()}
    cluster = dask_jobqueue.SLURMCluster(python=sys.executable, job_script_prologue=prologue, **chosen)
    cluster.scale(jobs=int(os.environ.get(COUNT, 2)))
    return cluster
