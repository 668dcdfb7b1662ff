"""What a detector is, as in scikit-learn and PyOD: it learns from ordinary items and says how strange others
are. The contract is checked where scores leave a detector, as in numenta/NAB.

To add one, derive from Detector, write `fit` and `measure`, and hold it against NullDetector, which any
detector must beat.
"""

import json
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from nightshift.models import load_model, save_model
from nightshift.runs import warn

READ = {  # how a file that a training leaves proves to be whole
    ".skops": load_model,
    ".keras": load_model,
    ".parquet": lambda path: [None for _ in pq.ParquetFile(path).iter_batches()],  # never the whole of it
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
}


def is_whole(folder, *names):
    """Whether an earlier training has left the files `names` in `folder`, and all models, tables and JSON
    there can be read: only then is a new model compared with the stored one.

    Where one is damaged, the new one takes its place whatever it is worth, and a warning says so. A training
    that failed on it would never replace it.
    """
    if not all((folder / name).exists() for name in names):
        return False
    for path in sorted(folder.glob("*.*")):
        try:
            READ.get(path.suffix, Path.stat)(path)
        except Exception as error:  # of whatever kind its library raises for a file that it cannot read
            warn(
                f"The stored model cannot be read ({path.name}: {type(error).__name__}), so the new one "
                "takes its place without a comparison."
            )
            return False
    return True


def check_scores(scores, n, *, name):
    """Return the scores of `n` items as float (n,); ValueError names the detector `name` where there is not
    one finite number for each.
    """
    scores = np.asarray(scores, float)
    if scores.shape != (n,):
        raise ValueError(f"{name} gave scores of the shape {scores.shape} for {n:,} items")
    if wrong := int((~np.isfinite(scores)).sum()):
        raise ValueError(f"{name} gave {wrong:,} of {n:,} items a score that is no finite number")
    return scores


class Detector(ABC):
    """Says how strange items x, (n, F), are. Higher is stranger, here and wherever a score is spoken of."""

    @abstractmethod
    def fit(self, x):
        """Learn from ordinary items, (n, F) with at least one row; returns itself."""

    @abstractmethod
    def measure(self, x):
        """Measure how strange items are, (n,), n above 0; `score_samples` checks what this gives."""

    def score_samples(self, x):
        """Score items: float (n,), finite; no item gives none. ValueError of `check_scores`."""
        return check_scores(self.measure(x) if len(x) else [], len(x), name=type(self).__name__)


class NullDetector(Detector):
    """Finds everything equally strange: the trivial baseline, with an area under the ROC curve of a half."""

    def fit(self, x):
        """Learn nothing."""
        return self

    def measure(self, x):
        """Give every item the same score."""
        return np.zeros(len(x))


class EstimatorDetector(Detector):
    """A novelty detector of scikit-learn, whose own `score_samples` is lower for what is stranger, stored as
    a file that holds no code.
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, x):
        """Fit the estimator."""
        self.estimator.fit(x)
        return self

    def measure(self, x):
        """Turn the estimator's score around."""
        return -self.estimator.score_samples(x)

    def save(self, folder, name):
        """Store the estimator as `<name>.skops` in `folder`."""
        save_model(self.estimator, folder / f"{name}.skops")

    @classmethod
    def load(cls, folder, name):
        """Load what `save` has stored; errors of `nightshift.models.load_model`."""
        return cls(load_model(folder / f"{name}.skops"))
