"""End a notebook before its last cell and without an error, where the night holds too little for the rest."""


class EndOfNotebook(Exception):
    """Raised outside a Jupyter kernel, where only an exception can keep the later cells from running."""


def end_notebook():
    """Skip all later cells of this notebook, so that it ends without an error: each runs as if it were empty,
    until the kernel is restarted.

    What follows in the same cell still runs. Outside a Jupyter kernel, EndOfNotebook is raised.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise EndOfNotebook
    shell.input_transformers_cleanup.insert(0, lambda lines: ["pass\n"])


def end_with_too_little(reason):
    """Record the verdict "too little history" with its `reason`, one sentence, show it, and skip all later
    cells.
    """
    from helpers import show_sentence
    from nightshift.runs import HISTORY, record

    record("verdict", HISTORY)
    record("verdict_reason", reason)
    show_sentence("**Too little history: {reason}.** What follows on this page is left out.", reason=reason)
    end_notebook()
