#!/bin/bash
# Alertmanager 0.25.0 keeps silences over a restart, and no alert, however far its end lies ahead: alerts are in memory only, and who posts one by its API
# must repeat it. What tells of nights, once a day, is therefore forgotten until the next night where the Alertmanager was started again meanwhile.
set -eu
work=$(mktemp -d) server=
trap '[[ -z $server ]] || { kill "$server" && wait "$server"; } 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
apt-get download -q prometheus-alertmanager=0.25.0-1+b4 >/dev/null 2>&1 || { echo "no such package here"; exit 2; }
dpkg -x prometheus-alertmanager_*.deb root
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
echo 'route: {receiver: nobody}
receivers: [{name: nobody}]' >alertmanager.yml
start() {
  root/usr/bin/prometheus-alertmanager --config.file=alertmanager.yml --storage.path=data --cluster.listen-address= \
    --web.listen-address="127.0.0.1:$port" >>log 2>&1 &
  server=$!
  for _ in $(seq 100); do curl -sf "127.0.0.1:$port/-/ready" >/dev/null && return; sleep 0.1; done
}
post() { curl -sf -X POST -H 'Content-Type: application/json' "127.0.0.1:$port/api/v2/$1" -d "$2" >/dev/null; }
count() { curl -sf "127.0.0.1:$port/api/v2/$1" | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))'; }
start
post alerts '[{"labels": {"alertname": "x"}, "endsAt": "2100-01-01T00:00:00Z"}]'
post silences '{"matchers": [{"name": "alertname", "value": "y", "isRegex": false}], "startsAt": "2020-01-01T00:00:00Z",
  "endsAt": "2100-01-01T00:00:00Z", "createdBy": "me", "comment": "why"}'
before="$(count alerts) alert, $(count silences) silence"
kill "$server"; wait "$server" || true
start
after="$(count alerts) alerts, $(count silences) silence"
echo "before: $before; after a restart: $after ($(root/usr/bin/prometheus-alertmanager --version 2>&1 | head -1))"
[[ $before == "1 alert, 1 silence" && $after == "0 alerts, 1 silence" ]]
