"""Which sources are servers to be asked rather than files to be read, by their names alone, for the
configuration.

The classes of sources are not imported for this, since they need pandas and more: their `addresses` are read
from the text of their modules.
"""

import ast
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@cache
def live_words():
    """Return the words that name a source without a URL, such as "sacct", in any study: a frozenset."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*/*.py")))
    trees = (ast.parse(text) for text in texts if "addresses = " in text)
    classes = (one for tree in trees for one in tree.body if isinstance(one, ast.ClassDef))
    return frozenset(word for one in classes for word in addresses_in(one) if "://" not in word)


def addresses_in(definition):
    """Return the `addresses` of a class, a tuple, from its ast.ClassDef; () where it has none."""
    for one in definition.body:
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "addresses":
            return ast.literal_eval(one.value)
    return ()


def is_server(source):
    """Whether a source, a text, is asked rather than read: a URL, or a word such as sacct, which stands for
    the accounting of the Slurm to which this machine belongs.
    """
    return "://" in source or (source.isidentifier() and source in live_words())
