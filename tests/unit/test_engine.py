"""The engine of the chain: it writes a notebook seldom, and whole."""

import nbformat
import papermill
import pytest

from nightshift.engine import NAME
from nightshift.kernel import Kernel

CELLS = 12
HIDDEN = "import importlib.util, sys\nprint('debugpy' in sys.modules and sys.modules['debugpy'])"


@pytest.mark.parametrize("every", [0, 3600])
def test_a_notebook_is_written_at_both_ends_and_in_between_when_its_time_has_come(tmp_path, monkeypatch, every):
    sources = [HIDDEN, *(f"print({i})" for i in range(CELLS - 2)), "1 / 0"]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "one.ipynb")
    written, write = [], papermill.engines.write_ipynb

    def count(notebook, path):
        written.append(sum(bool(cell.get("outputs")) for cell in notebook.cells))
        write(notebook, path)

    monkeypatch.setattr("papermill.engines.write_ipynb", count)
    executed = tmp_path / "executed.ipynb"
    with pytest.raises(papermill.PapermillExecutionError):
        papermill.execute_notebook(
            tmp_path / "one.ipynb",
            executed,
            kernel_name="python3",
            language="python",
            kernel_manager_class=Kernel,
            engine_name=NAME,
            autosave_cell_every=every,
            progress_bar=False,
        )
    assert (written[0], written[-1]) == (0, CELLS)
    assert len(written) == 2 if every else len(written) >= 2 * CELLS
    outputs = [cell.outputs for cell in nbformat.read(executed, 4).cells if cell.get("outputs")]
    assert outputs[-1][0]["ename"] == "ZeroDivisionError"
    assert outputs[-CELLS][0]["text"] == "None\n", "the kernel has no debugger to import"
