"""Saved answers of a Prometheus, or of whatever speaks as one does."""

from dataclasses import dataclass

import numpy as np

from nightshift.sources.excerpts import whole_file
from nightshift.sources.files import iter_documents
from nightshift.sources.prometheus import numbers_of_series
from nightshift.sources.telemetry.series_file import SeriesFile


@dataclass
class PrometheusAnswer(SeriesFile):
    """Answers of /api/v1/query_range, or of a query of a range, one after another."""

    label = "a saved answer of a Prometheus"
    excerpt = staticmethod(whole_file)

    def recognises(self, head):
        """By the type of its result."""
        return head.line.startswith("{") and '"resultType"' in " ".join(head.lines)[:2000]

    def series(self, path, extraction):
        """Yield the series of every answer; ValueError of one line for an error, or for a result of another
        type.
        """
        for answer in iter_documents(path, ""):
            if answer.get("status") != "success":
                raise ValueError(f"it is no answer but an error: {str(answer.get('error'))[:150]}")
            extraction.warned.update(answer.get("warnings") or [])
            data = answer["data"]
            if data["resultType"] not in ("matrix", "vector"):
                raise ValueError(
                    f"its result is a {data['resultType']}: needed is one of /api/v1/query_range"
                )
            for labels, values in numbers_of_series(data["result"], extraction.warned):
                pairs = np.array(values, dtype=object).reshape(-1, 2)
                yield labels, pairs[:, 0].astype(float), pairs[:, 1].astype(float)
