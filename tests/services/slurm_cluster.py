"""A private one-node Slurm with slurmdbd, MariaDB and munge, for tests: all on loopback, all as the user who runs it, stopped by process id.

No service of the machine is touched and nothing is written outside the given folder: clients find the cluster by SLURM_CONF.
"""

import os
import pwd
import secrets
import socket
import subprocess
from contextlib import ExitStack, contextmanager

import mariadb_server
from daemons import PATH, free_ports, lacking, running, wait_until

PROGRAMS = ["munged", "slurmdbd", "slurmctld", "slurmd", "sacctmgr", "scontrol", "sbatch", "sacct"]

SLURMDBD_CONF = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={dbd_port}
SlurmUser={user}
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
"""

# linuxproc and no task plugin: neither cgroups nor systemd are needed. Many CPUs: the jobs of a test shall not queue.
SLURM_CONF = """
ClusterName={cluster}
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd_port}
AccountingStoragePass={folder}/munge.sock
AccountingStorageEnforce=associations
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=8000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=600 State=UP
"""


def missing():
    """Programs that a cluster needs and this machine lacks."""
    return lacking([*PROGRAMS, *mariadb_server.PROGRAMS])


@contextmanager
def cluster(folder, accounts, *, name="toy"):
    """Run a cluster in `folder` (short: sockets have long names) whose user may charge `accounts`; yields the environment for its clients.

    Takes about five seconds. RuntimeError with the last words of the logs when a daemon does not come up.
    """
    user, (ctld, slurmd, dbd, sql) = pwd.getpwuid(os.getuid()).pw_name, free_ports(4)
    words = {"folder": folder, "host": socket.gethostname().split(".")[0], "user": user, "cluster": name, "password": secrets.token_hex(12)}
    words |= {"ctld_port": ctld, "slurmd_port": slurmd, "dbd_port": dbd, "sql_port": sql}
    env = {**os.environ, "PATH": PATH, "SLURM_CONF": f"{folder}/slurm.conf"}
    for path, text in (("slurmdbd.conf", SLURMDBD_CONF), ("slurm.conf", SLURM_CONF)):
        (folder / path).write_text(text.format(**words))
        (folder / path).chmod(0o600)  # slurmdbd refuses a readable password
    for path in ("state", "spool"):
        (folder / path).mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o600)
    folder.chmod(0o755)  # munged wants its socket to be reachable

    def done(*command):
        return subprocess.run(command, env=env, capture_output=True, timeout=20).returncode == 0

    def start(*command, ready):
        """Start a daemon, to be stopped when the cluster is, and wait until the command `ready` ends well."""
        daemons.enter_context(running(command, folder, ready=lambda: done(*ready), env=env))

    sock = f"{folder}/munge.sock"
    with ExitStack() as daemons:
        munge = [f"--{option}={folder}/munge.{end}" for option, end in (("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed"))]
        start("munged", "--foreground", "--force", f"--key-file={folder}/munge.key", f"--socket={sock}", *munge, ready=["munge", "-S", sock, "-n"])
        server = daemons.enter_context(mariadb_server.mariadb(folder, port=sql))
        rights = f"CREATE USER slurm@127.0.0.1 IDENTIFIED BY '{words['password']}'; GRANT ALL ON slurm_acct.* TO slurm@127.0.0.1"
        server.sql(f"CREATE DATABASE slurm_acct; {rights}")
        start("slurmdbd", "-D", ready=["sacctmgr", "-n", "show", "cluster"])
        for what in (["cluster", name], ["account", ",".join(accounts)], ["user", user, f"account={','.join(accounts)}"]):
            done("sacctmgr", "-i", "add", *what)
        start("slurmctld", "-D", "-c", ready=["scontrol", "ping"])
        start("slurmd", "-D", ready=["sh", "-c", "sinfo -h -o %T | grep -qx idle"])
        try:
            yield env
        finally:  # a job that still runs would outlive its slurmd
            done("scancel", "--user", user)
            wait_until(lambda: subprocess.run(["squeue", "-h"], env=env, capture_output=True, timeout=20).stdout == b"", 10)
