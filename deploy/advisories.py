"""Whether an advisory is about a version that is pinned: `python deploy/advisories.py [FOLDER DATE]`.

Looks up each pin of constraints.txt in deploy/advisories.json, which is bundled, so that a release can be checked
without a network: a line for each that is affected, and then exit code 1. The bundled list holds records in the form
of OSV (https://ossf.github.io/osv-schema/), and says where they come from and of which day they are.

With FOLDER, the list is made anew of the records there, one JSON file each, as the export of OSV for PyPI has them
(PyPI/all.zip, see https://google.github.io/osv.dev/data/) when it is unpacked; DATE is the day on which that was
fetched. Records that are about none of our packages, or withdrawn, are left out.
"""

import json
import re
import sys
from datetime import date
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

REPOSITORY = Path(__file__).resolve().parents[1]
BUNDLED = REPOSITORY / "deploy/advisories.json"
KEPT = ("id", "aliases", "summary", "modified", "affected")  # of a record


def read_pins(path):
    """{name of a package: its Version} of the lines NAME==VERSION of a file of constraints."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;#]+)", Path(path).read_text(encoding="utf-8"), re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in pins}


def packages_of(advisory):
    """[(name of a package of PyPI, what the advisory says of its versions)] of one record."""
    about = [one for one in advisory.get("affected", []) if one.get("package", {}).get("ecosystem") == "PyPI"]
    return [(canonicalize_name(one["package"]["name"]), one) for one in about]


def is_affected(version, affected):
    """Whether a Version is affected, by the list or the ranges of an entry `affected`, as OSV evaluates it."""
    if version in map(version_of, affected.get("versions", [])):
        return True
    ranges = [one["events"] for one in affected.get("ranges", []) if one.get("type") == "ECOSYSTEM"]
    return any(is_in_range(version, events) for events in ranges)


def is_in_range(version, events):
    """Whether a Version lies in one range: after an `introduced`, before a `fixed`, at most at a `last_affected`."""
    inside = False
    for (kind, text), *_ in sorted((list(event.items()) for event in events), key=lambda event: version_of(event[0][1])):
        limit = version_of(text)
        if kind == "introduced" and version >= limit:
            inside = True
        if (kind == "fixed" and version >= limit) or (kind == "last_affected" and version > limit):
            inside = False
    return inside


def version_of(text):
    """The Version that a text is; what is none comes before all."""
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0.dev0")


def affected_pins(pins, advisories):
    """[(package, Version, advisory)] of the pins that an advisory that stands is about."""
    standing = [one for one in advisories if not one.get("withdrawn")]
    return [
        (name, pins[name], advisory)
        for advisory in standing
        for name, affected in packages_of(advisory)
        if name in pins and is_affected(pins[name], affected)
    ]


def collect(folder, pins):
    """Records of a folder that stand and are about packages that are pinned, whatever their version, by their ids; ValueError where it holds none."""
    if not (records := [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(folder).glob("*.json"))]):
        raise ValueError(f"{folder} holds no records (*.json): {BUNDLED.name} stays as it is")
    ours = [one for one in records if not one.get("withdrawn") and {name for name, _ in packages_of(one)} & set(pins)]
    return [{key: one[key] for key in KEPT if key in one} for one in ours]


def day_of(text):
    """A date from its text; ValueError that says what it is for."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"DATE must say when the records were fetched, such as 2026-01-31, not {text!r}") from None


def main(folder="", day=""):
    """Print each pin that an advisory is about, after making the bundled list anew where a folder is given: 1 for any, 2 for a folder or a
    day that is none, else 0.
    """
    pins = read_pins(REPOSITORY / "constraints.txt")
    if folder:
        try:
            found = {"source": "OSV, its export for PyPI", "date": str(day_of(day)), "advisories": collect(folder, pins)}
        except ValueError as error:
            print(f"advisories.py: {error}", file=sys.stderr)
            return 2
        BUNDLED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    bundled = json.loads(BUNDLED.read_text(encoding="utf-8"))
    bad = affected_pins(pins, bundled["advisories"])
    for name, version, advisory in bad:
        print(f"{name} {version}: {advisory['id']}: {' '.join(advisory.get('summary', 'no summary').split())}")
    print(f"{len(bad)} of {len(pins)} pins are affected by {len(bundled['advisories'])} advisories ({bundled['source']}, {bundled['date']})")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
