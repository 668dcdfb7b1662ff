"""Which sources are asked and not read, by their names alone: what the configuration has to know of them.

The classes themselves (base.py) are not imported for it, since these need pandas and more: their `addresses`
are read from the text of their modules.
"""

import ast
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@cache
def live_words():
    """Return the words that name a source without a URL, such as "sacct": a frozenset, of all studies."""
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
    """Whether a source is asked and not read: a URL, or a word such as sacct, the accounting of the Slurm to
    which this machine belongs.
    """
    return "://" in source or (source.isidentifier() and source in live_words())
