"""Shared by all tests: a skip is a failure under CI=true, and the chain is run once on a small sample for those that read it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
REAL_DATA = REPOSITORY.parent / "shared/data"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI=true forbids: {report.longrepr[-1]}"
    return report


def run_chain(config, folder=REPOSITORY, *more):
    """Run the chain as the Makefile does; returns (exit code, everything printed)."""
    command = ["make", "--no-print-directory", "reports", f"CONFIG={config}", f"ENV={sys.prefix}", "-o", f"{sys.prefix}/.installed", *more]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    return done.returncode, done.stdout


def execute(notebook, products, **parameters):
    """Execute a notebook of the repository with papermill; returns the executed notebook as nbformat gives it."""
    import nbformat
    import papermill

    out = Path(products) / f"executed-{Path(notebook).stem}.ipynb"
    out.parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        REPOSITORY / "notebooks" / notebook,
        out,
        parameters={"products": str(products), **parameters},
        kernel_name="python3",
        progress_bar=False,
        cwd=REPOSITORY,
    )
    return nbformat.read(out, 4)


def shown(notebook):
    """All text that the outputs of an executed notebook show."""
    data = [o.get("data", {}) for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    return "\n".join(d.get("text/markdown", d.get("text/html", "")) for d in data)


def from_notebook(notebook, name, **names):
    """The function `name` that a notebook of the repository defines, with `names` as what it finds around it."""
    cells = json.loads((REPOSITORY / "notebooks" / notebook).read_text())["cells"]
    [source] = [text for c in cells if f"def {name}(" in (text := "".join(c["source"]))]
    exec(source, names)
    return names[name]


def run_cells(notebook, products, source, **parameters):
    """Run a notebook here, without the seconds that a kernel takes to start; returns (its names, all text that it shows)."""
    import IPython.display

    names, texts = {}, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IPython.display, "display", lambda *shown: texts.extend(str(getattr(one, "data", one)) for one in shown))
        for cell in json.loads((REPOSITORY / "notebooks" / notebook).read_text())["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
            if "parameters" in cell["metadata"].get("tags", []):
                names |= {"products": str(products), "source": str(source)} | parameters
    return names, "\n".join(texts)


@pytest.fixture(scope="session")
def sample_chain(tmp_path_factory):
    """The whole chain on a small sample: its products folder and what it printed."""
    products = tmp_path_factory.mktemp("sample-chain")
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    config |= {"products": str(products), "simulate": {"days": 28, "transfers_per_day": 500}}
    config["studies"]["transfers"] |= {"extract": {"source": "sample", "days": 28}, "train": {"epochs": 6}}
    config["studies"]["accounting"]["train"] |= {"origins": 1, "injections": 30}
    path = products / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    code, printed = run_chain(path)
    assert code == 0, printed
    return {"products": products, "config": path, "printed": printed, "report": products / "reports" / str(config["day"])}
