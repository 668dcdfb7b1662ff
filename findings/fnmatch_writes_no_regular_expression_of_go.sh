#!/usr/bin/env bash
# Python 3.11 and later: fnmatch.translate("*a*") writes an atomic group, (?s:(?>.*?a).*)\Z. Go's regular expressions (RE2), and so Prometheus and
# Alertmanager, have none and refuse it; (?s:...) alone they read, so a pattern with one star passes and one with two does not.
# Exits with 1 when promtool takes both.
set -euo pipefail
command -v promtool >/dev/null || { echo "no promtool here"; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
promtool --version 2>&1 | head -1
taken() { # whether Prometheus reads what fnmatch makes of a pattern
  python3 - "$1" >"$folder/rules.yml" <<'PY'
import fnmatch, json, sys
regex = fnmatch.translate(sys.argv[1]).removesuffix(r"\Z").removesuffix(r"\z")
print(json.dumps({"groups": [{"name": "g", "rules": [{"record": "r", "expr": "x{site=~%s}" % json.dumps(regex)}]}]}))
print(f"{sys.argv[1]} is {regex}", file=sys.stderr)
PY
  if promtool check rules "$folder/rules.yml" >/dev/null 2>&1; then echo "  taken"; else echo "  refused"; return 1; fi
}
taken "a*"
if taken "*a*"; then exit 1; fi
