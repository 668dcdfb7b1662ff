"""Labels of runs: which anomaly was put beside a job on a node, from label files and from columns of
anomalies.
"""

import pandas as pd
import pyarrow as pa

from nightshift.sources.files import names_in_words
from nightshift.sources.telemetry.cells import names_of, times_of
from nightshift.sources.telemetry.series_rows import FIRST_YEAR
from nightshift.sources.times import is_missing

LABEL_COLUMNS = ["job_id", "node_id", "app", "input", "anomaly", "part"]
SHORT = {"anom": "anomaly", "appname": "app"}  # as E2EWatch names them (utils/datasets.py)


def read_labels(names, pages, *, path="", bad_lines=None):
    """Read the labels of the runs that a label file names: a frame of LABEL_COLUMNS, start and end.

    names : of its columns; pages : (number of the first row, Arrow table) each. A label says of a job on a
    node which application it ran with which input, and which anomaly was put beside it; `none` is healthy. It
    may name a stretch of the run by start and end. Where one of these cannot be read, it would be taken for a
    label of the whole run: the row is added to the list `bad_lines`, as one of the file `path`, and left out.
    ValueError of one line where columns are missing.
    """
    short = {name: SHORT[name] for name in SHORT if name in names and SHORT[name] not in names}
    names = [short.get(name, name) for name in names]
    if "anomaly" not in names or not {"job_id", "node_id"} & set(names):
        raise ValueError(
            f"labels need the columns anomaly, and job_id or node_id; it has {names_in_words(names)}"
        )
    aside = {"path": path, "bad_lines": [] if bad_lines is None else bad_lines}
    empty = pa.table({name: pa.array([], pa.string()) for name in names})
    frames = [labels_of(page.rename_columns(names), first, **aside) for first, page in pages]
    return pd.concat(frames or [labels_of(empty, 1, **aside)], ignore_index=True)


def labels_of(page, first_row, *, path, bad_lines):
    """Read the labels of a page, an Arrow table whose columns have our names, as `read_labels` does."""
    texts = {name: names_of(page[name]) if name in page.column_names else None for name in LABEL_COLUMNS}
    labels = pd.DataFrame({**texts, "start": pd.NaT, "end": pd.NaT}, index=range(len(page)))
    lost = pd.Series(False, labels.index)
    for name in [name for name in ("start", "end") if name in page.column_names]:
        cells, at = names_of(page[name].cast(pa.string())), times_of(page[name])
        labels[name] = at.where(at >= FIRST_YEAR)
        wrong = labels[name].isna() & ~is_missing(cells) & ~lost
        rows = labels.index[wrong]
        bad_lines += [(path, first_row + row, f"no time of its {name}", cells[row][:500]) for row in rows]
        lost |= wrong
    return labels[~lost]


def stretches(rows):
    """Cut rows with the columns ROLES into labels of stretches of equal values, per node and job.

    A stretch ends where the next one begins, and the last one of a job and node a sampling step after its
    last row: its mean step, or 1 s for a single row. Stretches without an anomaly give no label.
    """
    rows = rows.sort_values(["node_id", "job_id", "timestamp"], kind="stable", na_position="first")
    texts = rows[LABEL_COLUMNS].fillna("")
    cut = rows.groupby((texts != texts.shift()).any(axis=1).cumsum())
    runs = rows.loc[cut.head(1).index, LABEL_COLUMNS].reset_index(drop=True)
    start, last, n = (cut.timestamp.agg(how).reset_index(drop=True) for how in ("min", "max", "size"))
    own_end = last + ((last - start) / (n - 1).clip(lower=1)).where(n > 1, pd.Timedelta("1s"))
    whose = runs[["node_id", "job_id"]].fillna("")
    goes_on = (whose == whose.shift(-1)).all(axis=1)
    return runs.assign(start=start, end=start.shift(-1).where(goes_on, own_end)).dropna(subset="anomaly")


def all_labels(label_files, points, *, anomaly_names):
    """Put the labels of every label file and of every table with a column of anomalies into one table.

    label_files : frames as `read_labels` gives them. points : frames of rows with the columns ROLES.
    anomaly_names : {value: name}; a value that is not in it keeps its own name. No label gives no row.
    """
    cut = [stretches(pd.concat(points, ignore_index=True))] if points else []
    frames = [frame for frame in [*label_files, *cut] if len(frame)] or [pd.DataFrame()]
    table = pd.concat(frames, ignore_index=True).reindex(columns=[*LABEL_COLUMNS, "start", "end"])
    table["anomaly"] = table.anomaly.map(lambda name: anomaly_names.get(name, name))
    table[LABEL_COLUMNS] = table[LABEL_COLUMNS].astype("str")
    times = {
        name: pd.to_datetime(table[name], utc=True).astype("datetime64[us, UTC]") for name in ("start", "end")
    }
    return table.assign(**times)
