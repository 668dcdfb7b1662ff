"""Settings of the site: how many nights keep their pages, and where readers find them."""

import re

from nightshift.credentials import masked


def site_settings(config):
    """(keep_nights, site_url) of a configuration, the latter with a slash at its end; ValueError says in
    one line what is wrong with them.
    """
    keep, url = config.get("keep_nights") or 0, config.get("site_url") or ""
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 0:
        raise ValueError(f"keep_nights is {keep!r}: it must be a whole number, 0 to keep all")
    if url and not re.fullmatch(r"https?://[^\s@\"'<>?#]+", str(url)):
        shown = masked(url) if isinstance(url, str) else url
        raise ValueError(
            f"site_url is {shown!r}: it must be an address such as https://host/nightshift/, "
            "without a password, a question mark or #"
        )
    return keep, f"{str(url).rstrip('/')}/" if url else ""
