#!/bin/bash
# Start-up script of a virtual machine of Google Compute Engine with Debian: installs the monitoring stack at its first start, and brings
# it up to date at each later one. The machine says by its metadata what it wants:
#
#     gcloud compute instances create NAME --image-family=debian-12 --image-project=debian-cloud \
#       --metadata-from-file=startup-script=deploy/monitoring/gcp-startup.sh \
#       --metadata=nightshift-repository=ADDRESS,monitoring-profile=server
#
# nightshift-repository is the address of this repository, nightshift-revision a branch or tag of it (main).
set -euo pipefail

attribute() {
  curl --silent --fail --retry 5 --header 'Metadata-Flavor: Google' \
    "${METADATA:-http://metadata.google.internal}/computeMetadata/v1/instance/attributes/$1" || printf '%s' "${2:-}"
}

if ! command -v curl >/dev/null || ! command -v git >/dev/null; then
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends ca-certificates curl git
fi
repository=$(attribute nightshift-repository)
revision=$(attribute nightshift-revision main)
profile=$(attribute monitoring-profile server)
[[ -n $repository ]] || { echo 'gcp-startup.sh: the metadata of this machine has no nightshift-repository' >&2; exit 2; }

tree=${TREE:-/opt/nightshift}
[[ -d $tree/.git ]] || git clone --quiet "$repository" "$tree"
git -C "$tree" fetch --quiet "$repository" "$revision"
git -C "$tree" -c advice.detachedHead=false checkout --quiet FETCH_HEAD
exec "$tree/deploy/monitoring/install.sh" "$profile"
