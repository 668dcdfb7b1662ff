"""Which notebooks a study has: for the Snakefile, which runs them, and publish.py, which shows them. Imports nothing that takes time."""

import json
import re
from pathlib import Path

STEPS = ["1_extract", "2_preprocess", "3_train", "4_analyse"]


def pages_of(study, root=Path()):
    """Further pages of a study, `5_*`: notebooks that need its clean tables only, and run beside the last two steps."""
    return sorted(path.stem for path in (root / "notebooks" / study).glob("5_*.ipynb"))


def findings_named(study, notebook):
    """The tables of findings that a further page, a notebook as a dict, says in its first cell that it writes."""
    first = "".join(notebook["cells"][0]["source"])
    return re.findall(rf"data/findings/{re.escape(study)}_\w+\.parquet", first.partition("*Writes*")[2])


def read_notebook(path):
    """The executed notebook at `path` as a dict, None when it does not exist or was cut off while being written."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def error_of(notebook, log=None):
    """(one line, its cell is known) for a notebook that failed, ("", False) for one that ended well."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                return " ".join(f"{output['ename']}: {output['evalue']}".split())[:300], True
    if notebook["metadata"].get("papermill", {}).get("end_time"):
        return "", False
    tail = log.read_text(errors="replace").strip().splitlines() if log and log.exists() else []
    return f"it was stopped before it ended; last words: {tail[-1][:200]}" if tail else "it was stopped before it ended", False


def told_tonight(outcomes):
    """Names of the steps of one study whose findings are of this night, given {step: ok, failed or not run}: its analysis, unless a step of the chain
    has failed, and further pages that ended well."""
    analysed = outcomes.get(STEPS[-1]) == "ok" and "failed" not in [outcomes.get(step) for step in STEPS]
    return STEPS[-1:] * analysed + [step for step, outcome in outcomes.items() if step not in STEPS and outcome == "ok"]


def outcomes_of(report, study, root=Path()):
    """{step: ok, failed or not run} of a study on the night whose executed notebooks lie below `report`."""
    read = {step: read_notebook(report / study / f"{step}.ipynb") for step in [*STEPS, *pages_of(study, root)]}
    return {step: "not run" if notebook is None else "failed" if error_of(notebook)[0] else "ok" for step, notebook in read.items()}
