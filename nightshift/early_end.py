"""A notebook that ends well before its last cell, since the night holds too little for what follows."""


class EndOfNotebook(Exception):
    """Raised outside of a Jupyter kernel, where nothing else can leave out the cells that follow."""


def end_notebook():
    """Leave out all later cells of this notebook, which so ends well: each runs as an empty one, until the
    kernel is started again.

    Whatever follows in the same cell still runs. Outside of a Jupyter kernel, EndOfNotebook is raised.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise EndOfNotebook
    shell.input_transformers_cleanup.insert(0, lambda lines: ["pass\n"])


def end_with_too_little(reason):
    """Record the verdict "too little history" with its `reason`, one sentence, show it, and leave out all
    later cells.
    """
    from helpers import show_sentence
    from nightshift.runs import HISTORY, record

    record("verdict", HISTORY)
    record("verdict_reason", reason)
    show_sentence("**Too little history: {reason}.** What follows on this page is left out.", reason=reason)
    end_notebook()
