"""Sites of nodes, by a pattern of their names."""

import re


def check_site_pattern(pattern):
    """ValueError of one line when `pattern` is no regular expression with a group that names the site; ""
    names no site.
    """
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"site_pattern {pattern!r} is no regular expression: {error}") from None
    if pattern and not groups:
        raise ValueError(f"site_pattern {pattern!r} has no group, such as (.+), that names the site")


def site_of(node, pattern):
    """The site of a node, in capitals: the first group of the regular expression `pattern`, which begins
    where the name does; "" where none fits.
    """
    found = re.match(pattern, node) if pattern else None
    return (found[1] or "").upper() if found else ""


def unmatched_pattern(nodes, pattern):
    """One sentence when `pattern` names the site of none of the `nodes`; "" where it names one, or there
    is no node or pattern.
    """
    nodes = [node for node in nodes if node]
    if not pattern or not nodes or any(site_of(node, pattern) for node in nodes):
        return ""
    return (
        f"site_pattern {pattern!r} names the site of none of {len(nodes)} nodes, such as {nodes[0]}: their "
        "findings belong to no site."
    )
