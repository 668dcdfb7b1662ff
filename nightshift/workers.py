"""Where the parts of a heavy table are worked on: by the processors of this machine, or by workers of Dask.

    for result in results_of([joblib.delayed(work)(part) for part in parts], jobs):
        ...

`engine` of the configuration says which, and reaches the steps of a night by the environment, since what they
write does not depend on it. All workers read and write the same files: they see the folders of this machine
by the same paths. Of a worker that is killed, another one does the part anew.
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
MEMORY = "4 GiB"  # of a worker, unless Dask's own configuration says `jobqueue.slurm.memory`


def is_engine(text):
    """Whether `text` names an engine: local, slurm, or the address of a scheduler."""
    return text in (LOCAL, SLURM) or bool(ADDRESS.fullmatch(text))


def choose(engine, count):
    """Let all steps that this process starts use an engine, and `count` workers where it starts them.

    Steps themselves become jobs of Slurm where it is the engine, unless SNAKEMAKE_PROFILE says otherwise.
    """
    os.environ |= {ENGINE: engine, COUNT: str(count)}
    if engine == SLURM:
        os.environ.setdefault("SNAKEMAKE_PROFILE", str(PROFILE))


def results_of(calls, jobs, *, patience_s=PATIENCE_S):
    """Make `calls`, as joblib.delayed gives them, by the engine, and yield what they return, in their order,
    as soon as it is there; on this machine by `jobs` processes, -1 for one per processor. What one process
    is to do is always done by this one.

    Raises what a call raises first, and TimeoutError of one line where no scheduler can be reached or no
    worker has come after `patience_s` seconds.
    """
    engine = os.environ.get(ENGINE, LOCAL)
    if engine == LOCAL or jobs == 1:
        import joblib  # a third of a second, for which only those wait who use it

        yield from joblib.Parallel(n_jobs=jobs, return_as="generator")(calls)
        return
    with contextlib.ExitStack() as stack:
        client = connect(engine, stack, patience_s)
        waiting = [client.submit(work, *values, pure=False, **named) for work, values, named in calls]
        while waiting:  # what has been returned is forgotten
            yield waiting.pop(0).result()


def connect(engine, stack, patience_s):
    """A client of Dask with a worker at least, closed by the ExitStack `stack` together with what this
    process started.
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
    """A scheduler of Dask in this process and its workers in the queue of Slurm, with this Python and this
    working folder; what Dask's configuration says of `jobqueue.slurm` counts before what is set here.
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
