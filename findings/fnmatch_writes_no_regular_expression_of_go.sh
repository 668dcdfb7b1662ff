#!/usr/bin/env bash
# Python 3.11 and later: fnmatch.translate("*a*") writes an atomic group, (?s:(?>.*?a).*)\Z. Go's regular expressions (RE2), and so Prometheus 2.42.0
# and Alertmanager, have none and refuse it; (?s:...) alone they read, so a pattern with one star passes and one with two does not.
# Exits with 1 when promtool takes both.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -q prometheus=2.42.0+ds-5+deb12u1 >/dev/null 2>&1 || { echo "no such package here"; exit 2; }
dpkg -x prometheus_*.deb root
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "needs Python 3.11 or later"; exit 2; }
echo "$(python3 --version), $(root/usr/bin/promtool --version 2>&1 | head -1)"
taken() { # whether Prometheus reads what fnmatch makes of a pattern
  python3 - "$1" >rules.yml <<'PY'
import fnmatch, json, sys
regex = fnmatch.translate(sys.argv[1]).removesuffix(r"\Z").removesuffix(r"\z")
print(json.dumps({"groups": [{"name": "g", "rules": [{"record": "r", "expr": "x{site=~%s}" % json.dumps(regex)}]}]}))
print(f"{sys.argv[1]} is {regex}", file=sys.stderr)
PY
  if root/usr/bin/promtool check rules rules.yml >/dev/null 2>&1; then echo "  taken"; else echo "  refused"; return 1; fi
}
taken "a*"
if taken "*a*"; then exit 1; fi
