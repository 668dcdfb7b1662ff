"""Models in files that hold no code: skops for scikit-learn, Keras' own for networks."""

import sys

from helpers import atomic


class Hidden:
    """A finder of modules, first of all others, that finds no `package` within the block."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        """Say of the package that there is none, and nothing of any other."""
        if name == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    def __enter__(self):
        sys.meta_path.insert(0, self)

    def __exit__(self, *error):
        sys.meta_path.remove(self)


# skops asks scikit-learn for all its estimators, and scikit-learn looks for them by importing every part of
# itself, its adapter of PyTorch too: 2.6 s of a processor, of which 0.4 s are left where there is no PyTorch
with Hidden("torch"):
    import skops.io

TRUSTED = ("functools.partial", "numpy.dtype")  # what boosting and the imputer of scikit-learn store besides


def save_skops(model, path):
    """Store a scikit-learn object, or a list of them, at `path`, atomically."""
    with atomic(path) as temporary:
        skops.io.dump(model, temporary)


def load_skops(path):
    """Return the scikit-learn object, or list of them, stored at `path`.

    It may consist of what skops trusts, of TRUSTED and of names of scikit-learn. UntrustedTypesFoundException
    of skops for any other, such as a function of the system that a foreign file would have called.
    """
    unknown = skops.io.get_untrusted_types(file=path)
    return skops.io.load(
        path, trusted=[name for name in unknown if name.startswith("sklearn.") or name in TRUSTED]
    )


def save_model(model, path):
    """Store a Keras network (.keras), or a scikit-learn model (`save_skops`), at `path`, atomically."""
    if path.suffix != ".keras":
        save_skops(model, path)
        return
    with atomic(path) as temporary:
        model.save(temporary)


def load_model(path):
    """Load the Keras network (.keras), to predict only, or scikit-learn model (`load_skops`) at `path`."""
    if path.suffix != ".keras":
        return load_skops(path)
    import keras

    return keras.saving.load_model(path, compile=False)
