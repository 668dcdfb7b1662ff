"""Loops compiled by numba: what NumPy and pandas cannot express in whole arrays, tested against them.

    trailing_median     median, spread and number of the weeks before each week
    window_statistics   STATISTICS of every metric in overlapping windows
    keep_nearest        the nearest neighbours of many rows, from blocks of their cosines
    match_lines         lines of JSON that differ in their values only, and where these are
    gather              pieces of a text, one after another
    hash_texts          a number for each of many texts

They have a file of their own, since numba caches what it has compiled beside the source file, and a loop does
not fit into a cell of a notebook. A loop belongs here when the same in whole arrays was measured and is too
slow (`make bench` says by how much). All is pure, except that some fill arrays that the caller passes.
"""

import numba
import numpy as np


@numba.njit(cache=True)
def trailing_median(values, weeks):
    """Median, scaled median absolute deviation and number of the known values in the `weeks` before each
    week: float (3, S, W).

    values : float64 (series, week), NaN where nothing is known. A week is not in its own window; with no
    known value: NaN, NaN, 0.
    """
    out = np.full((3, *values.shape), np.nan)
    for s in range(values.shape[0]):
        for t in range(values.shape[1]):
            finite = values[s, max(t - weeks, 0) : t]
            finite = finite[np.isfinite(finite)]
            out[2, s, t] = len(finite)
            if len(finite):
                out[0, s, t] = np.median(finite)
                # a standard deviation, for a normal law
                out[1, s, t] = 1.4826 * np.median(np.abs(finite - out[0, s, t]))
    return out


STATISTICS = ["max", "min", "mean", "std", "skew", "kurtosis", "p5", "p25", "p50", "p75", "p95"]


@numba.njit(cache=True)
def _sort_small(values, at, n, out, at_out):
    if n > 40:  # beyond, comparing all pairs costs more than a sort
        for rank, i in enumerate(np.argsort(values[:n])):
            out[rank], at_out[rank] = values[i], at[i]
        return
    for i in range(n):
        rank = 0
        for j in range(n):
            rank += (values[j] < values[i]) | ((values[j] == values[i]) & (j < i))
        out[rank], at_out[rank] = values[i], at[i]


