"""The rules that can be read off the notebook files, without running them."""

import ast
import functools
import json
import re

import papermill
import pytest
from conftest import REPOSITORY, VAGUE

from nightshift import catalog

NOTEBOOKS = sorted([*(REPOSITORY / "notebooks").rglob("*.ipynb"), *(REPOSITORY / "templates/study").glob("*.ipynb")])  # the latter of a new study
SECTIONS = {
    "3_train": ["Data", "Baseline", "Model", "Fit", "Threshold", "Check", "Conclusion"],
    "4_analyse": ["Headline", "Findings", "Why", "How good", "Limits", "Conclusion"],
}
ENDS = {  # where a page of its own says how good it is: the first and the last headings
    "4_analyse": (["Headline", "Findings"], ["How sure", "Limits", "Conclusion"]),
    "5_quality": (["The models", "The alarms"], ["Limits", "Conclusion"]),
}

MODULES = [*REPOSITORY.glob("*.py"), *(REPOSITORY / "nightshift").rglob("*.py")]
SILENT = {"dump", "save", "rmtree", "cleanup", "display", "close", "unlink", "mkdir", "update", "append", "write_text"}  # of libraries

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: "/".join(p.parts[-2:]))


def cells_of(path):
    return json.loads(path.read_text())["cells"]


def code_of(path):
    return ["".join(c["source"]) for c in cells_of(path) if c["cell_type"] == "code"]


def test_first_cell_names_question_products_and_what_is_not_claimed(path):
    first = "".join(cells_of(path)[0]["source"])
    assert first.startswith("# ")
    assert all(word in first for word in ("*Reads*", "*Writes*", "*Not claimed*", "?"))


def test_one_parameters_cell_that_papermill_reads_with_a_help_text_for_each(path):
    tagged = [c for c in cells_of(path) if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1
    lines = [line for line in "".join(tagged[0]["source"]).splitlines() if line.strip()]
    inferred = papermill.inspect_notebook(str(path))
    assert len(inferred) == len(lines), "papermill skips a line: is there a second = in it?"
    assert all(p["help"] and p["inferred_type_name"] != "None" for p in inferred.values())


def test_a_notebook_is_as_long_as_one_can_read(path):
    n_cells = len(cells_of(path))
    assert 12 <= n_cells <= 30, f"{n_cells} cells: split it by question, or move what prepares into a module"


def test_cells_are_short_and_prose_leads(path):
    cells = cells_of(path)
    assert max(len(code.splitlines()) for code in code_of(path)) <= 25
    run = 0
    for cell in cells:
        run = run + 1 if cell["cell_type"] == "code" else 0
        assert run <= 3, f"four code cells in a row, up to {''.join(cell['source'])[:60]!r}"


def test_no_outputs_and_no_execution_counts(path):
    assert all(c["outputs"] == [] and c["execution_count"] is None for c in cells_of(path) if c["cell_type"] == "code")


def test_imports_by_name_and_no_path_tricks(path):
    text = "\n".join(code_of(path))
    assert "sys.path" not in text
    assert "import *" not in text
    assert "%run" not in text
    assert not re.search(r"^\s*[!%]", text, re.M)


def test_ends_with_a_conclusion_that_names_a_limit(path):
    cells = cells_of(path)
    assert "".join(cells[-2]["source"]).strip() == "## Conclusion"
    assert "- Limit:" in "".join(cells[-1]["source"])


def test_numbers_in_prose_are_computed(path):
    prose = "\n".join("".join(c["source"]) for c in cells_of(path) if c["cell_type"] == "markdown")
    assert not re.search(r"\d[\d,.]*\s*(% of|transfers\b)", prose), "a number is typed into the prose"


def test_the_headings_of_one_step_are_the_same_in_every_study(path):
    headings = re.findall(r"^## (.*)$", "\n".join("".join(c["source"]) for c in cells_of(path) if c["cell_type"] == "markdown"), re.M)
    has_quality = (path.parent / "5_quality.ipynb").exists()
    if path.stem == "5_quality" or (path.stem == "4_analyse" and has_quality):  # with evidence by what it shows between them
        opening, closing = ENDS[path.stem]
        assert (headings[: len(opening)], headings[-len(closing) :]) == (opening, closing)
    else:
        assert headings == SECTIONS.get(path.stem, headings)


def test_every_figure_is_saved_by_the_call_that_shows_it(path):
    for code in code_of(path):  # in one cell: what a cell leaves open is shown once more, without a description
        assert code.count("plt.subplots") == len(re.findall(r"\bshow_figure\(ax", code)), code
        assert "plt.show" not in code


@functools.cache
def functions_of_modules():
    """{name: definition} of the functions of all modules that notebooks import."""
    return {one.name: one for path in MODULES for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, ast.FunctionDef)}


