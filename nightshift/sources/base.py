"""Kinds of source: what each of them is and can do, and how the one that fits is found.

A kind is a class in a module below `nightshift/sources/<study>/`; it is found there, and listed nowhere. Its
instances are made like estimators of scikit-learn: the constructor takes parameters of 1_extract by their
names, keeps them and does nothing else, so a dataclass is enough.

    @dataclass
    class Readings(ValueFile):            # a FileSource, as all that the study reads from files
        label = "readings of the Acme logger"

        def recognises(self, head):
            return head.line.startswith("ACME")

        def read(self, path, extraction):
            ...

    sources_of       the kinds that a study has
    source_of        the one that an address or the content of a file stands for
    read_source      everything at a path, pattern or address, whatever its kind
"""

import os
import re
import time
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType

from nightshift.catalog import study_of
from nightshift.credentials import secret_in
from nightshift.products import size_and_time
from nightshift.runs import JUST_WRITTEN, record
from nightshift.sources.excerpts import excerpt_of_text
from nightshift.sources.files import LayoutError, beginning_of, is_empty, open_text
from nightshift.sources.tables import read_files

JUST_S = 600  # a file written in the last so many seconds may not be whole: if it changes, it is read again


class Source:
    """What all kinds of source have.

    label : what people call it, such that it can follow "it is" and "neither"; a class without one is the
    base of others and no kind. parameter : that of 1_extract that names such a source. optional : {column of
    the raw table: what its absence costs}. A source that lacks another column is refused by `extract`, in one
    line.
    """

    label = ""
    parameter = "source"
    optional = MappingProxyType({})

    def extract(self, place, extraction):
        """Add everything at `place`, the path of a file or an address, to the `extraction` of its study.

        ValueError of one line for what is not as it should be; OSError, such as ConnectionError or
        TimeoutError, for what cannot be reached; LookupError for what a server does not have.
        """
        raise NotImplementedError(f"{type(self).__name__} has no `extract`")


class FileSource(Source):
    """Files of one kind.

    asked_last : whether it takes what no other kind recognises, and empty files. is_database : whether others
    may write into the file while it is read. excerpt : a function that takes the first and the last rows of a
    file, as those of excerpts.py do.
    """

    asked_last = False
    is_database = False
    excerpt = staticmethod(excerpt_of_text)

    def keep(self, path, extraction):
        """Add what an earlier night extracted from the file `path`, where that still holds, without opening
        the file; returns whether it holds.
        """
        return False

    def add(self, path, extraction):
        """Add a file that `keep` did not, by `extract` and whatever else a study does then."""
        self.extract(path, extraction)

    def recognises(self, head):
        """Whether the file with this beginning, a Head, is of this kind. A kind that is asked last takes what
        no other kind recognises; its `extract` refuses, in one line, what it cannot read.
        """
        if self.asked_last:
            return True
        raise NotImplementedError(f"{type(self).__name__} has no `recognises`")

    def look(self, path, *, settings, folder):
        """Read all of the file `path`, an excerpt: a Look; errors are those of `extract`.

        settings : all parameters of 1_extract. folder : for temporary files.
        """
        raise NotImplementedError(f"{type(self).__name__} has no `look`")


class LiveSource(Source):
    """A source that is asked. addresses : words such as "sacct", beginnings of URLs such as "https://"."""

    addresses = ()

    @classmethod
    def answers(cls, address):
        """Whether `address`, a text, is one of this kind."""
        scheme, mark, _ = address.partition("://")
        return (scheme.lower() + mark if mark else address) in cls.addresses

    def look(self, address, *, settings):
        """Ask one or two cheap questions: a Look; errors are those of `extract`."""
        return Look(self.label)


@dataclass
class Look:
    """What was seen of a source.

    label : what it is. n_files : how many files it has. rows : how many were looked at. filled : those of
    their columns that hold anything. oldest, newest : of their times, UTC, None where there is none. bad :
    lines that cannot be read. total : rows of the whole source, None where that is not known. notes : what
    else to know, a sentence each. problems : what is wrong and what to do, a line each.
    """

    label: str
    rows: int = 0
    filled: frozenset = frozenset()
    oldest: object = None
    newest: object = None
    n_files: int = 0
    bad: int = 0
    total: int | None = None
    notes: list = field(default_factory=list)
    problems: list = field(default_factory=list)

    @classmethod
    def of_rows(cls, label, frame, times, bad=()):
        """Sum up rows, a DataFrame of the raw table, and their `times`, a Series in UTC."""
        filled = [name for name in frame if frame[name].notna().any()]
        times = times.dropna()
        ends = (times.min(), times.max()) if len(times) else (None, None)
        return cls(label, len(frame), frozenset(filled), *ends, bad=len(bad))


KEY = re.compile(r'"(\w+)"\s*:')  # of an object of JSON


