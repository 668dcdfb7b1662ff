"""What pages need of an earlier night, worked out once and kept beside its digest.json.

A memo holds as long as the files that it was made of have the same size and times, and the code and the
templates are the same. It is a hidden file, which no server sends, and is removed with the pages of its
night; one that is missing, damaged or outdated costs no more than working it out again.
"""

import contextlib
import functools
import json

from helpers import atomic
from nightshift.products import code_below, read_json, sha256, stamp
from nightshift.reporting.rendering import TEMPLATES


def remembered(path, files, make):
    """Return what `make()` returns, anything that JSON holds, from the memo at `path` where it still holds.

    files : paths of the files that `make` reads. An error of `make` is raised, and nothing is kept.
    """
    made_of = [*(list(stamp(one)) for one in files), *software()]
    memo = read_json(path)
    if memo.get("made_of") == made_of and "value" in memo:
        return memo["value"]
    value = make()
    with contextlib.suppress(OSError), atomic(path) as temporary:  # else it is made again next time
        temporary.write_text(json.dumps({"made_of": made_of, "value": value}), encoding="utf-8")
    return value


@functools.cache
def software():
    """List hashes of the package, and of all templates, by which a memo may have been rendered."""
    return [code_below(""), *map(sha256, sorted(TEMPLATES.glob("*.j2")))]
