#!/bin/bash
# An Alertmanager keeps silences over a restart, and no alert, however far its end lies ahead: alerts are in memory only, and who posts one by its API
# must repeat it. What tells of nights, once a day, is therefore forgotten until the next night where the Alertmanager was started again meanwhile.
set -eu
work=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
echo 'route: {receiver: nobody}
receivers: [{name: nobody}]' >"$work/alertmanager.yml"
start() {
  prometheus-alertmanager --config.file="$work/alertmanager.yml" --storage.path="$work/data" --cluster.listen-address= \
    --web.listen-address="127.0.0.1:$port" >>"$work/log" 2>&1 &
  server=$!
  for _ in $(seq 100); do curl -sf "127.0.0.1:$port/-/ready" >/dev/null && return; sleep 0.1; done
}
trap 'kill "$server"; rm -rf "$work"' EXIT
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
echo "before: $before; after a restart: $after ($(prometheus-alertmanager --version 2>&1 | head -1))"
[[ $before == "1 alert, 1 silence" && $after == "0 alerts, 1 silence" ]]
