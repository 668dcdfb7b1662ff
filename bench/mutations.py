"""Whether the unit tests would notice a wrong line: `python bench/mutations.py [MUTATIONS] [SEED] [ROOM ...]`; by default 60, 1 and all of TESTS.

A room is a module of the package or a folder of it. One operator or constant of one of its lines is changed, in a copy of the repository: a
comparison, `and` and `or`, a sign of arithmetic, a number, a truth value, or a `not` that goes. Then those of the room's own tests run that execute
the line, by a trace of all of them; where none does, those of any line of the module. They run in forks of a process that has imported the
libraries. What they do not notice is printed with its line, to be looked at one by one: some change nothing that anybody could see. Prints the share
that was noticed with its 95% interval (Wilson). At most a tenth should pass.

Traces take minutes. They are kept in the folder that the environment names as NIGHTSHIFT_TRACES, and hold for that revision.
"""

import ast
import importlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # no thread that a fork would not have
    os.environ[name] = "1"

import pytest  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[1]
FORK = multiprocessing.get_context("fork")
LIBRARIES = ["pandas", "pyarrow.parquet", "scipy.stats", "sklearn.ensemble", "numba", "pandera.pandas", "pydantic", "seaborn", "bs4", "hypothesis"]
TESTS = {  # of each room, names below tests/unit or another folder, without test_
    "incidents": "incidents incident_values incident_archive incident_wording silences sites_of_findings former_names assurance damage "
    "backup notebooks/digest",
    "remediation": "remediation chances worlds notebooks/feedback_study",
    "statistics": "statistics trailing properties alarms accounting_judgement truth",
    "detectors": "detectors detector_values predictor_values recurrent transfers_limits transfers_judgement health topics "
    "accounting_judgement accounting_steps accounting_trials telemetry_functions node_health few_data helpers certification_autoencoders "
    "telemetry_streams tickets_training ticket_values verdict_values transfer_incidents windows certification tickets_findings tickets_pages "
    "queues transfers_training series training_values",
    "sources": "source_values desk_values accounting_values accounting_formats accounting_steps event_lines files file_values node_tables parts "
    "series node_series node_summary rucio ticket_sources ticket_tables slurm_text sources_base times histograms luminosity lumisections golden "
    "node_parts certification counters queues root check ganglia telemetry_functions validity_generators transfer_files line_protocol nameless "
    "notebooks/layouts services/elastic notebooks/telemetry_nights services/osticket services/prometheus services/slurm",
    "privacy": "masking persons unspaced ticket_cleaning helpers",
    "personal": "masking persons",
    "notify": "message notified damage assurance former_names services/told services/mail",
}
COMPARED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
COMPARED |= {ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In}
COMPUTED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div}
COMPUTED |= {ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}


def mutants(tree):
    """Yield (node, node that takes its place) for all that can be changed in the functions of a module."""
    functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]
    for node in {id(node): node for function in functions for part in function.body for node in ast.walk(part)}.values():
        if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
            yield node, ast.Compare(node.left, [COMPARED[type(node.ops[0])](), *node.ops[1:]], node.comparators)
        elif isinstance(node, ast.BoolOp):
            yield node, ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
        elif isinstance(node, ast.BinOp) and type(node.op) in COMPUTED:
            yield node, ast.BinOp(node.left, COMPUTED[type(node.op)](), node.right)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, node.operand
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
            yield node, ast.Constant(not node.value if isinstance(node.value, bool) else node.value + 1)


def changed(text, node, instead):
    """The module with one node replaced; all else is as it was written."""
    lines = text.encode().splitlines(keepends=True)
    begin = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    whole = b"".join(lines)
    return (whole[:begin] + f"({ast.unparse(instead)})".encode() + whole[end:]).decode()


def candidates(rooms):
    """[(path below the repository, room, node, node instead)] of all modules of `rooms`."""
    found = []
    for room in rooms:
        folder = REPOSITORY / "nightshift" / room
        for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]:
            found += [(path.relative_to(REPOSITORY), room, *pair) for pair in mutants(ast.parse(path.read_text()))]
    return found


class Trace:
    """A plugin of pytest that notes which tests execute which lines of a folder or module, in a file at the end.

    [{"path:line": [test, ...]}, [test that failed, ...]]. What runs while a file of tests is collected, or prepared for one of its tests, counts for
    all of its tests, under the name of the file.
    """

    def __init__(self, room, path):
        self.room, self.path, self.now, self.lines, self.failed = str(room), path, "", defaultdict(set), []

    def calls(self, frame, event, argument):
        return self.steps if frame.f_code.co_filename.startswith(self.room) else None

    def steps(self, frame, event, argument):
        if event == "line":
            self.lines[f"{frame.f_code.co_filename}:{frame.f_lineno}"].add(self.now)
        return self.steps

    def pytest_collectstart(self, collector):
        self.now = collector.nodeid.partition("::")[0]

    def pytest_runtest_setup(self, item):
        self.now = item.nodeid.partition("::")[0]

    def pytest_runtest_call(self, item):
        self.now = item.nodeid

    def pytest_runtest_teardown(self, item):
        self.now = item.nodeid.partition("::")[0]

    def pytest_sessionstart(self):
        threading.settrace(self.calls)
        sys.settrace(self.calls)

    def pytest_runtest_logreport(self, report):
        self.failed += [report.nodeid] if report.failed else []

    def pytest_sessionfinish(self):
        sys.settrace(None)
        self.path.write_text(json.dumps([{line: sorted(tests - {""}) for line, tests in self.lines.items()}, self.failed]))