class Head:
    """The beginning of the file `path`, for all kinds that are asked whether it is theirs; each part is read
    when it is first asked for.
    """

    def __init__(self, path):
        self.path, self.name = str(path), Path(path).name
        self.suffix = Path(self.name.lower().removesuffix(".gz")).suffix

    @cached_property
    def first_bytes(self):
        """The first 16 bytes of the file, as it lies there."""
        with open(self.path, "rb") as file:
            return file.read(16)

    @cached_property
    def text(self):
        """The first 2**20 characters of a text file, plain or .gz."""
        with open_text(self.path) as file:
            return file.read(2**20)

    @cached_property
    def keys(self):
        """Names of values in the text, where it begins as JSON; a set, empty for anything else."""
        return set(KEY.findall(self.text)) if self.line[:1] in ("[", "{") else set()

    @cached_property
    def lines(self):
        """The first 30 lines of its text that hold something."""
        return list(filter(str.strip, self.text.split("\n")))[:30]

    @property
    def line(self):
        """The first line that holds something, without the blanks around it; "" where there is none."""
        return self.lines[0].lstrip("\ufeff").strip() if self.lines else ""

    @cached_property
    def names(self):
        """Names of the columns of a Parquet file, or of a table of text with commas, semicolons or tabs."""
        if self.suffix in (".parquet", ".pq"):
            import pyarrow.parquet as pq

            return pq.read_schema(self.path).names
        return [name.strip().strip('"') for name in re.split("[,;\t]", self.line)]


# ------------------------------------------------------------------------------------------------- registry


def sources_of(study):
    """Return the kinds of source that a study has: a list of the classes in the modules of its folder that
    have a label. A subclass comes before its base, kinds that are asked last come at the end, and equal ones
    are in the order of their labels.
    """
    folder = Path(__file__).parent / study
    package = f"{__package__}.{study}"
    modules = [import_module(f"{package}.{one.name}") for one in iter_modules([str(folder)])]
    kinds = [
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Source) and kind.__module__ == module.__name__
    ]
    return sorted(
        filter(lambda kind: kind.label, kinds), key=lambda kind: (is_last(kind), -len(kind.mro()), kind.label)
    )


def is_last(kind):
    """Whether a class of source is asked last whether it recognises a file."""
    return getattr(kind, "asked_last", False)


def made(kind, settings):
    """Make a source of the class `kind` from those of `settings`, {parameter of 1_extract: value}, that it
    declares; ValueError of one line where one of them is not there.
    """
    names = [one.name for one in fields(kind)] if is_dataclass(kind) else []
    if unknown := [name for name in names if name not in settings]:
        raise ValueError(f"{kind.__name__} has {', '.join(unknown)}, which 1_extract does not declare")
    return kind(**{name: settings[name] for name in names})


def live_source(study, address, *, settings, parameter="source"):
    """Return the source of a study that is asked at `address`; None where `address` is a path.

    ValueError of one line for a URL that none of the kinds knows, or that holds a secret.
    """
    kinds = [one for one in sources_of(study) if issubclass(one, LiveSource) and one.parameter == parameter]
    for kind in kinds:
        if kind.answers(address):
            if secret := secret_in(address):
                raise ValueError(
                    f"the {parameter} of {study} is an address with {secret}: credentials belong in the "
                    "environment"
                )
            return made(kind, settings)
    if "://" in address:
        shown = address.partition("://")[0] + "://"
        answering = "; ".join(f"{kind.label} ({', '.join(kind.addresses)})" for kind in kinds) or "files only"
        raise ValueError(f"{shown}... is no source of {study}: what can be asked is {answering}")
    return None


def file_sources(study, settings):
    """Return one source of each kind of file that a study reads, in the order in which they are asked."""
    return [made(one, settings) for one in sources_of(study) if issubclass(one, FileSource)]


def source_of(sources, path):
    """Return the first of `sources`, FileSources, that recognises the file `path`; LayoutError, one line that
    names them all, where none does. An empty file goes to the last of them.
    """
    if is_empty(path):
        return sources[-1]
    head = Head(path)
    for one in sources:
        if one.recognises(head):
            return one
    labels = [one.label for one in reversed(sources)]
    neither = f"neither {', nor '.join(labels)}" if len(labels) > 1 else f"not {', '.join(labels)}"
    raise LayoutError(f"it begins with {beginning_of(head.line)} and is {neither}")


def place_of(study, source, sample):
    """Return where a source is: `source`, or for "sample" the files that the simulation writes for the study
    into the folder `sample`; FileNotFoundError of one line where there are none.
    """
    if source != "sample":
        return source
    described = study_of(study)
    pattern = described.sample_source or next(iter(described.sample), f"{study}.csv")
    if not any(sample.glob(pattern)):
        raise FileNotFoundError(
            f"there is no sample in {sample / pattern}: run notebooks/simulate.ipynb first"
        )
    return str(sample / pattern)


def read_source(study, place, extraction, **settings):
    """Add everything at `place` (a path, a pattern or an address) to an extraction, whatever its kind.

    settings : parameters of 1_extract, of which each kind takes its own. Errors are those of `live_source`,
    `extract` and `read_files`; also a ValueError for a file that is written anew while it is read.
    """
    if live := live_source(study, place, settings=settings):
        live.extract(place, extraction)
        return
    sources, just_written = file_sources(study, settings), {}

    def read(path):
        before = os.stat(path)
        if before.st_mtime > time.time() - JUST_S:
            just_written[str(path)] = size_and_time(path)
        if not any(one.keep(path, extraction) for one in sources):
            kind = source_of(sources, path)
            kind.add(path, extraction)
            if not kind.is_database and was_rewritten(before, os.stat(path)):
                raise ValueError("it was written anew while it was read: run again when it is whole")

    read_files(place, read)
    if just_written:
        record(JUST_WRITTEN, just_written)


def was_rewritten(before, after):
    """Whether a file was written anew between two results of `os.stat`, and did not only grow as a log does.
    Another file that has taken its name does not count: what is being read stays as it was.
    """
    written = before.st_ino == after.st_ino and before.st_mtime_ns != after.st_mtime_ns
    return written and not 0 < before.st_size < after.st_size
