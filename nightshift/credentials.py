"""Secrets in addresses: they are refused in a configuration, and shown nowhere."""

import re
from urllib.parse import unquote

# names of what nobody else may know, as they stand in queries and paths of addresses
LONG_NAMES = (
    r"[\w-]*(?:passw(?:or)?d|passphrase|secret|token|credential|signature|api[_-]?key|access[_-]?key)[\w-]*"
)
SHORT_NAMES = r"pwd|pass|auth|authorization|sig|key"  # which may be anything as a step of a path
# what only a secret looks like: tokens with the beginnings that their makers gave them, and JSON web tokens
LOOKS = (
    r"gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{12,}"
    r"|hvs\.\w{16,}|eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"
)
SECRET = re.compile(
    rf"(?<=[?&;#])(?:{LONG_NAMES}|{SHORT_NAMES})=[^&;#]+"
    rf"|(?<=/)(?:{LONG_NAMES})[=/:][^/?#]+|(?<![\w-])(?:{LOOKS})",
    re.I,
)
# what stands before a host, and, more widely, what is not shown of it
LOGIN, BEFORE_HOST = re.compile(r"^[^/?#]*://[^/?#]*@"), re.compile(r"^([^/]*://)[^/]*@")


def secret_in(address):
    """Return which part of the URL `address` holds a secret, in words; "" where none does, and for a path.

    A secret is a user or a password before the host, a value of a query or a step of a path whose name says
    so, or what looks like a token of a well-known kind.
    """
    _, mark, rest = unquote(address).partition("://")
    if not mark:
        return ""
    if LOGIN.search(address) or LOGIN.search(unquote(address)):  # a password may hold an encoded / or @
        return "a user or a password before its host"
    place, _, query = rest.partition("?")
    found = {"path": SECRET.search(place), "query": SECRET.search(f"?{query}")}
    return next((f"a secret in its {part}" for part, secret in found.items() if secret), "")


def masked(address):
    """Return `address` as it may be shown: a URL without user, password, query and fragment, and with three
    dots for each secret in its path; a path as it is.
    """
    if "://" not in address:
        return address
    found, bare = secret_in(address), BEFORE_HOST.sub(r"\1", address)  # before a password is decoded
    plain = re.split("[?#]", BEFORE_HOST.sub(r"\1", unquote(bare)) if found else bare)[0]
    return SECRET.sub("...", plain) if found else plain
