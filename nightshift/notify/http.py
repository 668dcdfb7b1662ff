"""Hand a message to a server that takes JSON, and tell how that ended: whether it was sent, refused, is to be
tried again, or may have arrived.
"""

import threading

import requests

from nightshift.wording import one_line

# for the connection, for one answer, and for all: a server may answer byte by byte for ever
CONNECT_S, ANSWER_S, WHOLE_S = 10, 30, 60
LATER = {401, 403, 407, 408, 425, 429, 500, 503}  # the message was not taken, and may be another time
ON_THE_WAY = {502, 504}  # a proxy does not know what became of it


def post(url, content, *, auth=None):
    """Send `content`, anything that JSON holds, to `url`: (sent, waiting, refused or unclear; why, in one
    line).

    auth : as requests has it; without it, that of netrc.

    Certificates are verified and proxies followed as `requests` does; no redirection is followed, since the
    address may be a secret. No line names the address.
    """
    ends = []
    work = threading.Thread(
        target=lambda: ends.append(ask("POST", url, json=content, auth=auth)), daemon=True
    )
    work.start()
    work.join(WHOLE_S)
    return outcome_of(ends[0]) if ends else ("unclear", f"no whole answer within {WHOLE_S} s")


def ask(method, url, *, wait_s=None, **content):
    """Ask a server: (status, beginning of the text, bytes, headers) of its answer, or instead the error. The
    text of a good answer is not read, b"".

    wait_s : the longest wait for the connection and for one answer; by default CONNECT_S and ANSWER_S.
    content : as `requests` takes it.
    """
    wait = (wait_s or CONNECT_S, wait_s or ANSWER_S)
    try:
        with requests.Session() as session:
            answer = session.request(method, url, timeout=wait, allow_redirects=False, stream=True, **content)
            # nobody needs the text of a good answer
            text = b"" if answer.ok else answer.raw.read(500, decode_content=True)
            return answer.status_code, text, answer.headers
    except Exception as error:  # requests lets some of urllib3 and http.client through
        return error


def outcome_of(end):
    """(outcome, why) of what `ask` returns."""
    if isinstance(end, Exception):
        return ("waiting" if is_before(end) else "unclear"), reason(end)
    status, text, _ = end
    if 200 <= status < 300:
        return "sent", ""
    words = one_line(f"it says {status} {one_line(text.decode(errors='replace'), 200)}".strip())
    outcome = "waiting" if status in LATER else "unclear" if status in ON_THE_WAY else "refused"
    return outcome, words


def is_before(error):
    """Whether an error came before anything was sent: no connection, address, proxy or valid certificate."""
    of_way = requests.ConnectTimeout | requests.exceptions.SSLError | requests.exceptions.ProxyError
    unmade = any(name in chain_of(error) for name in ("NewConnectionError", "NameResolutionError"))
    return isinstance(error, of_way | ValueError) or unmade


def chain_of(error):
    """Join the names and texts of an error and of those that it wraps."""
    parts = [error, *getattr(error, "args", ()), getattr(error, "reason", None)]
    parts += [getattr(part, "reason", None) for part in parts]
    return " ".join(f"{type(part).__name__} {part}" for part in parts if part is not None)


def reason(error):
    """What went wrong, in one line that does not hold the address."""
    text = chain_of(error)
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is refused"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy cannot be used"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if "NameResolution" in text or "Name or service not known" in text:
        return "there is no such host"
    if "refused" in text:
        return "connection refused"
    if isinstance(error, ValueError):
        return "its address is none"
    return f"the connection was lost ({type(error).__name__})"
