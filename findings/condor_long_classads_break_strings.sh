#!/usr/bin/env bash
# The long form of ClassAds, that of condor_history -long and of the history files of a schedd, has one attribute a line, and an empty line between
# jobs. HTCondor 25.14.1 escapes quotes in it and neither line breaks nor backslashes: a string with a line break, in Environment say, goes on in the
# next line, one with an empty line seems to end its job, and whether a backslash before the last quote belongs to the text cannot be told. JSON (-json)
# has none of this.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq htcondor==25.14.1; } ||
  { echo "cannot install htcondor 25.14.1"; exit 2; }
seen=$("$work/venv/bin/python" - <<'P'
import classad2
import htcondor2
print(htcondor2.version())
job = classad2.ClassAd({"ClusterId": 21, "Environment": 'A=1\nB="2"\n\nC=\\'})
print(job.printOld())
print(job.printJson())
P
)
echo "$seen"
[[ $seen == *$'Environment = "A=1\nB=\\"2\\"\n\nC=\\"\n'* && $seen == *'"Environment": "A=1\nB=\"2\"\n\nC=\\"'* ]]
