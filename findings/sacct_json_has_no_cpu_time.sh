#!/usr/bin/env bash
# Slurm 22.05: `sacct --json` says that a job used no CPU time, where the table of the same sacct says how much.
# The table adds up the steps of a job into TotalCPU; JSON writes the seconds of the job itself, which nobody has ever filled, beside steps that have
# theirs. Whoever reads time.total of the job finds an efficiency of 0%; the steps have to be added up. With SLURM_TIME_FORMAT=%s, which tables need
# for times without zone, the same --json ends without a job: it prints its own default begin in that form and cannot read it back.
# `sacct -X`, jobs without their steps, prints a TotalCPU of 0 as well, in the table: the sum of steps that it has not read.
# Slurm 24.11.5 (Debian 13) fills the job. Needs Debian's slurm-wlm, slurmdbd, munge and mariadb-server; exits with 1 when JSON says what the table says.
set -eu
version=22.05.8-4+deb12u3
export PATH=/usr/sbin:$PATH
{ command -v munged && command -v mariadbd; } >/dev/null || { echo "apt-get install munge mariadb-server first"; exit 2; }
for package in slurm-wlm slurmdbd slurm-client; do
    [ "$(dpkg-query -W -f '${Version}' $package 2>/dev/null)" = $version ] || { echo "apt-get install $package=$version first"; exit 2; }
done
export folder host user
folder=$(mktemp -d /tmp/f-XXXXXX) host=$(hostname -s) user=$(id -un)
chmod 755 "$folder"
stop() { kill $(jobs -p) 2>/dev/null; wait 2>/dev/null; rm -rf "$folder"; }
trap stop EXIT
read -r sql dbd ctld slurmd < <(python3 -c 'import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*(one.getsockname()[1] for one in sockets))')
head -c 128 /dev/urandom >"$folder/key" && mkdir "$folder/state" "$folder/spool" && chmod 600 "$folder/key"
cat >"$folder/slurmdbd.conf" <<C
AuthType=auth/munge
AuthInfo=socket=$folder/munge
DbdHost=$host
DbdAddr=127.0.0.1
DbdPort=$dbd
SlurmUser=$user
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$sql
StorageUser=root
PidFile=$folder/dbd.pid
C
cat >"$folder/slurm.conf" <<C
ClusterName=toy
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
SlurmctldPort=$ctld
SlurmdPort=$slurmd
AuthType=auth/munge
AuthInfo=socket=$folder/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/ctld.pid
SlurmdPidFile=$folder/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$dbd
AccountingStoragePass=$folder/munge
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES State=UP
C
chmod 600 "$folder/slurmdbd.conf"
export SLURM_CONF=$folder/slurm.conf
until_done() { for _ in $(seq 60); do "$@" >/dev/null 2>&1 && return; sleep 1; done; echo "not done: $*"; exit 2; }
idle() { sinfo -h -o %T | grep -qx idle; }
ended() { sacct -nPX -j 1 -o State | grep -qx COMPLETED; }
{
    munged --foreground --force --key-file="$folder/key" --socket="$folder/munge" --pid-file="$folder/m.pid" --log-file="$folder/m.log" --seed-file="$folder/seed" &
    mariadb-install-db --no-defaults --user="$user" --datadir="$folder/sql" --auth-root-authentication-method=normal
    mariadbd --no-defaults --user="$user" --datadir="$folder/sql" --socket="$folder/sock" --port="$sql" --bind-address=127.0.0.1 --skip-grant-tables &
} >/dev/null 2>&1
until_done mariadb --no-defaults --socket="$folder/sock" -e 'CREATE DATABASE IF NOT EXISTS slurm_acct_db'
slurmdbd -D >/dev/null 2>&1 & until_done sacctmgr -n show cluster
sacctmgr -iQ add cluster toy >/dev/null
slurmctld -D -c >/dev/null 2>&1 & until_done scontrol ping
slurmd -D >/dev/null 2>&1 & until_done idle
sbatch --parsable --output=/dev/null --chdir=/ --wrap="python3 -c 'for _ in range(20_000_000): pass'" >/dev/null
until_done ended
sacct --version
table=$(sacct -nP -o TotalCPU -j 1 | head -n 1)
alone=$(sacct -nPX -o TotalCPU -j 1)
sacct --json -j 1 >"$folder/job.json"
SLURM_TIME_FORMAT=%s sacct --json >"$folder/none.json" 2>/dev/null || true
python3 - "$table" "$alone" "$folder" <<'P'
import json
import sys

table, alone, folder = sys.argv[1:]
job = json.load(open(f"{folder}/job.json"))["jobs"][0]
none = json.load(open(f"{folder}/none.json"))
steps = [step["time"]["total"] for step in job["steps"]]
print("TotalCPU of the table:", table, "with -X:", alone)
print("JSON, the job:", job["time"]["total"], "its steps:", steps)
print("JSON with SLURM_TIME_FORMAT=%s:", none["errors"] or f"{len(none['jobs'])} jobs")
spent = any(step["seconds"] or step["microseconds"] for step in steps)
sys.exit(not (job["time"]["total"] == {"seconds": 0, "microseconds": 0} and spent and none["errors"] and table.strip("0:.") and not alone.strip("0:.")))
P