# sums in any order, so that they run in vector registers
@numba.njit(cache=True, fastmath={"reassoc", "contract"})
def _window_column(values, starts, window, out):
    size = window + 1  # one more, for the infinity that ends a list
    # not rows of one: the compiler would fear overlap
    x, new, raw, y = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    at_x, at_new, at_raw, at_y = (
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
    )
    n = end = 0
    # y is the last window, sorted: x what stays of it, then merged with what is new
    for w, start in enumerate(starts):
        k = kept = 0
        for t in range(max(end, start), start + window):
            raw[k], at_raw[k] = values[t], t
            k += np.isfinite(values[t])
        end = start + window
        _sort_small(raw, at_raw, k, new, at_new)
        for i in range(n):
            x[kept], at_x[kept] = y[i], at_y[i]
            kept += at_y[i] >= start
        n, new[k], x[kept] = kept + k, np.inf, np.inf
        i = j = 0
        for s in range(n):  # without branches, which random data mispredicts
            left = x[i] <= new[j]
            y[s], at_y[s] = x[i] if left else new[j], at_x[i] if left else at_new[j]
            i, j = i + left, j + (not left)
        out[:, w] = np.nan
        if n == 0:
            continue
        middle, mean, m2, m3, m4 = y[n // 2], 0.0, 0.0, 0.0, 0.0
        for i in range(n):
            raw[i] = y[i] - middle  # exact for near numbers, so that a counter of 1e12 keeps its digits
            mean += raw[i]
        mean /= n
        for i in range(n):
            c = raw[i] - mean
            m2, m3, m4 = m2 + c * c, m3 + c * c * c, m4 + c * c * c * c
        out[0, w], out[1, w], out[2, w] = y[n - 1], y[0], middle + mean
        if n > 1:
            out[3, w] = np.sqrt(m2 / (n - 1))
        if n > 2 and y[0] < y[n - 1]:  # pandas gives a constant window neither skew nor kurtosis
            out[4, w] = n * np.sqrt(n - 1.0) / (n - 2) * m3 / (m2 * np.sqrt(m2))
        if n > 3 and y[0] < y[n - 1]:
            out[5, w] = (n - 1.0) / ((n - 2.0) * (n - 3)) * ((n + 1.0) * n * m4 / (m2 * m2) - 3 * (n - 1))
        for i, q in enumerate((0.05, 0.25, 0.5, 0.75, 0.95)):
            low = int(q * (n - 1))
            out[6 + i, w] = y[low] + (y[min(low + 1, n - 1)] - y[low]) * (q * (n - 1) - low)


@numba.njit(cache=True, parallel=True)
def _window_pass(values, starts, window, out):
    for m in numba.prange(len(values)):
        _window_column(values[m], starts, window, out[m])


def window_statistics(values, window, step=1, starts=None):
    """STATISTICS of every metric in windows of `window` samples, `step` apart: float32 (n_windows, M, 11).

    values : float (T, M) on a regular grid, NaN where a sample is missing (what is infinite counts as
    missing). `starts`, ascending positions, names the windows instead of `step`. Definitions of pandas'
    rolling(window, min_periods=1): std with ddof 1, skew and excess kurtosis corrected for bias, percentiles
    interpolated linearly; NaN below 2, 3 and 4 samples for std, skew and kurtosis, without any for the
    others, and for the skew and kurtosis of a constant. Fewer than `window` rows: no window. ValueError for
    a window or step below 1, or windows beyond the rows.
    """
    values = np.asarray(values, np.float64)
    if min(window, step) < 1:
        raise ValueError(f"window_statistics: a window of {window} samples every {step} is none")
    starts = np.arange(0, len(values) - window + 1, step) if starts is None else np.asarray(starts, np.int64)
    if len(starts) and (starts[0] < 0 or starts[-1] + window > len(values) or (np.diff(starts) < 0).any()):
        raise ValueError("window_statistics: starts must ascend within the rows")
    out = np.empty((values.shape[1], len(STATISTICS), len(starts)), np.float32)
    _window_pass(np.ascontiguousarray(values.T), starts, window, out)
    return out.transpose(2, 0, 1)


@numba.njit(cache=True)
def _insert(nearest, cosine, row, other, value):
    k = nearest.shape[1] - 1
    while k > 0 and cosine[row, k - 1] < value:
        nearest[row, k], cosine[row, k] = nearest[row, k - 1], cosine[row, k - 1]
        k -= 1
    nearest[row, k], cosine[row, k] = other, value


@numba.njit(cache=True)
def keep_nearest(block, first, second, nearest, cosine):
    """Update the nearest neighbours of rows by a block of their cosines, those of its rows and of its columns
    at once; in place.

    block : float32 (a, b), cosines between the rows first, first + 1, ... and second, second + 1, ...; only
    pairs with the smaller row first count. nearest, cosine : int32 and float32 (n, k), the numbers and the
    cosines of the k nearest rows so far, in descending order; -1 and -1 where there is none yet.
    """
    # copied side by side: read from the rows of `cosine`, each would be a jump in memory
    least, last = cosine[:, -1].copy(), cosine.shape[1] - 1
    for i in range(block.shape[0]):
        row = first + i
        for j in range(max(row + 1 - second, 0), block.shape[1]):
            value, other = block[i, j], second + j
            if value > least[row]:
                _insert(nearest, cosine, row, other, value)
                least[row] = cosine[row, last]
            if value > least[other]:
                _insert(nearest, cosine, other, row, value)
                least[other] = cosine[other, last]


NULL, PLAIN, ESCAPED = 0, 1, 2  # a value of JSON: null; text or a whole number, taken as it stands; any other
ONE = np.uint64(1)  # positions are unsigned, since a signed one costs each letter a test for negative values
IS_SPECIAL = np.array([byte < 32 or byte in b'"\\' or byte > 126 for byte in range(256)])  # in a text of JSON


@numba.njit(cache=True)
def _end_of_text(text, at):
    """(end, kind) of the text of JSON that begins at `at`; kind is -1 for none."""
    kind, at = PLAIN, at + ONE
    while True:
        while not IS_SPECIAL[text[at]]:
            at += ONE
        if text[at] == 34:  # a quotation mark
            return at + ONE, kind
        if text[at] < 32:
            return at, -1
        kind = ESCAPED
        if text[at] == 92 and text[at + ONE] >= 32:  # a backslash, and what it stands before
            at += ONE
        at += ONE


@numba.njit(cache=True)
def _end_of_value(text, at):
    """(end, kind) of the scalar of JSON that begins at `at`; kind is -1 for none."""
    if text[at] == 34:
        return _end_of_text(text, at)
    kind, begin, byte = PLAIN, at, text[at]
    if byte == 45 and 49 <= text[at + ONE] <= 57:  # a minus before a digit that is no zero
        at += ONE
    while text[at] > 32 and text[at] != 44 and text[at] != 93 and text[at] != 125:  # up to , ] }
        if text[at] < 48 or text[at] > 57:
            kind = ESCAPED
        at += ONE
    size = at - begin
    if size == 4 and byte == 110 and text[begin + ONE] == 117 and text[at - ONE] == 108:
        return at, NULL if text[at - ONE - ONE] == 108 else ESCAPED
    if size == 0 or size > 18 or (byte == 48 and size > 1):  # no number, or one that `json` is asked about
        kind = ESCAPED
    return at, kind


@numba.njit(cache=True)
def match_lines(text, starts, fixed, fixed_ends, spans, kinds):
    """Match lines with a template of `fixed` text, of which piece k ends at fixed_ends[k], and a scalar of
    JSON after each piece but the last: bool (L,), which lines fit.

    text : uint8 (n,), lines that each end with a line feed, which is nowhere in `fixed`. starts : uint64
    (L,), where the lines begin. fixed : uint8. fixed_ends : uint64 (fields + 1,). spans : int32 (fields, 2,
    L), filled with the begin and end of each value. kinds : int8 (fields, L), filled with NULL, PLAIN or
    ESCAPED for each.
    """
    fits = np.zeros(len(starts), np.bool_)
    for i in range(len(starts)):
        at, piece, field = starts[i], np.uint64(0), 0
        while True:
            while piece < fixed_ends[field] and text[at] == fixed[piece]:
                at, piece = at + ONE, piece + ONE
            if piece < fixed_ends[field]:
                break
            if field == len(kinds):
                fits[i] = text[at] == 10
                break
            spans[field, 0, i] = at
            at, kind = _end_of_value(text, at)
            spans[field, 1, i], kinds[field, i] = at, kind
            if kind < 0:
                break
            field += 1
    return fits


@numba.njit(cache=True)
def gather(text, begins, ends):
    """Join the pieces [begin, end) of `text`, uint8 (n,): uint8. begins, ends : integers (pieces,)."""
    out, to = np.empty((ends - begins).sum(), np.uint8), np.uint64(0)
    for i in range(len(begins)):
        for at in range(np.uint64(begins[i]), np.uint64(ends[i])):
            out[to] = text[at]
            to += ONE
    return out


@numba.njit(cache=True)
def hash_texts(text, ends):
    """Hash each of n texts to 64 bits: uint64 (n,), 0 for an empty one.

    text : uint8, the texts one after another. ends : int64 (n + 1,), text i is text[ends[i] : ends[i + 1]].
    Fowler, Noll and Vo's FNV-1a, then the last step of MurmurHash3, since FNV-1a leaves the higher bits of
    short texts alike.
    """
    out = np.zeros(len(ends) - 1, np.uint64)
    for i in range(len(out)):
        if ends[i] == ends[i + 1]:
            continue
        number = np.uint64(0xCBF29CE484222325)
        for at in range(np.uint64(ends[i]), np.uint64(ends[i + 1])):
            number = (number ^ np.uint64(text[at])) * np.uint64(0x100000001B3)
        number = (number ^ (number >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
        number = (number ^ (number >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
        out[i] = number ^ (number >> np.uint64(33))
    return out
