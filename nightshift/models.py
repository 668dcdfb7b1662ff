"""Models in files that hold no code: skops for scikit-learn, Keras' own for networks.

Such a file names the types of which its model consists, and loading it makes them. So a file may name those
that our own models have and no others: TYPES for scikit-learn, LAYERS for networks, each by its exact name.
A model of a new kind is refused when it is stored, in a line that says what to add here.
"""

import json
import sys
import warnings
import zipfile
from functools import lru_cache

from helpers import atomic
from nightshift.wording import one_line


class Hidden:
    """A finder of modules that is asked first, and hides these `packages` as long as the block runs."""

    def __init__(self, *packages):
        self.packages = packages

    def find_spec(self, name, path=None, target=None):
        """Say of these packages that there are none, and nothing of any other."""
        if name in self.packages:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    def __enter__(self):
        sys.meta_path.insert(0, self)

    def __exit__(self, *error):
        sys.meta_path.remove(self)


# skops asks scikit-learn for all its estimators, and scikit-learn looks for them by importing every part of
# itself, its adapters of PyTorch and Dask and what it tests itself with too. Without these that takes 2.0 s
# of a processor, 2.9 s with Dask and pytest, and 2 s more with PyTorch
with Hidden("torch", "dask", "pytest"):
    import skops.io


def names_of(module, names):
    """Return the full names of what `names` names, separated by blanks, in `module`."""
    return {f"{module}.{name}" for name in names.split()}


TYPES = frozenset(
    # what any of them has inside
    names_of("builtins", "bool dict float int list slice str tuple NoneType")
    | names_of(
        "numpy",
        "ndarray bool bool_ float32 float64 int32 int64 uint8 uint32 uint64 random._generator.Generator",
    )
    # forests and trees
    | names_of("sklearn.ensemble._forest", "RandomForestClassifier")
    | names_of("sklearn.ensemble._iforest", "IsolationForest")
    | names_of("sklearn.tree._classes", "DecisionTreeClassifier ExtraTreeRegressor")
    | names_of("sklearn.tree._tree", "Tree")
    # gradient boosting, which keeps how it checks its input in a function
    | names_of(
        "sklearn.ensemble._hist_gradient_boosting",
        "gradient_boosting.HistGradientBoostingClassifier gradient_boosting.HistGradientBoostingRegressor "
        "binning._BinMapper predictor.TreePredictor",
    )
    | names_of("sklearn._loss._loss", "CyHalfBinomialLoss CyHalfMultinomialLoss CyPinballLoss")
    | names_of("sklearn._loss.loss", "HalfBinomialLoss HalfMultinomialLoss PinballLoss")
    | names_of("sklearn._loss.link", "IdentityLink Interval LogitLink MultinomialLogit")
    | names_of("sklearn.utils.validation", "check_array")
    | names_of("functools", "partial")
    # distances, projections, lines
    | names_of("sklearn.decomposition", "_pca.PCA _truncated_svd.TruncatedSVD")
    | names_of("sklearn.neighbors._unsupervised", "NearestNeighbors")
    | names_of("sklearn.svm._classes", "OneClassSVM")
    | names_of("sklearn.linear_model._quantile", "QuantileRegressor")
    | names_of("sklearn.dummy", "DummyClassifier")
    # what stands before them
    | names_of("sklearn.pipeline", "Pipeline")
    | names_of("sklearn.compose._column_transformer", "ColumnTransformer")
    | names_of("sklearn.feature_extraction.text", "TfidfTransformer TfidfVectorizer")
    | names_of("sklearn.preprocessing._data", "RobustScaler")
    | names_of("sklearn.preprocessing._encoders", "OrdinalEncoder")
    | names_of("sklearn.preprocessing._function_transformer", "FunctionTransformer")
    | names_of("sklearn.preprocessing._label", "LabelEncoder")
)
LAYERS = frozenset(
    names_of("keras", "DTypePolicy Sequential src.models.functional.Functional optimizers.Adam")
    | names_of("keras", "__ellipsis__ __keras_tensor__")
    | names_of("keras.initializers", "Constant GlorotUniform Orthogonal Zeros")
    | names_of(
        "keras.layers", "Concatenate Dense EinsumDense Embedding InputLayer LSTM Normalization PReLU Subtract"
    )
    | names_of("keras.src.ops.numpy", "Clip GetItem")
)


