r"""Which errors the evidence of an incident names: the words of FTS, gfal2, davix, XRootD, SRM and curl, and
what perfSONAR saw.

A class is named once, in ERRORS; remediations.yaml says which proposal is for which class. The order matters:
what one class has recognised is taken out of the text before the next one looks, so that a "max-time-in-queue
timeout" is no timeout of a transfer, and "permission refused" no refused connection. No name of a storage
such as SITE_DATATAPE is about tape. Of a single message the first class counts, see `error_class`.
"""

import functools
import re

ABOVE_ZERO = r"(?!0+(?:[.,]0+)?(?![\d.,]))\d[\d.,]* ?%"
HTTP = r"(?:http(?:/[\d.]+)?|status(?: code)?|error(?: code)?|code|returned)[ :=]+"
ERRORS = {
    "clean probes": [
        r"(?:perfsonar|probes?)\b[^;]{0,60}?\b(?:clean|as usual|unchanged|(?:no|without) loss(?:es)?)\b",
        r"perfsonar[^;]{0,60}?\bloss\D{0,20}0+(?:[.,]0+)? ?%",
    ],
    "packet loss": [
        r"perfsonar saw a throughput",
        r"packets? loss(?:es)?",
        r"packets? (?:were |was )?lost",
        r"retransmi\w+",
        rf"loss(?:es)?(?: of)?\D{{0,20}}{ABOVE_ZERO}",
        rf"(?<![\d.,]){ABOVE_ZERO} (?:packet )?loss(?:es)?",
    ],
    "queue expired": [
        r"max-time-in-queue(?: timeout)?",
        r"stayed in the queue for too long",
        r"request (?:has )?expired",
        r"queue (?:timeout|expired)",
    ],
    "no space": [
        r"no space left(?: on device)?",
        r"insufficient (?:free )?(?:storage|space)",
        r"not enough (?:free |disk )?space",
        HTTP + r"507(?: : insufficient storage)?",
        r"\benospc\b",
        r"quota (?:is |was )?(?:exceeded|full)",
        r"no_?free_?space",
        r"(?:disk|storage|pool|file ?system|space token)(?: [\w.-]+){0,2} (?:is )?full\b",
        r"no (?:free |write )?pools? (?:online|available|configured)",
    ],
    "checksum": [
        r"checksums? (?:mismatch\w*|error)",
        r"checksums?\b",
        r"adler-?32",
        r"(?:file )?sizes? (?:mismatch\w*|do(?:es)? not match|differs?)",
        r"\bcorrupt\w*",
    ],
    "tape": [
        r"(?<![\w/.-])tapes?\b",
        r"\bstaging\b",
        r"\bpre-?stag\w+",
        r"\bstage(?: request|-in| timeout)",
        r"failed to stage",
        r"bring[- ]?online(?: timeout)?",
        r"\bnearline\b",
        r"\bnot online\b",
        r"\brecall(?:s|ed|ing)? (?:from|request|timeout|fail)\w*",
        r"\bhsm\b",
    ],
    "certificate": [
        r"certificates?(?: has| is)?(?: expired| invalid| revoked)?",
        r"\bx\.?509\b",
        r"\bcrls?\b",
        r"revocation list",
        r"\bproxy\b[^;]{0,30}\b(?:expired|invalid|not valid)",
        r"\bcredentials?\b",
        r"\bdelegat\w+",
        r"(?:ssl|tls)\b[^;]{0,30}(?:handshake|error)",
        r"\b(?:gss(?:api)?|gsi)\b",
        r"\bhandshake\b",
        r"curl error \((?:35|58|60|77|83)\)",
    ],
    "permission": [
        r"\bpermissions?\b(?: (?:was )?(?:denied|refused))?",
        HTTP + r"40[13]\b",
        r"\b(?:eacces|eperm)\b",
        r"\bauthori[sz]ation\b(?: (?:denied|error|failed))?",
        r"\bauthentication\b(?: (?:error|failed|failure))?",
        r"unauthori[sz]ed",
        r"\bforbidden\b",
        r"access (?:is |was )?(?:denied|refused)",
        r"not (?:authori[sz]ed|permitted)",
        r"\b(?:token|login)\b[^;]{0,20}\b(?:expired|invalid|incorrect)",
    ],
    "file missing": [
        r"no such file(?: or directory)?",
        HTTP + r"404\b",
        r"\benoent\b",
        r"(?<!host )(?<!name )(?:file (?:was )?)?\bnot found",
        r"\bno sources?\b",
        r"(?:file|path|object|replica) does not exist",
        r"source file (?:is )?missing",
    ],
    "file exists": [
        r"file (?:already )?exists",
        r"already exists",
        r"overwrite is not enabled?",
        r"\beexist\b",
    ],
    "unreachable": [
        r"no route to host",
        r"(?:network|host) (?:is )?down",
        r"(?:(?:network|host) (?:is )?)?\bunreachable\b",
        r"(?:can|could) ?n[o']t resolve(?: host)?",
        r"(?:failed|unable) to resolve",
        r"name (?:or service )?not known",
        r"(?:unknown|invalid) host\b",
        r"host (?:name )?not found",
        r"curl error \(6\)",
        r"\bdns\b",
        r"\be(?:host|net)unreach\b",
    ],
    "connection refused": [
        r"connection (?:was |is |has been |actively )?refused",
        r"connection to \S+ (?:was |is )?refused",
        r"connect\w* [^;]{0,40}?\brefused",
        r"refused (?:the )?connections?",
        r"\beconnrefused\b",
        r"(?:could|can|did) ?not connect",
        r"(?:failed|unable) to connect",
        r"curl error \(7\)",
    ],
    "connection lost": [
        r"connection (?:was |has been )?(?:reset|closed|terminated|aborted|interrupted|lost|broken)"
        r"(?: by (?:the )?(?:peer|remote \w+)| abruptly)?",
        r"reset by peer",
        r"broken pipe",
        r"closed (?:the )?connection",
        r"\beconnreset\b",
        r"communication error(?: on send)?",
        r"(?:failure when )?receiving data",
        r"empty reply from server",
        r"curl error \((?:18|52|55|56|92)\)",
        r"end[- ]of[- ]file",
        r"\beof\b",
        r"socket (?:closed|error)",
        r"terminated abruptly",
    ],
    "timeout": [
        r"tim(?:ed?|ing)[- ]?out\w*",
        r"deadline exceeded",
        r"\betimedout\b",
        r"curl error \(28\)",
        r"timer expired",
        r"no perf(?:ormance)? ?markers?",
        r"(?:transfer )?\bstalled\b(?: for)?",
        r"did not answer in time",
    ],
    "server error": [
        HTTP + r"5\d\d\b",
        r"(?:internal |unexpected )?server error",
        r"(?:service (?:is )?)?(?:temporarily )?\bunavailable\b",
        r"server (?:responded|returned)[^;]{0,40}error",
        r"bad gateway",
    ],
    "cancelled": [r"\bcancel+ed\b", r"\bunused hop\b"],
    "job lost": [r"\bjob (?:was )?lost\b"],
}
PATTERNS = {name: re.compile("|".join(ways), re.I) for name, ways in ERRORS.items()}
LONGEST = 20_000  # characters of evidence that are searched


def read_errors(text):
    """Yield the errors that `text` names, (class of ERRORS, the words that name it), in the order of the
    classes."""
    rest = " ".join(str(text).split())[:LONGEST]
    for name, pattern in PATTERNS.items():
        if match := pattern.search(rest):
            yield name, match[0]
            rest = pattern.sub(" ; ", rest)


def errors_named(text):
    """Return the errors that the evidence `text` names: {class of ERRORS: the words that name it, as they
    stand there}."""
    errors = dict(read_errors(text))
    if len(errors) > 1:
        errors.pop("clean probes", None)  # that the network is well matters only while nothing else is named
    return errors


@functools.lru_cache(100_000)
def error_class(message):
    """Return what one message means: the first class of ERRORS that it names, or "other"."""
    return next(read_errors(message), ("other", ""))[0]


def words_for(patterns, text, errors):
    """Return the words of the evidence for which a proposal is meant, "" if there are none.

    patterns : what the proposal names, classes of ERRORS or regular expressions of its own. text : the
    evidence. errors : as `errors_named` gives them.
    """
    for pattern in patterns:
        if pattern in ERRORS:
            if pattern in errors:
                return errors[pattern]
        elif match := re.search(pattern, text[:LONGEST], re.I):
            return match[0]
    return ""
