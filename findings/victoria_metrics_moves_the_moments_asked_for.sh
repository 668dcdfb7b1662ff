#!/usr/bin/env bash
# VictoriaMetrics 1.79.5: /api/v1/query_range moves `start` and `end` to multiples of `step` when 50 moments or more are asked for, while Prometheus
# answers at the moments asked for. The same query for 49 moments is not moved, so short tries show nothing. `nocache=1` leaves them as they are.
# Whoever turns times into positions by (time - start) / step must ask at multiples of the step.
# Exits with 1 when the moments are those asked for.
set -euo pipefail
work=$(mktemp -d) server=
trap '[[ -z $server ]] || { kill "$server" && wait "$server"; } 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
apt-get download -q victoria-metrics=1.79.5+ds1-2+b5 >/dev/null 2>&1 || { echo "no such package here"; exit 2; }
dpkg -x victoria-metrics_*.deb root
port=$((20000 + RANDOM % 20000))
root/usr/bin/victoria-metrics -storageDataPath=data -httpListenAddr=127.0.0.1:$port -retentionPeriod=100y >log 2>&1 &
server=$!
url=http://127.0.0.1:$port
for _ in $(seq 100); do curl -s "$url/health" >/dev/null && break; sleep 0.1; done
echo "victoria-metrics $(dpkg-deb -f victoria-metrics_*.deb Version)"
begin=1769853600 # 2026-01-31 10:00 UTC
for i in $(seq 0 200); do echo "load1,instance=n1 value=$i $((begin + 15 * i))000000000"; done | curl -s "$url/write" --data-binary @-
curl -s "$url/internal/force_flush" >/dev/null
first() { curl -s "$url/api/v1/query_range?query=load1_value&start=$((begin + 7))&end=$((begin + 7 + 15 * ($1 - 1)))&step=15$2" | sed -E 's/.*"values":\[\[([0-9.]+),.*/\1/'; }
few=$(first 49 "") many=$(first 50 "") uncached=$(first 50 "&nocache=1")
for asked in "49 moments:$few" "50 moments:$many" "50 moments, nocache=1:$uncached"; do
  echo "${asked%%:*} from 7 s past a multiple of the step: the first is $((${asked##*:} - begin)) s past it"
done
[[ $few -eq $((begin + 7)) && $many -eq $begin && $uncached -eq $((begin + 7)) ]]