def gives_value(function):
    """Whether a function, as a syntax tree, returns a value; functions inside of it do not count."""
    parts = [part for part in ast.walk(function) if isinstance(part, ast.FunctionDef | ast.Lambda) and part is not function]
    inner = {id(one) for part in parts for one in ast.walk(part)}
    returned = [one for one in ast.walk(function) if isinstance(one, ast.Return) and one.value is not None and id(one) not in inner]
    return any(not (isinstance(one.value, ast.Constant) and one.value.value is None) for one in returned)


def test_no_cell_ends_with_a_value_that_jupyter_would_print(path):
    trees = [ast.parse(code) for code in code_of(path)]
    functions = functions_of_modules() | {one.name: one for tree in trees for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}
    for tree in [tree for tree in trees if tree.body and isinstance(tree.body[-1], ast.Expr)]:
        last = tree.body[-1].value
        for part in [last.body, last.orelse] if isinstance(last, ast.IfExp) else [last]:
            assert isinstance(part, ast.Call), f"a cell ends with the value {ast.unparse(part)[:80]}"
            name = part.func.attr if isinstance(part.func, ast.Attribute) else ast.unparse(part.func)
            silent = not gives_value(functions[name]) if name in functions and not isinstance(part.func, ast.Attribute) else name in SILENT
            assert silent, f"a cell ends with {ast.unparse(part)[:80]}, whose value is printed: give it a name, or show it by show_table"


def lines_of(code):
    """Numbers of the lines of a cell that hold code, from 1."""
    return {number for number, line in enumerate(code.splitlines(), 1) if line.strip() and not line.strip().startswith("#")}


def test_functions_stand_in_modules(path):
    """But for training, where model, loss and threshold are the subject."""
    n_lines = n_inside = 0
    for code in code_of(path):
        defined = [one for one in ast.parse(code).body if isinstance(one, ast.FunctionDef | ast.ClassDef)]
        inside = {line for one in defined for line in range(one.lineno, one.end_lineno + 1)}
        n_lines += len(lines_of(code))
        n_inside += len(lines_of(code) & inside)
    assert n_inside <= (0.3 if path.stem == "3_train" else 0.1) * n_lines


def test_a_cell_is_one_thought_and_fits_on_a_page(path):
    cells = [cell for cell in cells_of(path) if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", [])]
    for code in ("".join(cell["source"]) for cell in cells):
        assert len(lines_of(code)) <= 15, code
        assert max(map(len, code.splitlines()), default=0) <= 110, code


def test_values_have_names_that_say_what_they_are(path):
    nodes = [one for code in code_of(path) for one in ast.walk(ast.parse(code))]
    names = {one.id for one in nodes if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    assert not (names | {one.arg for one in nodes if isinstance(one, ast.arg)}) & VAGUE


def test_kinds_of_findings_are_called_by_their_labels(path):
    kinds = catalog.study_of(path.parent.name).kinds if path.parent.parent.name == "notebooks" else {}
    named = {name.replace("_", " ") for name in kinds} - {catalog.label_of(path.parent.name, name) for name in kinds}
    prose = "\n".join("".join(c["source"]) for c in cells_of(path) if c["cell_type"] == "markdown").lower()
    assert [name for name in named if f"**{name}**" in prose] == []
    of_kinds = re.compile(r"kind\w*(\.iloc\[\d\]|\[\d\]|\.str)?\.replace\(.?_")
    assert not kinds or [code for code in code_of(path) if of_kinds.search(code)] == [], "label_of of nightshift.catalog has the name"


def test_every_table_of_findings_is_written_with_the_rows_that_made_it(path):
    calls = [one for code in code_of(path) for one in ast.walk(ast.parse(code)) if isinstance(one, ast.Call)]
    writing = [one for one in calls if isinstance(one.func, ast.Name) and one.func.id == "write_findings"]
    assert all(len(one.args) == 4 for one in writing), "the rows of each finding are the fourth argument"
    assert writing or path.stem != "4_analyse"
