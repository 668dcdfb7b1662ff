"""Saved answers of a Prometheus, or of whatever speaks as one does."""

import re
from dataclasses import dataclass

from nightshift.sources.excerpts import whole_file
from nightshift.sources.files import iter_documents, iter_elements
from nightshift.sources.prometheus import has_histograms, histograms_left_out, name_of, values_of
from nightshift.sources.telemetry.series_file import SeriesFile, arrays_of

NEEDED = "needed is one of /api/v1/query_range"
RESULT = re.compile(r'"resultType"|"data"\s*:\s*\{\s*"result"\s*:\s*\[')


@dataclass
class PrometheusAnswer(SeriesFile):
    """Answers of /api/v1/query_range or /api/v1/query that hold series, one after another."""

    label = "a saved answer of a Prometheus"
    excerpt = staticmethod(whole_file)

    def recognises(self, head):
        """By the type of its result, or where names are sorted, so that this comes last, by its result."""
        begin = " ".join(head.lines)[:2000]
        return head.line.startswith("{") and bool(RESULT.search(begin))

    def series(self, path, extraction):
        """Yield the series of every answer; what is none becomes a bad line. ValueError of one line for an
        error, for a result of another type, and for what is no answer.
        """
        return numbers_of(self.results(path, extraction), path, extraction)

    def results(self, path, extraction):
        """Yield what the results of all answers hold; errors are those of `series`."""
        for answer, one in iter_elements(path, "result"):
            if one is None:
                check_answer(answer)
                extraction.warned.update(answer.get("warnings") or [])
            found = result_of(answer)
            yield from found if one is None else [one]


@dataclass
class PromtoolAnswer(SeriesFile):
    """What `promtool query range -o json` prints: the array of series alone."""

    label = "an answer that promtool printed"
    excerpt = staticmethod(whole_file)

    def recognises(self, head):
        """By the names of its first series."""
        return bool(re.match(r'\[\s*\{\s*"metric"\s*:\s*\{', head.text[:200]))

    def series(self, path, extraction):
        """Yield the series of every array; what is none becomes a bad line."""
        return numbers_of(iter_documents(path, "["), path, extraction)


def numbers_of(found, path, extraction):
    """Yield (labels, times in s since 1970, values), float (n,) each, of the series `found` in a file; what
    is none becomes a bad line, and native histograms a warning.
    """
    histograms = set()
    for n, one in enumerate(found, 1):
        if (numbers := arrays_in(one)) is None:
            extraction.bad_lines.append((path, n, "no series", str(one)[:500]))
            continue
        if has_histograms(one):
            histograms.add(name_of(one))
        if len(numbers[1]):
            yield numbers
    extraction.warned.update(histograms_left_out(histograms))


def arrays_in(series):
    """One series of an answer as `arrays_of` gives it, without a value where it has only histograms; None
    where it is no series.
    """
    try:
        pairs = values_of(series)
        at, numbers = zip(*pairs, strict=True) if pairs else ((), ())
    except (AttributeError, TypeError, ValueError):
        return None
    return arrays_of(series.get("metric"), at, numbers)


def check_answer(answer):
    """ValueError of one line for an answer that is an error, and for what is no answer."""
    match answer:
        case {"status": "success"}:
            return
        case {"error": error}:
            raise ValueError(f"it is no answer but an error: {str(error)[:150]}")
    raise ValueError(f"it is no answer of a Prometheus: {NEEDED}")


def result_of(answer):
    """The series in an answer, over a range or at one moment; ValueError of one line where it holds none."""
    match answer:
        case {"data": {"resultType": kind}} if kind not in ("matrix", "vector"):
            raise ValueError(f"its result is a {kind}: {NEEDED}")
        case {"data": {"result": list(found)}}:
            return found
    raise ValueError(f"it is no answer of a Prometheus: {NEEDED}")
