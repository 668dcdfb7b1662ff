"""Whether products of an earlier revision are read by this one: `python bench/upgrade.py REVISION [STUDY ...]`, by default all studies.

A night of the small sample of the tests is run by the code of that revision, in a worktree of its own, with its configuration, and somebody says
what came of a proposal and silences an incident. The next night is run by this checkout on the same products and with the same configuration, as
after an upgrade. It must end well, go on with the names of incidents, read what people printed, and not train where no training is due. Prints what
it finds; the environment is that of this checkout for both.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import yaml

from nightshift.incidents.silences import SILENCES_FILE, read_recorded
from nightshift.remediation.feedback import FEEDBACK_FILE, read_feedback

REPOSITORY = Path(__file__).resolve().parents[1]
BEFORE, NIGHT = "2026-01-30", "2026-01-31"


def run(tree, *arguments):
    """A command of the checkout `tree`: (exit code, what it says)."""
    command = [sys.executable, "-m", "nightshift", *map(str, arguments)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(tree)})
    return done.returncode, done.stderr


def configuration(tree, folder, studies):
    """Write the small configuration of the tests of `tree`; returns its path."""
    program = f"import json, runpy; print(json.dumps(runpy.run_path('tests/conftest.py')['small_config']({str(folder / 'products')!r}), default=str))"
    environment = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run([sys.executable, "-c", program], cwd=tree, capture_output=True, text=True, check=True, env=environment)
    config = json.loads(done.stdout)
    config["studies"] = {name: steps for name, steps in config["studies"].items() if name in studies or not studies}
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def say_something(tree, root):
    """Let somebody say of the first incident that has a proposal what came of it, and silence the one after it, by the code of `tree`."""
    proposals = pd.read_parquet(root / f"data/incidents/{BEFORE}_proposals.parquet")
    first = proposals.iloc[0]
    id_of = first["remediation"] if "remediation" in first else first["solution"]
    code, printed = run(tree, "feedback", first["incident"], id_of, "worked", "--by", "bench", "--products", root)
    if code:
        sys.exit(f"feedback ended with {code}: {printed}")
    other = next(name for name in proposals.incident.unique() if name != first["incident"])
    code, _ = run(tree, "silence", other, "--until", "2026-03-31", "--why", "bench", "--products", root)
    return other if code == 0 else ""  # an early revision has no such command


def trained(root, study):
    """The day of the model in use of a study."""
    return json.loads((root / "models" / study / "metrics.json").read_text()).get("day")


def main(revision, *studies):
    with tempfile.TemporaryDirectory(prefix="nightshift-upgrade-") as folder:
        folder, tree = Path(folder), Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", "--quiet", tree, revision], cwd=REPOSITORY, check=True)
        try:
            return compare(folder, tree, studies)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=REPOSITORY, check=True)


def compare(folder, tree, studies):
    """Run both nights and print what the second made of the first; 1 where anything is wrong."""
    root, config = folder / "products", configuration(tree, folder, studies)
    code, printed = run(tree, "run", "--config", config, "--day", BEFORE, "--quiet")
    print(f"night of the earlier revision: exit code {code}", flush=True)
    if code:
        sys.exit(printed)
    silenced = say_something(tree, root)
    names = [path.parent.name for path in sorted(root.glob("models/*/metrics.json"))]
    models = {study: trained(root, study) for study in names}
    code, printed = run(REPOSITORY, "run", "--config", config, "--day", NIGHT, "--quiet")
    earlier, later = (pd.read_parquet(root / f"data/incidents/{night}.parquet") for night in (BEFORE, NIGHT))
    shared = set(earlier.incident) & set(later.incident)
    again = [study for study in names if trained(root, study) != models[study]]
    feedback, trouble = read_feedback(root / FEEDBACK_FILE)
    silences, _ = read_recorded(root / SILENCES_FILE, NIGHT)
    print(f"next night by this checkout:   exit code {code}\n{printed}", end="")
    print(f"incidents                      {len(earlier)}, then {len(later)}, of which {len(shared)} have a name of the night before")
    print(f"trained anew                   {', '.join(again) or 'none'}")
    print(f"feedback read                  {len(feedback)} {trouble}")
    print(f"silences read                  {[one['incident'] for one in silences]}")
    went_on = later.incident[later.age_nights > 1]
    good = code == 0 and len(shared) > 0 and set(went_on) <= set(earlier.incident) and len(feedback) == 1 and not trouble
    good = good and (not silenced or silenced in [one["incident"] for one in silences])
    return int(not good)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
