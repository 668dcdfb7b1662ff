"""Shared science code of Nightshift, by layer, in the order of the chain.

    Paths       where every product lives                    study_paths, project_path, atomic, write_...
    Clean       what its schema says                         check_schema
    Encoders    one code per name                            fit_categories, encode_categories, table_key
    Plots       one figure, one claim, saved and shown       show_figure
    Records     sentences, tables, metrics, findings         show_sentence, record_metrics, write_findings

A function belongs here when a second study needs it, or when a silent error in it would spoil several. All
functions are pure except `write_`, `record_` and `show_`. Everything else is in nightshift/.
"""

import contextlib
import html
import json
import numbers
import os
import re
import uuid
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from nightshift import catalog
from nightshift.checksums import use_checksums
from nightshift.evidence import build_rows
from nightshift.figures import plain_text, save_figure  # which turn off the parser of mathematical text
from nightshift.products import expanded, git_revision
from nightshift.schemas import FINDING, FINDING_MAY_HAVE, NUMBER, TEXT, TIME, columns_of
from nightshift.series import Picture, series_of
from nightshift.tryout import is_by_hand, output_root
from nightshift.wording import SEQUENCES, skill_in_words

# ------------------------------------------------------------------------------------------------------ Paths

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a cell begins with that a spreadsheet computes
use_checksums()  # of all tables that this process reads and writes
ROOT = Path(__file__).resolve().parent
# 6 to 12 times the torch backend on LSTM training on 2 cores
os.environ.setdefault("KERAS_BACKEND", "jax")


def project_path(path):
    """Absolute path of `path`; a relative one counts from the repository root, wherever the notebook runs.
    ValueError for a path such as ~name/x where no user has that name.
    """
    return ROOT / expanded(path)


def study_paths(study, products=""):
    """Return where `study` keeps its products below the folder `products` (empty: the repository), or where
    its try-outs do, see nightshift/tryout.py.

    A namespace of paths: root, sample, raw, encoders, models, plots (folders), clean, rejected, scores,
    findings (files, or folders of files for large tables).
    """
    root = output_root(project_path(products), show_sentence)
    paths = {name: root / name / study for name in ("encoders", "models", "plots")}
    paths |= {name: root / "data" / name / f"{study}.parquet" for name in ("clean", "scores", "findings")}
    return SimpleNamespace(
        root=root,
        sample=root / "data/sample",
        raw=root / "data/raw" / study,
        rejected=root / "data/clean" / f"{study}_rejected.parquet",
        **paths,
    )


@contextlib.contextmanager
def atomic(path):
    """Yield a temporary path beside `path`, renamed over it when the block ends well and removed when it
    does not.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # keeps the suffix: savers choose by it
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_parquet(frame, path):
    """Write `frame` to `path` as Parquet, atomically, without its index."""
    with atomic(path) as temporary:
        frame.to_parquet(temporary, index=False)


@contextlib.contextmanager
def parquet_in_parts(path):
    """Yield a function that appends a frame to the Parquet file at `path`, which gets its name when the block
    ends well: for tables of which memory holds a part only.

    At least one frame, and all with the columns of the first; indices are not written, categories as texts.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic(path) as temporary, contextlib.ExitStack() as stack:
        writers = []

        def write(frame):
            names = frame.select_dtypes("category").columns
            part = pa.Table.from_pandas(frame.astype(dict.fromkeys(names, "str")), preserve_index=False)
            if not writers:
                writers.append(stack.enter_context(pq.ParquetWriter(temporary, part.schema)))
            writers[0].write_table(part)

        yield write
        if not writers:
            raise ValueError(f"parquet_in_parts: no part of {path} was written")


