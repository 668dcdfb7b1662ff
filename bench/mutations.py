"""Whether the unit tests would notice a wrong line: `python bench/mutations.py [MUTATIONS] [SEED] [ROOM ...]`; by default 60, 1 and all of TESTS.

A room is a module of the package or a folder of it. One operator or constant of one of its lines is changed, in a copy of the repository: a
comparison, `and` and `or`, a sign of arithmetic, a number, a truth value, or a `not` that goes. Then the room's own unit tests run. What they do
not notice is printed with its line, to be looked at one by one: some change nothing that anybody could see. At most a tenth should pass.
"""

import ast
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
TESTS = {  # of each room, names below tests/unit, without test_
    "incidents": "incidents incident_wording silences",
    "remediation": "remediation",
    "statistics": "statistics trailing properties",
    "detectors": "detectors recurrent transfers_limits transfers_judgement health topics accounting_judgement telemetry_functions helpers "
    "certification_autoencoders telemetry_streams tickets_training transfer_incidents",
    "sources": "accounting_formats accounting_steps event_lines files node_tables parts series node_series rucio ticket_sources "
    "ticket_tables slurm_text sources_base times histograms luminosity golden node_parts certification counters queues",
    "privacy": "masking persons unspaced",
    "personal": "masking persons",
    "notify": "message",
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


def noticed(copy, room):
    """Whether a test of the room fails in the copy, or does not end."""
    tests = [str(copy / f"tests/unit/test_{name}.py") for name in TESTS[room].split()]
    command = [sys.executable, "-m", "pytest", "-n", "0", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        return subprocess.run(command, cwd=copy, env=of_copy(copy), capture_output=True, timeout=600).returncode != 0
    except subprocess.TimeoutExpired:
        return True


def of_copy(copy):
    """The environment in which the modules of the copy are imported."""
    return os.environ | {"PYTHONPATH": f"{copy}:{os.environ.get('PYTHONPATH', '')}", "PYTHONDONTWRITEBYTECODE": "1"}


def main(n=60, seed=1, *rooms):
    drawn, rooms = random.Random(int(seed)), rooms or tuple(TESTS)
    with tempfile.TemporaryDirectory(prefix="nightshift-mutations-") as folder:
        copy = Path(folder, "copy")
        subprocess.run(["git", "clone", "--quiet", "--shared", REPOSITORY, copy], check=True)
        for room in rooms:
            if noticed(copy, room):
                sys.exit(f"the tests of {room} fail as they are")
        passed, all_of = [], candidates(rooms)
        # rooms take turns: sources are half of the package
        by_room = {room: drawn.sample(of_room, min(len(of_room), int(n))) for room in rooms if (of_room := [one for one in all_of if one[1] == room])}
        chosen = [one for place in range(int(n)) for room in rooms for one in by_room[room][place : place + 1]][: int(n)]
        for number, (path, room, node, instead) in enumerate(chosen, 1):
            text = (REPOSITORY / path).read_text()
            (copy / path).write_text(changed(text, node, instead))
            if not noticed(copy, room):
                passed.append(path)
                print(f"{path}:{node.lineno}: {ast.unparse(node)[:90]} -> {ast.unparse(instead)[:90]}", flush=True)
            (copy / path).write_text(text)
            print(f"{number} of {len(chosen)}, {len(passed)} not noticed", end="\r", flush=True)
    print(f"{len(chosen)} of {len(all_of):,} mutations in {', '.join(rooms)}, seed {seed}: {len(chosen) - len(passed)} noticed")
    return int(len(passed) > len(chosen) / 10)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
