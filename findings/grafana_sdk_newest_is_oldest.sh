#!/usr/bin/env bash
# Releases of grafana-foundation-sdk are numbered EPOCH!GRAFANA, the epoch being the second at which they were built: 1769699998!10.1.0. The branches
# for all versions of Grafana are built one after the other, the oldest last, so that it has the highest epoch, and `pip install grafana-foundation-sdk`
# gives the library for Grafana 10.1 although there is one for 11.6.0 of the same day; `grafana-foundation-sdk>=11` is fulfilled by 10.1, too. Pin epoch
# and version.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq 'grafana-foundation-sdk>=11'; } ||
  { echo "cannot install grafana-foundation-sdk>=11"; exit 2; }
newest=$("$work/venv/bin/python" -c 'from importlib.metadata import version; print(version("grafana-foundation-sdk"))')
"$work/venv/bin/pip" install -qq 'grafana-foundation-sdk==1769699379!11.6.0' || { echo "cannot install grafana-foundation-sdk 1769699379!11.6.0"; exit 2; }
pinned=$("$work/venv/bin/python" -c 'from importlib.metadata import version; print(version("grafana-foundation-sdk"))')
echo "asked for at least 11: $newest; pinned: $pinned"
[[ ${newest#*!} == 10.* && $pinned == '1769699379!11.6.0' ]]
