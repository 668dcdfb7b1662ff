"""Which notebooks a study has: for the Snakefile, which runs them, and publish.py, which shows them. Imports nothing that takes time."""

import re
from pathlib import Path

STEPS = ["1_extract", "2_preprocess", "3_train", "4_analyse"]


def pages_of(study, root=Path()):
    """Further pages of a study, `5_*`: notebooks that need its clean tables only, and run beside the last two steps."""
    return sorted(path.stem for path in (root / "notebooks" / study).glob("5_*.ipynb"))


def findings_named(study, notebook):
    """The tables of findings that a further page, a notebook as a dict, says in its first cell that it writes."""
    first = "".join(notebook["cells"][0]["source"])
    return re.findall(rf"data/findings/{re.escape(study)}_\w+\.parquet", first.partition("*Writes*")[2])


def site_settings(config):
    """(keep_nights, site_url) of a configuration, the latter with a slash at its end; ValueError says in one line what is wrong with them."""
    keep, url = config.get("keep_nights") or 0, config.get("site_url") or ""
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 0:
        raise ValueError(f"keep_nights is {keep!r}: it must be a whole number, 0 to keep all")
    if url and not re.fullmatch(r"https?://[^\s@\"'<>?#]+", str(url)):
        raise ValueError(f"site_url is {url!r}: it must be an address such as https://host/nightshift/, without a password, a question mark or #")
    return keep, f"{str(url).rstrip('/')}/" if url else ""
