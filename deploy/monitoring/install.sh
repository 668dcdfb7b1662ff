#!/bin/sh
# Install the monitoring stack on a Debian as services of systemd, with a profile: pc, server or datacentre. What is configured already
# in /etc/monitoring (targets, alertmanager.yml, profile.env, the password of Grafana) stays as it is, so that it can be run again.
#
#     sudo deploy/monitoring/install.sh pc                     # DESTDIR=FOLDER writes below that folder, installs and starts nothing
#     sudo deploy/monitoring/install.sh datacentre exporters   # a node that another machine watches
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}
exporters=${2:-}
profile=${1:-}
case $profile in
pc | server | datacentre) ;;
*) echo "install.sh: name a profile: pc, server or datacentre" >&2; exit 2 ;;
esac

if [ -z "$root" ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  packages=prometheus-node-exporter
  [ -n "$exporters" ] || packages="$packages prometheus prometheus-alertmanager"
  for package in $packages; do
    apt-get install -y -qq --no-install-recommends "$package"
    systemctl disable --now "$package"  # the services of the packages listen at the same ports
  done
fi

etc=$root/etc/monitoring
name=$(hostname)
install -d -m 755 "$etc/rules" "$etc/targets" "$etc/grafana/dashboards" "$root/etc/systemd/system" "$root/etc/tmpfiles.d"
install -m 644 "$here"/prometheus-*.yml "$here/dcgm-counters.csv" "$etc/"
install -m 644 "$here/rules/nightshift.yml" "$here/rules/stack.yml" "$etc/rules/"
install -m 644 "$here"/grafana/dashboards/*.json "$etc/grafana/dashboards/"
(cd "$here" && find grafana/provisioning -name '*.yaml' -exec install -D -m 644 '{}' "$etc/{}" ';')
for file in alertmanager.yml targets/node.yml targets/gpu.yml targets/training.yml; do
  [ -e "$etc/$file" ] || sed "s/node: localhost/node: $name/" "$here/$file" >"$etc/$file"
done
grep -qs "^PROFILE=$profile\$" "$etc/profile.env" || install -m 644 "$here/profile-$profile.env" "$etc/profile.env"
if [ ! -e "$etc/grafana-password" ]; then
  (umask 077 && od -An -N18 -tx1 /dev/urandom | tr -d ' \n' >"$etc/grafana-password")
fi
(cd "$here/systemd" && find . \( -name '*.service' -o -name '*.conf' -path '*.d/*' \) -type f -exec install -D -m 644 '{}' "$root/etc/systemd/system/{}" ';')
install -m 644 "$here/systemd/monitoring.tmpfiles.conf" "$root/etc/tmpfiles.d/monitoring.conf"
[ -z "$root" ] || exit 0

systemd-tmpfiles --create monitoring.conf
systemctl daemon-reload
services=monitoring-node-exporter
others="dcgm-exporter:dcgm-exporter nvidia_gpu_exporter:gpu-exporter"
if [ -z "$exporters" ]; then
  services="$services monitoring-prometheus monitoring-alertmanager"
  others="grafana:grafana $others"
fi
for pair in $others; do
  if command -v "${pair%%:*}" >/dev/null; then
    services="$services monitoring-${pair##*:}"
  else
    echo "install.sh: no ${pair%%:*} here; install it as docs/monitoring.md says, then call this again"
  fi
done
for service in $services; do
  systemctl enable --quiet "$service"
  systemctl restart "$service"
done