def write_json(content, path):
    """Write `content` to `path` as indented JSON, atomically; NaN is refused (ValueError), it is not JSON."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_csv(table, path):
    """Write a table as CSV, atomically, without its index, times in UTC as ISO 8601.

    A text that a spreadsheet would take for a formula begins with an apostrophe, and what a terminal would
    act on becomes U+FFFD, one for each sequence. A carriage return becomes a newline: pandas would write it
    without quotes, and what stands behind it would be the first cell of a row.
    """
    shown = table.copy()
    for column in shown.select_dtypes(["object", "str"]):
        texts = [SEQUENCES.sub("\ufffd", one) if isinstance(one, str) else one for one in shown[column]]
        texts = [f"'{text}" if str(text).startswith(FORMULA) else text for text in texts]
        shown[column] = [re.sub(r"\r\n?", "\n", one) if isinstance(one, str) else one for one in texts]
    with atomic(path) as temporary:
        shown.to_csv(temporary, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")


# ------------------------------------------------------------------------------------------------------ Clean


def check_schema(frame, schema, name):
    """Return `frame` validated by the pandera `schema`; ValueError names the file, the column and the
    first bad rows.
    """
    from pandera.errors import SchemaErrors

    try:
        return schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        cases["column"] = cases.column.fillna(cases.failure_case)  # of a column that is not there
        (column, check), same = next(iter(cases.groupby(["column", "check"], sort=False)))
        raise ValueError(
            f"{name}: column {column!r} fails {check!r} in {len(same)} rows, first "
            f"{same[['index', 'failure_case']].head(3).values.tolist()}"
        ) from None


# -------------------------------------------------------------------------------------- Features and encoders


def fit_categories(frame, columns, earlier=None):
    """List the categories of `columns` of a frame, as `extend_categories` does."""
    return extend_categories({c: frame[c].value_counts().to_dict() for c in columns}, earlier)


def extend_categories(counts, earlier=None):
    """List the categories of columns: {column: [value, ...]}; position + 1 is the code, and 0 is reserved for
    values never seen.

    counts : {column: {value: rows}}. What is in `earlier`, an earlier result, keeps its codes; new values
    with any row are appended by falling count, so that stored models stay valid.
    """
    lists = {c: list((earlier or {}).get(c, [])) for c in counts}
    for c, of in counts.items():
        already = set(lists[c])
        by_count = sorted(filter(of.get, of), key=of.get, reverse=True)
        lists[c] += [name for name in dict.fromkeys(map(str, by_count)) if name not in already]
    return lists


def encode_categories(frame, categories):
    """Encode the columns of `categories`: a new int32 frame [row, column]; values never seen and missing ones
    get 0.
    """
    # names are looked up once each, not once per row
    columns = {c: frame[c].astype("category").cat for c in categories}
    code = {
        c: np.append(pd.Index(categories[c]).get_indexer(x.categories.astype(str)) + 1, 0)[x.codes]
        for c, x in columns.items()
    }
    return pd.DataFrame(code, index=frame.index, dtype="int32")


def table_key(frame, keys):
    """Join the columns `keys` to one text key per row: Series; without keys, the empty text."""
    first, *others = [frame[key].astype(str) for key in keys] or [pd.Series("", index=frame.index)]
    return first.str.cat(others, sep="|")


# ------------------------------------------------------------------------------------------------------ Plots


def show_figure(ax, path, title, xlabel, ylabel):
    """Finish `ax` (title = the claim, axes with quantity and unit), save its figure to `path`, show it with
    the claim as alt text.

    `ax` may be an array of axes, small multiples: the title and the labels are then those of the whole
    figure. A figure over time keeps its numbers, by which its report lets readers zoom: nightshift/series.py.
    A run by hand saves each figure as a PDF too, for a paper; the chain does not, since that takes a tenth of
    a second.
    """
    import matplotlib.pyplot as plt
    from IPython.display import Image, display

    figure = np.ravel(ax)[0].figure
    if isinstance(ax, np.ndarray):
        figure.suptitle(title, x=0.01, ha="left", wrap=True)
        figure.supxlabel(xlabel, fontsize="medium")
        figure.supylabel(ylabel, fontsize="medium")
    else:
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.set_title(title, loc="left", wrap=True)
    for file in [path, path.with_suffix(".pdf")] if is_by_hand() else [path]:
        with atomic(file) as temporary:
            save_figure(plain_text(figure), temporary)  # a $ in a name is a $
    series = series_of(figure)
    plt.close(figure)
    png = path.read_bytes()
    display(Picture(png, alt=title, series=series) if series else Image(png, alt=title))


# ---------------------------------------------------------------------------------------------------- Records

FINDING_COLUMNS = list(FINDING)
NEEDED = ["kind", "entity", "start", "end", "score", "p_value", "evidence"]  # others may be missing


def build_findings(rows, study):
    """Build the table of findings of a study from what differs between them: DataFrame of FINDING_COLUMNS in
    their types; none gives an empty one.

    rows : DataFrame, or list of dicts, with the columns NEEDED, and site, observed, expected, unit, impact,
    figure and those of FINDING_MAY_HAVE where there are any; others are left out. kind : one of the study's
    study.yaml, which also says the unit of the impact. start, end : UTC, missing where the source has no
    times. impact : what it costs, NaN where nobody can say. evidence : one sentence, which stays on one line.
    Missing text is "". KeyError names the columns that are missing, ValueError the first finding that breaks
    the contract.
    """
    table = pd.DataFrame(rows)
    if len(table) and (lacking := [name for name in NEEDED if name not in table]):
        raise KeyError(f"findings of {study} have no column {', '.join(lacking)}")
    may_have = [name for name in FINDING_MAY_HAVE if name in table]
    table = table.reindex(columns=[*FINDING_COLUMNS, *may_have]).assign(study=study)
    table[may_have] = table[may_have].astype(object).fillna("").astype(str)
    kinds = {kind: catalog.finding_kind(study, kind) for kind in table.kind.unique()}
    table["impact_unit"] = [kinds[kind].impact_unit for kind in table.kind]
    table = table.assign(**{name: pd.to_datetime(table[name], utc=True) for name in columns_of(TIME)})
    table = table.astype(dict.fromkeys(columns_of(TEXT), object)).fillna(dict.fromkeys(columns_of(TEXT), ""))
    dtypes = {TEXT: str, NUMBER: float, TIME: "datetime64[us, UTC]"}
    table = table.astype({column: dtypes[kind] for column, kind in FINDING.items()})
    table["evidence"] = table.evidence.str.replace(r"\s+", " ", regex=True).str.strip()
    for wrong, what in (
        (table.evidence == "", "says no evidence"),
        (~table.p_value.between(0, 1), "has a p-value that is no probability"),
        (table.impact < 0, "has a negative impact"),
    ):
        if wrong.any():
            raise ValueError(f"findings of {study}: {table.entity[wrong].iloc[0]} {what}")
    return table


def write_findings(rows, path, study, made_by=None):
    """Write `build_findings` of these arguments to `path`; returns what was written.

    made_by : a DataFrame per finding, the rows that made it, most telling first, for a reader who doubts it.
    `build_rows` of nightshift/evidence.py says what they hold; they go to the folder `rows` beside that of
    `path`. Without them, those that an earlier night wrote are removed.
    """
    written = build_findings(rows, study)
    path = Path(path)
    beside = path.parent.with_name("rows") / path.name
    if made_by is None:
        beside.unlink(missing_ok=True)
    else:
        write_parquet(build_rows(written, made_by), beside)
    write_parquet(written, path)
    return written


def escape(value):
    """Write `value` as text in which Markdown and HTML find no markup, and no address becomes a link."""
    text = html.escape(" ".join(str(value).split()), quote=False)  # "&#x27;" holds a sign that follows
    text = "".join(f"&#{ord(c)};" if c in "\\`*_{}[]()#+!|~$" else c for c in text)
    return text.replace("://", "&#58;//")


def show_sentence(sentence, /, **values):
    """Show one sentence of Markdown; every value is escaped, so a hostile name stays a name."""
    from IPython.display import Markdown, display

    display(
        Markdown(
            sentence.format(
                **{k: v if isinstance(v, numbers.Number) else escape(v) for k, v in values.items()}
            )
        )
    )


def show_table(frame, formats=None):
    """Show `frame` without its index; names are escaped, `formats` maps a column to a format such as
    "{:.1%}".
    """
    from IPython.display import HTML, display

    display(
        HTML(
            frame.to_html(
                index=False,
                border=0,
                na_rep="",
                formatters={column: text.format for column, text in (formats or {}).items()},
            )
        )
    )


def record_metrics(path, *, study, day, models, **more):
    """Write metrics.json, which says how good each of `models`, a list of dicts, is beside its baseline.
    ValueError when a model lacks a key, or a number is not finite.
    """
    keys = {
        "name",
        "metric",
        "model",
        "baseline_name",
        "baseline",
        "skill",
        "skill_low",
        "skill_high",
        "n_train",
        "n_test",
        "split",
        "alarm_rate_stated",
        "alarm_rate_observed",
        "in_use",
    }
    for model in models:
        if lacking := keys - model.keys():
            raise ValueError(f"metrics of {study}: {model.get('name')} lacks {sorted(lacking)}")
    write_json({"study": study, "day": day, "git": git_revision(), "models": models, **more}, path)


def write_test_errors(folder, errors, *, row, group, measure):
    """Write the errors of models on their test rows to `test_errors.parquet` in `folder`: by them, runs with
    other parameters are compared row by row (nightshift/sweeps/).

    errors : DataFrame [test row, model], smaller where a prediction is better. row, group : Series by the
    same index: what a row is called in every run, and the group whose rows share their luck. measure : what
    an error is, a noun. Rows of the same name are numbered in their order; those without a finite error are
    left out.
    """
    table = table_of_errors(errors, row=row, group=group, measure=measure)
    write_parquet(table, Path(folder) / "test_errors.parquet")


def table_of_errors(errors, *, row, group, measure):
    """Make the table that `write_test_errors` writes; in parts only where all rows have different names."""
    finite = errors[np.isfinite(errors).all(axis=1)]
    table = finite.assign(row=row.astype(str), group=group.astype(str))
    again = table.groupby("row").cumcount()
    table["row"] = table.row.where(again == 0, table.row + " #" + (again + 1).astype(str))
    table.attrs["measure"] = measure  # pandas keeps it in the file
    return table.reset_index(drop=True)


def lines_on_models(models):
    """Say in one line of Markdown each how good the models in use are; names are escaped.

    models : rows of metrics.json. Before ": " a name may say what the model judges.
    """
    lines = []
    for model in [model for model in models if model.get("in_use")]:
        against = "itself the baseline, which nothing surely beats"
        if model["name"].rpartition(": ")[2] != model["baseline_name"]:
            skill = skill_in_words(model["skill"], model["skill_low"], model["skill_high"])
            against = f"skill {skill} against {escape(model['baseline_name'])}"
        lines.append(f"- {escape(model['name'])}: {escape(model['metric'])} {model['model']:.2f}; {against}.")
    return lines