def dicts_in(content):
    """Yield all dicts in the `content` of a JSON file, at any depth."""
    if isinstance(content, dict):
        yield content
    for one in content.values() if isinstance(content, dict) else content:
        if isinstance(one, dict | list):
            yield from dicts_in(one)


def foreign_types(path):
    """Return the names of types that the stored model `path` has and no model of ours may have, sorted."""
    is_network = path.suffix == ".keras"
    with zipfile.ZipFile(path) as file:
        content = json.loads(file.read("config.json" if is_network else "schema.json"))
    if is_network:
        content.pop("compile_config", None)  # how it was trained, which `load_model` does not ask for
    module, name, ours = (
        ("module", "class_name", LAYERS) if is_network else ("__module__", "__class__", TYPES)
    )
    found = {f"{one.get(module) or 'keras'}.{one[name]}" for one in dicts_in(content) if name in one}
    return sorted(found - ours)


def check_types(path, model):
    """Refuse a stored model, which is called `model`, by ValueError where `foreign_types` finds any."""
    if foreign := foreign_types(path):
        which = "LAYERS" if path.suffix == ".keras" else "TYPES"
        raise ValueError(
            f"{model} holds {', '.join(foreign[:3])}, and is refused: no model of ours may consist of that "
            f"({which} of nightshift/models.py)"
        )


def save_model(model, path):
    """Store a Keras network (.keras), or a scikit-learn object or a list of them (.skops), at `path`,
    atomically. ValueError of `check_types` for a model that `load_model` would refuse.
    """
    with atomic(path) as temporary:
        if path.suffix == ".keras":
            model.save(temporary)
        else:
            skops.io.dump(model, temporary)
        check_types(temporary, path.name)


def load_model(path):
    """Return the Keras network (.keras), to predict only, or the scikit-learn object or list of them, at
    `path`.

    ValueError of one line for one that `check_types` refuses, before anything of it is made, and for one that
    cannot be read: it is damaged, or of another version of its library, whose scores nobody can vouch for.
    """
    try:
        check_types(path, path.name)
    except (OSError, zipfile.BadZipFile, KeyError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise unreadable(path, error) from None
    try:
        return read_network(path) if path.suffix == ".keras" else read_estimator(path)
    except Exception as error:  # of whatever kind its library raises for a file that it cannot read
        raise unreadable(path, error) from None


def stored_model(path):
    """Return `load_model` of `path`, which is read once while the file is the same: to predict only, since
    all who ask share it. Gradient boosting of 200 rounds takes 0.4 s to read, and ms to predict.
    """
    try:
        state = path.stat()
    except OSError:
        return load_model(path)  # which says what is wrong
    return _read_once(path, state.st_ino, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _read_once(path, *_state):
    return load_model(path)


def unreadable(path, error):
    """Return the ValueError about a model at `path` that cannot be read, whose last words say what to do."""
    again = path.with_name("metrics.json")
    return ValueError(
        f"{path} cannot be read as a model, since it is damaged or of another version "
        f"({type(error).__name__}: {one_line(error, 160)}): remove {again}, and the next run trains it again"
    )


def read_estimator(path):
    """Return what is stored in a file of skops, all of whose types are known to be ours."""
    from sklearn.exceptions import InconsistentVersionWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        return skops.io.load(path, trusted=sorted(TYPES))


def read_network(path):
    """Return the Keras network in a file, all of whose layers are known to be ours."""
    import keras

    return keras.saving.load_model(path, compile=False)
