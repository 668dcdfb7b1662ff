"""The picture of imports has no arrow that runs up: a module imports what stands in a layer below its own, or in its own room."""

import ast

import pytest
from conftest import REPOSITORY

PACKAGE = REPOSITORY / "nightshift"
LAYERS = [  # rooms, the lowest first: a folder of the package, or a module at its top
    {"wording", "yaml_files"},
    {"catalog", "checksums", "compiled", "credentials", "engine", "error_classes", "figures", "forkserver", "former_names", "kernel"}
    | {"log", "parameters", "personal", "processes", "schemas", "series", "statistics", "unspaced", "workers"},
    {"evidence", "privacy", "products", "new_study"},
    {"tryout"},
    {"helpers"},
    {"generators", "models", "runs", "sites", "status"},
    {"alarms", "assurance", "early_end", "losses", "sources"},
    {"detectors"},
    {"cleaning", "incidents", "remediation", "simulate", "truth"},
    {"analysis", "backtest_scores", "backtest_figures", "reporting"},
    {"notify"},
    {"config"},
    {"missed", "retention", "surroundings"},
    {"check"},
    {"chain", "config_schema"},
    {"unchanged"},
    {"night"},
    {"backtest", "backup", "live", "night_status", "serve", "sweeps"},
    {"cli"},
    {"__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
MODULES = [REPOSITORY / "helpers.py", *sorted(PACKAGE.rglob("*.py"))]


def room_of(parts):
    """The room of a module, by the parts of its name; "" for the package itself."""
    return parts[0] if parts[0] == "helpers" else parts[1] if len(parts) > 1 else ""


def imported(tree):
    """Rooms that a module imports, anywhere in it."""
    for one in ast.walk(tree):
        names = [alias.name for alias in one.names] if isinstance(one, ast.Import) else []
        if isinstance(one, ast.ImportFrom):
            names = [f"nightshift.{alias.name}" for alias in one.names] if one.module == "nightshift" else [one.module]
        yield from (room_of(name.split(".")) for name in names if name.split(".")[0] in ("helpers", "nightshift"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_import_runs_up(module):
    room = room_of(module.relative_to(REPOSITORY).with_suffix("").parts)
    above = [other for other in imported(ast.parse(module.read_text())) if other not in ("", room) and LEVEL[other] >= LEVEL.get(room, -1)]
    assert room == "__init__" or above == []


def test_every_room_has_its_layer():
    rooms = {path.stem for path in PACKAGE.glob("[!_]*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms - set(LEVEL) == set()
    assert set(LEVEL) - rooms == {"helpers", "__main__"}
