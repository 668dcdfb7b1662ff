#!/usr/bin/env bash
# sysstat 12.6.1: the JSON of `sadf -j -T` holds local times of whoever reads, beside the name of the zone of the machine that has recorded.
# The documentation of -T says "the original locale time of the data file creator" for -t and "local time" for -T; in JSON both have "utc": 0 and the same
# "timezone", so the two cannot be told apart, and time and zone together give a wrong moment. Times without options are UTC, and safe.
# Exits with 1 when the zone is that of the times.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -q sysstat=12.6.1-1 libsensors5=1:3.6.0-7.1 >/dev/null 2>&1 || { echo "no such package here"; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
LD_LIBRARY_PATH=$(echo "$PWD"/root/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH
TZ=UTC LC_ALL=C root/usr/lib/sysstat/sadc 1 2 "$work/sa" >/dev/null
root/usr/bin/sadf -V | head -1
said() { TZ=$1 root/usr/bin/sadf -j "${@:2}" sa -- -u | tr -d '\n\t' | sed -E 's/.*"timezone": "([^"]*)".*"time": "([0-9:]*)", "utc": ([01]).*/\2 utc=\3 timezone=\1/'; }
plain=$(said America/New_York)
original=$(said America/New_York -t)
local=$(said America/New_York -T)
echo "recorded in UTC, read in America/New_York:"
echo "sadf -j     $plain"
echo "sadf -j -t  $original"
echo "sadf -j -T  $local"
[[ $plain == *"utc=1"* && $original == *"utc=0 timezone=UTC" && $local == *"utc=0 timezone=UTC" && ${original%% *} != "${local%% *}" ]]
