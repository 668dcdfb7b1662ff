#!/bin/sh
# Epilog of Slurm on each node of a job: takes back what prolog.sh wrote, so that its GPUs count as free.
set -eu
trap 'exit 0' EXIT  # Slurm drains a node whose epilog fails
rm -f "${MONITORING_TEXTFILES:-/var/lib/monitoring-textfiles}/nightshift_job-$SLURM_JOB_ID.prom"
IFS=,
for gpu in ${SLURM_JOB_GPUS:-}; do
  : >"${MONITORING_JOBS:-/var/lib/monitoring-jobs}/$gpu"
done
