"""Shared by all tests: a skip is a failure under CI=true, what is dear is made once, and on a small sample the chain runs for those that read it."""

import base64
import functools
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import hypothesis  # noqa: F401 - before the libraries: it looks through all objects that there are, 4 s of each worker once these are
import pytest
import yaml

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in the chain; before NumPy is there. Boosting waits for its threads: 31 models take 25 s, not 80
os.environ["NIGHTSHIFT_RUN"] = "1"  # what tests execute writes where they say, as the chain's kernels do; tests/unit/test_tryout.py goes without
gc.set_threshold(50_000, 20, 50)  # by default the collector takes 12% of the time of tests that run notebooks, for nothing
REPOSITORY = Path(__file__).resolve().parents[1]
COMPILED = {  # one test compiles the networks that the next ones train: of 42 s of a processor for the autoencoders 10 go, in a later run 21
    "JAX_COMPILATION_CACHE_DIR": str(REPOSITORY / ".pytest_cache/jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
for _name, _value in COMPILED.items():  # before JAX is there; the kernels of a chain inherit it
    os.environ.setdefault(_name, _value)
VAGUE = {"told", "mine", "known", "given", "said"}  # names of values that have each stood for six things
REAL_DATA = REPOSITORY.parent / "shared/data"
GRACC_RECORD = {
    "EndTime": "2026-01-31T10:00:00Z",
    "SiteName": "SITE_A",
    "VOName": "atlas",
    "ProbeName": "htcondor:a.example",
    "ResourceType": "Batch",
    "CoreHours": 12.5,
    "WallDuration": 45000,
    "CpuDuration": 40000,
    "Njobs": 3,
    "Processors": 1,
}
QUICK = {  # settings of 3_train that cost a test of the chain less; what each study finds is asserted in its own tests
    "accounting": {"origins": 1, "injections": 30, "trees": 40, "sites_2021": 5},
    "telemetry": {"experiments": [], "folds": 2, "thin": 8, "trees": 10, "rounds": 4, "epochs": 2},
    "certification": {"seeds": [1], "epochs": 2, "candidates": ["vanilla"], "variants": ["vanilla"], "trees": 10, "svm_rows": 500},
}
OF_RUNS = ["GpuHours", "GpuHoursUsed", "MemoryAskedGiB", "MemoryUsedGiB"]  # what accounting of single jobs may say
ACCOUNTING_FIELDS = ["RecordId", *GRACC_RECORD, *OF_RUNS, "more"]  # of the raw table

LONGEST = [  # groups of tests that begin before all others, the longest one first; the services mostly wait, so that others compute meanwhile
    "sample_chain",
    "tests/services/test_deployed.py",
    "tests/notebooks/test_real_chain.py::test_real_data_run_through_the_chain_and_say_who_scores",
    "tests/services/test_brokers.py",
    "tests/notebooks/test_chain.py",
    "tests/site/test_tickets_site.py",
    "tests/notebooks/test_accounting.py",
    "tests/notebooks/test_simulate.py",
]


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config, log):
    """Which tests stay together on one worker of `make test` (its own marks do nothing with pytest 9.2, which names tests in another way)."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid)

        def _assign_work_unit(self, node):
            for name in reversed(LONGEST):  # longer by far than others that have more tests, by which xdist goes: none of them must end alone
                if name in self.workqueue:
                    self.workqueue.move_to_end(name, last=False)
            super()._assign_work_unit(node)

    return Together(config, log)


def group_of(nodeid):
    """Name of the tests that one worker runs after one another: those that read the sample's chain, those of a file that makes something once
    for all its tests; any other test is a group of its own.
    """
    file = nodeid.partition("::")[0]
    text = (REPOSITORY / file).read_text()
    shared = re.search(r"def \w+\(.*\b(sample_chain|ticket_night)\b", text)
    return shared[1] if shared else file if "fixture(scope=" in text else nodeid


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI=true forbids: {report.longrepr[-1]}"
    return report


@pytest.fixture(scope="session", autouse=True)
def no_forks():
    """Pages of a night that a test publishes are made in the process of the test, which forks slowly, holding all libraries, and whose workers
    have its processors busy: 0.8 s instead of 1.3 s a night. The nights of the chains, processes of their own, fork.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nightshift.processes.processors", lambda: 1)
        yield


def today():
    """The date in UTC, asked when it is needed: what was true when a module was loaded, midnight may have changed."""
    return datetime.now(UTC).date()


def pace(repeats=5):
    """How many times longer than on an idle core of the machine where bounds on time were set everything takes here and now, 1 or more.

    A bound of seconds is multiplied by it, since the cores of a virtual machine are shared with strangers: the same work took 1.9 times
    its processor time there, with nothing else running. The quickest of the repeats counts; it takes 0.06 s on an idle core.
    """
    taken = []
    for _ in range(repeats):
        began = time.process_time()
        for i in range(20_000):
            text = f"job {i} on node{i % 997:03d} of user{i % 31}"
            _ = len(re.findall(r"[a-z]+\d+", text)) + len({word: len(word) for word in text.split()})
        taken.append(time.process_time() - began)
    return max(1, min(taken) / 0.06)


def within(seconds, bound):
    """Whether a time of this processor is within a bound in seconds that was set for an idle core; only where it is not the `pace` is asked for."""
    return seconds < bound or seconds < bound * pace()


def run_chain(config, folder=REPOSITORY, *more):
    """Run the chain as the Makefile does; returns (exit code, everything printed)."""
    command = ["make", "--no-print-directory", "reports", f"CONFIG={config}", f"ENV={sys.prefix}", "-o", f"{sys.prefix}/.installed", *more]
    quick = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # small networks take longer to compile than to train, see quick_compiler
    done = subprocess.run(command, cwd=folder, env=quick, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
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


def tables_of(page):
    """The tables of a page as frames of text."""
    import pandas as pd
    from bs4 import BeautifulSoup

    found = []
    for table in BeautifulSoup(page, "html.parser").select("table"):
        head, *rows = [[cell.get_text() for cell in row.select("th, td")] for row in table.select("tr")]
        found.append(pd.DataFrame(rows, columns=head))
    return found


ONE_PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")


def sketch(figure, path):
    """Save one pixel in place of a figure after its titles, labels, legends and notes were laid out: a tenth of the work of drawing it.

    What else can go wrong in a figure goes wrong where the chains of the tests draw every one of them.
    """
    from matplotlib.text import Text

    from nightshift.figures import artists_of

    renderer = figure.canvas.get_renderer()
    for artist in artists_of(figure):
        if isinstance(artist, Text) and artist.get_text():
            artist.get_window_extent(renderer)
    Path(path).write_bytes(ONE_PIXEL)


@functools.cache
def cells_of(notebook):
    """[(compiled code, whether it declares the parameters)] of the cells with code of a notebook."""
    cells = json.loads((REPOSITORY / "notebooks" / notebook).read_text())["cells"]
    cells = [cell for cell in cells if cell["cell_type"] == "code"]
    return [
        (compile("".join(cell["source"]), f"{notebook}[{number}]", "exec"), "parameters" in cell["metadata"].get("tags", []))
        for number, cell in enumerate(cells, 1)
    ]


def run_cells(notebook, products, *, drawn=False, **parameters):
    """Run the cells of a notebook in this process, where what they import is there already: 0.1 to 3 s instead of 2 to 8 s.

    drawn : whether pictures are wanted. The chains of the tests draw all of them; here they are half the time of some notebooks, and sketched.
    Returns (the names that it leaves, and as RECORDED the values that it recorded; all text that it shows).
    """
    import matplotlib

    from nightshift.early_end import EndOfNotebook
    from nightshift.runs import recorded as recorded_values

    names, displayed, recorded = {}, [], []
    with matplotlib.rc_context(), pytest.MonkeyPatch.context() as patch:
        if not drawn:
            patch.setattr("helpers.save_figure", sketch)
        patch.setattr("IPython.display.display", lambda what, raw=False: (recorded if raw else displayed).append(what))
        for code, declares in cells_of(notebook):
            try:
                exec(code, names)
            except EndOfNotebook:
                break
            if declares:
                assert {"products", *parameters} <= set(names)
                names |= {"products": str(products)} | parameters
    names["RECORDED"] = recorded_values({"cells": [{"outputs": [{"data": one} for one in recorded]}]})
    return names, "\n".join(shown.data for shown in displayed if isinstance(shown.data, str))


def run_here(notebook, products, **parameters):
    """All text that a notebook shows, run by `run_cells`."""
    return run_cells(notebook, products, **parameters)[1]


def refused(run, *positional, **parameters):
    """The one line with which `run(*given, **parameters)`, which runs a notebook in this process, ends."""
    with pytest.raises((AssertionError, OSError, LookupError, ValueError)) as error:
        run(*positional, **parameters)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def shown(notebook):
    """All text that the outputs of an executed notebook show."""
    data = [o.get("data", {}) for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    return "\n".join(d.get("text/markdown", d.get("text/html", "")) for d in data)


@pytest.fixture(scope="module")
def quick_compiler():
    """Small networks take longer to compile than to train: without most optimizations, 1.9 s instead of 3.5 s per training of a few hundred rows."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A real Chromium without a window, which writes down what it asks for and what goes wrong."""
    from selenium import webdriver

    binary, driver = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("no chromium or chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def browser(chromium):
    """That Chromium, which takes 2 s of a processor to start, without what the tests of another file have left in it."""
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": "file://", "storageTypes": "all"})
    for kind in chromium.log_types:
        chromium.get_log(kind)
    return chromium


def show(browser, page, width, dark=False):
    """Open a page of the site in a window of that width."""
    set_width(browser, width)
    set_scheme(browser, dark)
    browser.get(page.as_uri())


def set_scheme(browser, dark):
    """Let pages, that which is open among them, see a person who likes the dark, or does not, and does not like motion."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    still = {"name": "prefers-reduced-motion", "value": "reduce"}  # a click would come while the page still scrolls smoothly
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})


def set_width(browser, width):
    """Give the window that width; the page that is open is laid out anew."""
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})


def console_errors(browser):
    """What the console of the browser called an error since it was last asked."""
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def asked_outside(browser):
    """Addresses on the network that the browser asked for since it was last asked."""
    return re.findall(r'"url\\?":\\?"(https?:[^"\\]+)', str(browser.get_log("performance")))


def small_config(products):
    """The configuration of the repository with a small sample and quick trainings, as a dict."""
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    small = {"days": 28, "transfers_per_day": 500, "nights": 7, "accounting_weeks": 70, "certification_runs": 60}
    small |= {"ticket_weeks": 60, "tickets_per_week": 10}
    config |= {"products": str(products), "simulate": small}
    config["studies"]["transfers"] |= {"extract": {"source": "sample", "days": 28}, "train": {"epochs": 6, "lstm_units": 32}}
    config["studies"]["tickets"]["train"] |= {"resolutions": [1, 2, 4], "bootstraps": 2, "seeds": [1], "max_tokens": 32}
    for study, quick in QUICK.items():
        config["studies"][study]["train"] |= quick
    return config


@pytest.fixture(scope="session")
def sample_chain(tmp_path_factory):
    """The whole chain on a small sample: its products folder and what it printed."""
    products = tmp_path_factory.mktemp("sample-chain")
    config, path = small_config(products), products / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    code, printed = run_chain(path)
    assert code == 0, printed
    return {"products": products, "config": path, "printed": printed, "report": products / "reports" / str(config["day"])}


@pytest.fixture(scope="session")
def ticket_night(tmp_path_factory):
    """A night of a help desk made by hand with four troubles: what 4_analyse finds, and the pages after it."""
    from ticket_desk import troubled_night

    return troubled_night(tmp_path_factory.mktemp("ticket-night"))
