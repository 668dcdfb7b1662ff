"""What pages need of a night that has passed, worked out once and kept beside its digest.json.

A memo is recognised by size and times of the files that it was made of, and by the code and templates that
made it. It is hidden, no server sends it, and it goes with the pages of its night; one that is missing,
damaged or of another time costs no more than working it out again.
"""

import contextlib
import functools
import json

from helpers import atomic
from nightshift.products import code_below, read_json, sha256, stamp
from nightshift.reporting.rendering import TEMPLATES


def remembered(path, files, make):
    """Return what `make()` gives, anything that JSON holds, from the memo at `path` if `files` and code are
    those that it was made of. An error of `make` is raised, and nothing is kept.
    """
    made_of = [*(list(stamp(one)) for one in files), *software()]
    memo = read_json(path)
    if memo.get("made_of") == made_of and "value" in memo:
        return memo["value"]
    value = make()
    with contextlib.suppress(OSError), atomic(path) as temporary:  # a night that cannot be written stays read
        temporary.write_text(json.dumps({"made_of": made_of, "value": value}), encoding="utf-8")
    return value


@functools.cache
def software():
    """Hashes of the package, and of the templates that what is kept may be rendered by."""
    return [code_below(""), *map(sha256, sorted(TEMPLATES.glob("*.j2")))]
