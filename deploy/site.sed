# Makes of config.yaml the configuration of a service, which runs the sample until somebody names other sources: `sed --file deploy/site.sed config.yaml`.
/^# yaml-language-server/d
s|^products: ""|products: /var/lib/nightshift|
/^studies:/,$ s|^  \([a-z]*\):$|&\n    day: 2026-01-31             # the last day of the sample: leave it out where a source goes on|
