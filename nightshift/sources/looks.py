"""A look at a source: what it is, whether it can be read, and which times it covers, in seconds whatever its
size. It leaves nothing on the disk.
"""

import os
import tempfile
import time
from pathlib import Path

from nightshift.sources.base import FileSource, Look, file_sources, live_source, source_of
from nightshift.sources.files import matching_files, no_file
from nightshift.sources.tables import reading

PATIENCE_S = 5.0  # for one source; a look at a file that has begun is finished
ANSWER_S = 5.0  # the longest wait for an answer of a server, which is asked once


def look_at_source(study, place, settings, *, parameter="source"):
    """Look at everything at `place`, a path, a pattern or an address: [(source or None, Look)], one for each
    kind that is there. What is wrong with the source is among the problems of a Look, and raises nothing.

    settings : all parameters of 1_extract by their names, `day` among them. parameter : the one that names
    the place.
    """
    settings = settings | {
        "retry_wait_s": None,
        "timeout_s": min(settings.get("timeout_s", ANSWER_S), ANSWER_S),
    }
    try:
        if live := live_source(study, place, settings=settings, parameter=parameter):
            return [(live, look_at_server(live, place, settings))]
        files = matching_files(place)
        if not files:
            raise FileNotFoundError(no_file(place))
    except (OSError, ValueError) as error:
        return [(None, Look("nothing that can be read", problems=[str(error)]))]
    return look_at_files(file_sources(study, settings), files, settings)


def look_at_server(live, address, settings):
    """Look at a source that is asked; a Look with a problem where it does not answer as it should."""
    try:
        return live.look(address, settings=settings)
    except (OSError, ValueError, LookupError) as error:
        return Look(live.label, problems=[str(error)])


def look_at_files(sources, files, settings):
    """Look at the first and the last of `files`, and at the one that was written last, and recognise as many
    of the others as the time allows: [(source or None, Look)], one for each kind.
    """
    until = time.monotonic() + PATIENCE_S
    there = [path for path in files if os.path.getsize(path)]
    to_read, looks = [*there[:1], *there[-1:], *newest(there)], {}
    for path in dict.fromkeys([*to_read, *there]):
        if path not in to_read and time.monotonic() > until:
            break
        source, look = look_at_file(sources, path, settings if path in to_read else None)
        _, whole = looks.setdefault(look.label, (source, Look(look.label, total=0)))
        add(whole, look)
    if not there:
        looks["nothing"] = None, Look("nothing", problems=["every file is empty: export the source again"])
    elif n_empty := len(files) - len(there):
        next(iter(looks.values()))[1].notes.append(f"{n_empty} of {len(files)} files are empty")
    return list(looks.values())


def newest(files):
    """Return the file that was written last, in a list, which is empty where there are no files."""
    return sorted(files, key=os.path.getmtime)[-1:]


def look_at_file(sources, path, settings):
    """Recognise a file, and look into it where `settings` is not None: (source or None, Look)."""
    source = None
    try:
        with reading(path), tempfile.TemporaryDirectory() as folder:
            source = source_of(sources, path)
            look = look_into(source, path, settings, folder) if settings else Look(source.label)
            look.n_files = 1
            return source, look
    except (OSError, ValueError, LookupError) as error:
        label = source.label if isinstance(source, FileSource) else "nothing that can be read"
        return source, Look(label, n_files=1, problems=[str(error)])


def look_into(source, path, settings, folder):
    """Look into the file `path` of a known kind: a Look.

    Its excerpt lies in folders of the same names, since these may say what it does not, as host=nid00001
    does.
    """
    below = Path(folder, "excerpt", *Path(os.path.abspath(path)).parts[1:-1])
    below.mkdir(parents=True, exist_ok=True)
    excerpt, has_end = source.excerpt(path, below)
    look = source.look(excerpt, settings=settings, folder=folder)
    if excerpt == path and look.total is None:
        look.total = look.rows
    if not has_end:
        look.newest = None
        look.notes.append(
            f"the end of {Path(path).name} was not reached in time, so how new it is is not known"
        )
    return look


def add(whole, look):
    """Add the Look at one file to `whole`, that at all files of its kind."""
    whole.n_files, whole.rows, whole.bad = (
        whole.n_files + look.n_files,
        whole.rows + look.rows,
        whole.bad + look.bad,
    )
    whole.filled |= look.filled
    whole.notes = list(dict.fromkeys([*whole.notes, *look.notes]))
    whole.problems += look.problems
    whole.oldest = min(filter(None, (whole.oldest, look.oldest)), default=None)
    whole.newest = max(filter(None, (whole.newest, look.newest)), default=None)
    whole.total = None if None in (whole.total, look.total) else whole.total + look.total
