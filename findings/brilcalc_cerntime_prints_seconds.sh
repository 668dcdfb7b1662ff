#!/usr/bin/env bash
# brilcalc (brilws 3.9.4) offers --cerntime, "Show time in CERN local time", and prints seconds since 1970 instead, as --tssec does: it asks dateutil for the
# zone "CEST", an abbreviation that is none, and takes the None that it gets for the wish to have seconds. Whoever reads its CSV with a fixed form of times
# finds none; whoever expects local times of a column of seconds is one or two hours off. Default times are UTC, and safe.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq brilws==3.9.4 docopt==0.6.2 sqlalchemy==1.3.24 schema==0.7.8 prettytable==3.18.0 \
  numpy==2.4.6 pandas==3.1.1 pyyaml==6.0.3 pytz==2026.6 tables==3.11.1 python-dateutil==4.0.0; } || { echo "cannot install brilws 3.9.4"; exit 2; }
cat >"$work/run.py" <<'P'
import sys, types
import sqlalchemy.dialects.oracle as oracle
oracle.frontier = sys.modules["sqlalchemy.dialects.oracle.frontier"] = types.ModuleType("frontier")  # CERN's own, for the database alone
import brilws.cli.brilcalc_main
from brilws import api
main = sys.modules["brilws.cli.brilcalc_main"]
# what the database would answer: one lumisection of 31 January 2026, 10:00:23 UTC
row = {"fillnum": 9001, "runnum": 400123, "lsnum": 1, "timestampsec": 1769853623, "cmson": True, "beamstatusid": 11, "targetegev": 6800}
main.create_engine, main.findtagname = lambda *a, **k: None, lambda *a: ("tag", 1)
api.locate_shards, api.table_exists = lambda *a, **k: [1], lambda *a, **k: True
api.online_resultIter = lambda *a, **k: iter([{**row, "delivered": 100.0, "recorded": 90.0, "avgpu": 40.0, "datasource": "HFET"}])
sys.argv = ["brilcalc", "lumi", "--byls", "-r", "400123", "--output-style", "csv", *sys.argv[1:]]
main.brilcalc_main()
P
time_of() { "$work/venv/bin/python" "$work/run.py" "$@" | grep ^400123 | cut -d, -f3; }
plain=$(time_of) local=$(time_of --cerntime) seconds=$(time_of --tssec)
echo "brilws $("$work/venv/bin/python" -c 'from importlib.metadata import version; print(version("brilws"))')"
echo "brilcalc lumi --byls             $plain"
echo "brilcalc lumi --byls --cerntime  $local"
echo "brilcalc lumi --byls --tssec     $seconds"
[[ $plain == "01/31/26 10:00:23" && $local == 1769853623 && $seconds == "$local" ]]
