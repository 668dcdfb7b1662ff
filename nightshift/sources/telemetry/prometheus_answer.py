"""Saved answers of a Prometheus, or of whatever speaks as one does."""

import re
from dataclasses import dataclass

import numpy as np

from nightshift.sources.excerpts import whole_file
from nightshift.sources.files import iter_documents, iter_elements
from nightshift.sources.prometheus import has_histograms, histograms_left_out, name_of, values_of
from nightshift.sources.telemetry.series_file import SeriesFile


@dataclass
class PrometheusAnswer(SeriesFile):
    """Answers of /api/v1/query_range or /api/v1/query that hold series, one after another."""

    label = "a saved answer of a Prometheus"
    excerpt = staticmethod(whole_file)

    def recognises(self, head):
        """By the type of its result."""
        return head.line.startswith("{") and '"resultType"' in " ".join(head.lines)[:2000]

    def series(self, path, extraction):
        """Yield the series of every answer; ValueError of one line for an error, or for a result of another
        type.
        """
        histograms = set()
        for answer, one in iter_elements(path, "result"):
            if one is None:
                check_answer(answer)
                extraction.warned.update(answer.get("warnings") or [])
            check_result(answer)
            for series in answer["data"]["result"] if one is None else [one]:
                if has_histograms(series):
                    histograms.add(name_of(series))
                if values := values_of(series):
                    at, numbers = zip(*values, strict=True)
                    yield series["metric"], np.array(at, float), np.array(numbers, float)
        extraction.warned.update(histograms_left_out(histograms))


@dataclass
class PromtoolAnswer(SeriesFile):
    """What `promtool query range -o json` prints: the array of series alone."""

    label = "an answer that promtool printed"
    excerpt = staticmethod(whole_file)

    def recognises(self, head):
        """By the names of its first series."""
        return bool(re.match(r'\[\s*\{\s*"metric"\s*:\s*\{', head.text[:200]))

    def series(self, path, extraction):
        """Yield the series of every array."""
        for series in iter_documents(path, "["):
            if values := values_of(series):
                at, numbers = zip(*values, strict=True)
                yield series["metric"], np.array(at, float), np.array(numbers, float)


def check_answer(answer):
    """ValueError of one line for an answer that is an error."""
    if answer.get("status") != "success":
        raise ValueError(f"it is no answer but an error: {str(answer.get('error'))[:150]}")


def check_result(answer):
    """ValueError of one line for an answer whose result is no series, over a range or at one moment."""
    kind = answer["data"].get("resultType", "matrix")
    if kind not in ("matrix", "vector"):
        raise ValueError(f"its result is a {kind}: needed is one of /api/v1/query_range")
