#!/bin/sh
# Prolog of Slurm on each node of a job: which GPUs it holds, for the DCGM exporter, and whose it is, for the node exporter.
set -eu
trap 'exit 0' EXIT  # Slurm drains a node whose prolog fails: nothing here, a full disk say, is worth that
jobs=${MONITORING_JOBS:-/var/lib/monitoring-jobs}
texts=${MONITORING_TEXTFILES:-/var/lib/monitoring-textfiles}
file=$texts/nightshift_job-$SLURM_JOB_ID.prom
new=$(mktemp "$texts/.XXXXXXXX")  # anybody may write there: no name that somebody could have made a link of
IFS=,
for gpu in ${SLURM_JOB_GPUS:-}; do
  printf '%s\n' "$SLURM_JOB_ID" >"$jobs/$gpu"
done
# a name on a Linux is of letters, digits and few others, none of which a label must escape
printf '# TYPE nightshift_job_info gauge\nnightshift_job_info{hpc_job="%s",user="%s",account="%s"} 1\n' \
  "$SLURM_JOB_ID" "${SLURM_JOB_USER:-}" "${SLURM_JOB_ACCOUNT:-}" >"$new"
chmod 644 "$new"
mv "$new" "$file"