def tested(copy, tests, *plugins):
    """Run pytest on `tests` in this process, a fork, and end it with its exit code."""
    os.setsid()
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    os.environ["PYTHONPATH"] = f"{copy}:{os.environ.get('PYTHONPATH', '')}"
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    first = [] if plugins else ["-x"]
    sys.exit(int(pytest.main(["-n", "0", *first, "-q", "-p", "no:cacheprovider", *tests], plugins=list(plugins))))


def pass_all(copy, tests, *plugins, patience_s=1800):
    """Whether `tests` pass in the copy, in a fork; those that do not end in `patience_s` do not."""
    fork = FORK.Process(target=tested, args=(copy, tests, *plugins))
    fork.start()
    fork.join(patience_s)
    if fork.exitcode is None:
        os.killpg(fork.pid, signal.SIGKILL)
        fork.join()
    return fork.exitcode == 0


def traced(copy, room, folder):
    """{"path:line" below the copy: tests that execute it} of a room; SystemExit where a test fails as it is."""
    found = Path(os.environ.get("NIGHTSHIFT_TRACES") or folder) / f"{room}.json"
    if not found.exists():
        pass_all(copy, tests_of(room), Trace(copy / "nightshift" / room, found))
    lines, failed = json.loads(found.read_text())
    if failed and not pass_all(copy, failed):  # a bound of time may be missed while lines are traced
        sys.exit(f"the tests of {room} fail as they are: {failed}")
    return {line[line.index("nightshift/" + room) :]: tests for line, tests in lines.items()}


def tests_of(room):
    """The files of tests of a room, below the repository."""
    paths = [Path("tests/unit") / name if "/" not in name else Path("tests") / name for name in TESTS[room].split()]
    return [str(path.with_name(f"test_{path.name}.py")) for path in paths]


def noticing(lines, path, node):
    """The tests that execute a line of `node`, of a file or single ones, the quick ones first; where none does, as in another process, those of any
    line of its module.
    """
    of_node = [f"{path}:{line}" for line in range(node.lineno, node.end_lineno + 1)]
    there = {test for line in of_node for test in lines.get(line, [])}
    there = there or {test for line, tests in lines.items() if line.startswith(f"{path}:") for test in tests}
    files = {test for test in there if "::" not in test}
    single = {test for test in there - files if test.partition("::")[0] not in files}
    return sorted(single | files, key=lambda test: (not test.startswith("tests/unit"), test in files, test))


def draw(rooms, n, drawn):
    """(`n` mutations of `rooms`, which take turns, since sources are half of the package; how many there are)."""
    every = candidates(rooms)
    of_room = {room: [one for one in every if one[1] == room] for room in rooms}
    by_room = {room: drawn.sample(there, min(len(there), n)) for room, there in of_room.items()}
    return [one for place in range(n) for room in rooms for one in by_room[room][place : place + 1]][:n], len(every)


def main(n=60, seed=1, *rooms):
    rooms = rooms or tuple(TESTS)
    chosen, n_all = draw(rooms, int(n), random.Random(int(seed)))
    for name in LIBRARIES:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="nightshift-mutations-") as folder:
        copy, passed = Path(folder).resolve() / "copy", []
        subprocess.run(["git", "clone", "--quiet", "--shared", REPOSITORY, copy], check=True)
        lines = {room: traced(copy, room, Path(folder)) for room in rooms}
        for number, (path, room, node, instead) in enumerate(chosen, 1):
            text = (REPOSITORY / path).read_text()
            (copy / path).write_text(changed(text, node, instead))
            tests = noticing(lines[room], path, node)
            if not tests or pass_all(copy, tests, patience_s=600):  # some never end
                passed.append(path)
                print(f"{path}:{node.lineno}: {ast.unparse(node)[:90]} -> {ast.unparse(instead)[:90]} ({len(tests)} tests or files)", flush=True)
            (copy / path).write_text(text)
            print(f"{number} of {len(chosen)}, {len(passed)} not noticed", end="\r", flush=True)
    report(len(chosen), len(chosen) - len(passed), n_all, rooms, seed)
    return int(len(passed) > len(chosen) / 10)


def report(n, n_noticed, n_all, rooms, seed):
    """Print the share that was noticed."""
    sys.path.insert(0, str(REPOSITORY))
    from nightshift.statistics.intervals import share_interval

    low, high = share_interval(n_noticed, n)
    print(f"{n} of {n_all:,} mutations in {', '.join(rooms)}, seed {seed}: {n_noticed} noticed, {n_noticed / n:.0%} ({low:.0%} to {high:.0%})")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
