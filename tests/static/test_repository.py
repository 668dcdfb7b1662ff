"""Rules about the repository as a whole."""

import ast
import re
import subprocess

import pytest
from conftest import REPOSITORY, VAGUE

from nightshift.chain import OF_DIGEST, OF_SAMPLE


def test_ruff_is_clean():
    done = subprocess.run(["ruff", "check", "."], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_nbstripout_finds_nothing_in_any_notebook():
    notebooks = sorted([*REPOSITORY.glob("notebooks/**/*.ipynb"), *REPOSITORY.glob("templates/study/*.ipynb")])
    assert len(notebooks) >= 9
    done = subprocess.run(["nbstripout", "--verify", *notebooks], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def test_nothing_lies_at_the_top_but_what_the_architecture_names_and_tools_look_for():
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    top = {path.partition("/")[0] for path in tracked}
    of_tools = {".gitignore", "LICENSE", "README.md", "config.schema.json", "constraints.txt", "environment.yml", "pyproject.toml"}
    layout = (REPOSITORY / "docs/architecture.md").read_text()
    assert [name for name in sorted(top - of_tools - {"requirements.txt"}) if f"`{name}" not in layout] == []


def test_helpers_stay_small_and_every_public_name_is_used():
    text = (REPOSITORY / "helpers.py").read_text()
    assert len(text.splitlines()) < 640  # more, and the next thing to do is to move what serves one study into the package
    others = [path for files in ("nightshift/**/*.py", "notebooks/**/*.ipynb", "bench/*.py") for path in REPOSITORY.glob(files)]
    users = "\n".join(path.read_text() for path in others)
    for name in re.findall(r"^def ([a-z]\w+)", text, re.M):
        assert len(re.findall(rf"\b{name}\b", text)) > 1 or re.search(rf"\b{name}\b", users), f"nothing uses helpers.{name}"


@pytest.mark.parametrize("module", sorted(str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("nightshift/**/*.py")))
def test_lines_of_the_package_fit_on_a_page(module):
    assert [n for n, line in enumerate((REPOSITORY / module).read_text().splitlines(), 1) if len(line) > 110] == []


def test_every_requirement_has_a_reason_and_a_pin():
    pins = {line.partition("==")[0].lower().replace("_", "-") for line in (REPOSITORY / "constraints.txt").read_text().splitlines()}
    for line in (REPOSITORY / "requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, reason = line.partition("#")
            assert reason.strip(), line
            assert re.split(r"[<>=\[]", name.strip())[0].lower() in pins, f"{name} has no pin"


def test_products_are_ignored_and_their_folders_explained():
    for folder in ("data", "encoders", "models", "plots", "reports"):
        assert (REPOSITORY / folder / "README.md").exists()
        ignored = subprocess.run(["git", "check-ignore", "-q", f"{folder}/anything.parquet"], cwd=REPOSITORY)
        assert ignored.returncode == 0


def test_make_help_lists_at_most_eight_targets_that_there_are():
    listed = subprocess.run(["make", "--no-print-directory", "help"], cwd=REPOSITORY, capture_output=True, text=True).stdout.splitlines()
    assert 5 <= len(listed) <= 8
    assert all(re.match(r"  make [a-z]+ +\w", line) for line in listed)
    assert "backtest" in " ".join(listed)


def test_the_notebooks_of_studies_import_only_what_makes_them_run_again():
    """Folders of the package whose changes start no study anew are imported by none of them."""
    folders = "|".join(OF_DIGEST | OF_SAMPLE)
    modules = [path for path in REPOSITORY.glob("nightshift/**/*.py") if path.parent.name in ("sources", "detectors")]
    modules += [REPOSITORY / "helpers.py"]
    for path in [*REPOSITORY.glob("notebooks/*/*.ipynb"), *modules]:
        assert not re.search(rf"(from|import) nightshift\.({folders})\b", path.read_text()), path


OUTSIDE = (".venv", "products", "reports")


def modules():
    paths = (path.relative_to(REPOSITORY) for path in REPOSITORY.glob("**/*.py"))
    return sorted(str(path) for path in paths if path.parts[0] not in OUTSIDE)


@pytest.mark.parametrize("module", modules())
def test_values_of_modules_and_tests_have_names_that_say_what_they_are(module):
    nodes = list(ast.walk(ast.parse((REPOSITORY / module).read_text())))
    names = [(one.id, one.lineno) for one in nodes if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]
    names += [(one.arg, one.lineno) for one in nodes if isinstance(one, ast.arg)]
    assert not [f"{name} on line {line}" for name, line in names if name in VAGUE]


def test_no_module_of_the_tests_asks_the_clock_when_it_is_loaded():
    """A suite that begins before midnight ends behind it: what a test holds for today must be asked by the test."""
    clock = re.compile(r"\b(now|today|utcnow|time|monotonic)\(")
    for path in REPOSITORY.glob("tests/**/*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                assert not clock.search(ast.unparse(node)), f"{path.relative_to(REPOSITORY)}:{node.lineno}"
