"""What `sacct` prints in any of its parsable forms, as tables of text.

    NEEDED, FORMAT     columns that are needed, and those that a live sacct is asked for
    layout_of          how a file is laid out, a Layout, by its first line
    read_tables        tables of its lines, block by block, and the lines that do not fit

--parsable2 escapes nothing: a bar in the name of a job makes one cell more. Where exactly one column holds
what people wrote, the surplus cells belong to it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from nightshift.sources.files import LayoutError, beginning_of, blocks_of, names_in_words, open_text

NEEDED = {  # what is needed: the columns that hold it, the best first
    "JobID": ("JobID", "JobIDRaw"),
    "Account": ("Account", "Group"),
    "State": ("State",),
    "End": ("End",),
    "ElapsedRaw": ("ElapsedRaw", "Elapsed"),
    "AllocCPUS": ("AllocCPUS", "NCPUS"),
}
RUN = ("Submit", "Start", "End")  # of two runs of one job at least one of these differs
# what a live sacct is asked for, and the notebook tells people to save
FORMAT = [
    *("JobID", "Cluster", "Account", "State", *RUN, "ElapsedRaw", "CPUTimeRAW", "TotalCPU", "AllocCPUS"),
    *("NNodes", "ReqMem", "MaxRSS", "AllocTRES", "TRESUsageInTot"),
]
XDMOD = [
    *("JobID", "JobIDRaw", "Cluster", "Partition", "QOS", "Account", "Group", "GID", "User", "UID"),
    *("Submit", "Eligible", "Start", "End", "Elapsed", "ExitCode", "State", "NNodes", "NCPUS", "ReqCPUS"),
    *("ReqMem", "ReqTRES", "AllocTRES", "Timelimit", "NodeList", "JobName"),
]
HEADERLESS = (  # columns of files without a header; the last two are of Open XDMoD's shredder, 11 and 6.6
    FORMAT,
    FORMAT[:11],
    [name for name in FORMAT[:11] if name not in ("Submit", "Start")],
    XDMOD,
    [*XDMOD[:4], *XDMOD[5:21], "ReqGRES", "ReqTRES", *XDMOD[23:]],
)
PROSE = ("JobName", "Comment", "AdminComment", "SystemComment", "WorkDir", "SubmitLine", "Reason", "WCKey")
JOB = re.compile(r"\d+(?:_(?:\d+|\[.*\])|\+\d+)?(?:\.\w+)?")  # job, array task or component; step
STATES = re.compile(
    r"\b(COMPLETED|FAILED|CANCELLED|TIMEOUT|OUT_OF_MEMORY|RUNNING|PENDING|PREEMPTED|REQUEUED|NODE_FAIL)\b"
)
HINT = f"needed is the output of sacct --parsable2 --format={','.join(FORMAT)} with its header"
UNIT = "\x1f"  # stands for a delimiter of several characters


@dataclass(frozen=True)
class Layout:
    """How a file is laid out: the `delimiter`, the `names` of its columns, whether a delimiter ends every
    line (`bar`, of --parsable), and whether the first line is the header.
    """

    delimiter: str
    names: list
    bar: bool
    has_header: bool


def find_delimiter(header):
    """Find what stands between the columns of the first line of a file, "" where it is no header of sacct."""
    names = {*FORMAT, *XDMOD, "CPUTime", "UserCPU", "SystemCPU", "NTasks", "AveRSS", "ReqGRES"}
    name = "|".join(sorted(names))
    found = re.search(rf"(?:^|\W)(?:{name})(\W+?)(?:{name})(?:\W|$)", header)
    return found[1] if found else ""


def looks_like_sacct(first):
    """Tell whether the first line of a file, a header or not, is of sacct; names with values, such as
    Account=physics, are of other logs of Slurm.
    """
    named = len(set(re.findall(r"\w++(?!=)", first)) & {*FORMAT, *XDMOD}) >= 3
    return named or bool(JOB.match(first) and STATES.search(first))


def layout_of(first):
    """Find the Layout of a file by its first line; LayoutError where it is none that is known."""
    if delimiter := find_delimiter(first):
        bar = first.endswith(delimiter)
        return Layout(delimiter, header_names(first.removesuffix(delimiter), delimiter), bar, True)
    marks = (mark for mark in "|,;\t^~#" if JOB.fullmatch(first.split(mark)[0]) and mark in first)
    cells = first.split(delimiter := next(marks, "\0"))
    for bar in (False, True) if not cells[-1] else (False,):
        cells = cells[:-1] if bar else cells
        if names := next((names for names in HEADERLESS if fits(names, cells)), None):
            return Layout(delimiter, names, bar, False)
    widths = ", ".join(str(len(names)) for names in HEADERLESS)
    raise LayoutError(
        f"it has no header, and its first line, {beginning_of(first)}, is not of the {widths} "
        f"columns of a known format; {HINT}"
    )


def header_names(first, delimiter):
    """Return the names of the columns in a header; LayoutError where what is needed is not among them, or one
    of them is there twice.
    """
    if not delimiter.strip() and delimiter != "\t":
        raise LayoutError(f"it is sacct's table for people, whose columns are cut to their width; {HINT}")
    names = [name.split("%")[0] for name in first.split(delimiter)]
    lacking = [" or ".join(columns) for columns in NEEDED.values() if not {*columns} & {*names}]
    if lacking:
        raise LayoutError(f"it has no {' and no '.join(lacking)}; it has {names_in_words(names, 20)}; {HINT}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise LayoutError(f"it has the column {' and '.join(twice)} more than once; {HINT}")
    return names


def fits(names, cells):
    """Tell whether the first line of a file without header, its `cells`, has the columns `names`."""
    if len(cells) != len(names):
        return False
    job = dict(zip(names, cells, strict=True))
    whole = [name for name in ("ElapsedRaw", "CPUTimeRAW", "AllocCPUS", "NCPUS") if name in job]
    return bool(re.match(r"[A-Z_]+\b", job["State"])) and all(job[name].isdecimal() for name in whole)


def split_line(line, layout):
    """Split one line into its cells: a list as long as the names of its Layout, or of another length where
    the line does not fit.
    """
    cells, names = line.split(layout.delimiter), layout.names
    if layout.bar and not cells[-1]:
        cells = cells[:-1]
    at, more = [names.index(name) for name in PROSE if name in names], len(cells) - len(names)
    if more > 0 and len(at) == 1:
        written = layout.delimiter.join(cells[at[0] : at[0] + more + 1])
        cells = [*cells[: at[0]], written, *cells[at[0] + more + 1 :]]
    return cells


def split_block(text, layout, first_number):
    """Split a block of lines one by one: (table of text, [(line number, reason, text) of bad ones])."""
    rows, bad, names = [], [], layout.names
    for number, line in enumerate(text.split("\n"), first_number):
        cells = split_line(line, layout)
        if len(cells) == len(names):
            rows.append(cells)
        elif line.strip():
            bad.append((number, f"not {len(names)} columns", line))
    columns = zip(*rows, strict=True) if rows else [[] for _ in names]
    return pa.table([pa.array(column, pa.string()) for column in columns], names=names), bad


def parse_block(text, layout, first_number):
    """Do what `split_block` does, at once where every line has as many cells as it should."""
    whole, delimiter = text, layout.delimiter
    if len(delimiter) > 1 and UNIT not in text:
        whole, delimiter = text.replace(delimiter, UNIT), UNIT
    columns = [*layout.names, "\n"] if layout.bar else layout.names
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(whole.encode()),
            pa_csv.ReadOptions(column_names=columns, use_threads=False, block_size=2**26),
            pa_csv.ParseOptions(delimiter=delimiter, quote_char=False),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), include_columns=layout.names
            ),
        )
    except (pa.ArrowInvalid, ValueError):  # a line of another width, or a delimiter that Arrow does not take
        return split_block(text, layout, first_number)
    return table, []


def read_tables(path):
    """Yield (table, bad) from saved output of sacct, plain or .gz, block by block: Arrow table of text with a
    column per column of sacct, and (line number, reason, text) of what does not fit.

    It reads --parsable2 and --parsable with any --delimiter, with a header or, if the columns are those of
    HEADERLESS, without one. Where no column names the cluster, it is the name of the file up to the first "-"
    or ".", as for logs in the Standard Workload Format. LayoutError, one line, for anything else.
    """
    cluster = re.split(r"[-.]", Path(path).name)[0]
    for table, bad in text_tables(path):
        if "Cluster" not in table.column_names:
            table = table.append_column("Cluster", pa.repeat(cluster, len(table)))
        yield table, bad


def text_tables(path):
    """Yield (table, bad) as the file has them, see `read_tables`."""
    with open_text(path) as file:
        number, first = 1, file.readline()
        while first and not first.strip():
            number, first = number + 1, file.readline()
        layout = layout_of(first.rstrip("\r\n"))
        if not layout.has_header:
            yield parse_block(first, layout, number)
        for begin, text in blocks_of(file, number + 1):
            if text.strip():
                yield parse_block(text, layout, begin)
