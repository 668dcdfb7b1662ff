"""Whether a night may reassure. Pages, feed, JSON and mail take every such sentence from here;
docs/assurance.md has them as a table.

A study reports when it ran to its end tonight, on data that end tonight and are fresh, with enough history,
and judged something. Only when every configured study reports and the digest has joined their findings may
anything say that there is no incident.
"""

import re
from dataclasses import dataclass

from nightshift.runs import RESERVATIONS
from nightshift.wording import joined, plural

# What reassures, in lower case: none of it may stand anywhere in what a night publishes that is not complete.
REASSURING = (
    "nothing to report",
    "no incident",
    "with 0 findings",
    "no problem",
    "nothing unusual",
    "no anomal",
    "all is well",
)
REPORTS = re.compile(r"ok|anomalies [1-9]\d*")
STATES = ("ok", "partial", "stale", "empty", "failed")  # of the data of a study, status.json


def verdict_of(*, complete, state, of_tonight, n_findings, n_judged, history=""):
    """Return the verdict on one study of one night, as programs read it.

    complete : whether all its steps ended well tonight and left what can be read. state : one of STATES, of
    its data. of_tonight : whether the window of its data ends with the night. n_judged : items that it
    scored; without any, finding nothing is no evidence. history : the verdict that the study recorded of
    itself, "ok" or one of RESERVATIONS.

    "empty", "failed" and "stale" say that there is no news; "anomalies 7" counts findings; "nothing judged"
    and RESERVATIONS say that finding nothing means nothing; after a number of findings, that there may be
    more, or that some mean less than they say.
    """
    if of_tonight and state == "empty":
        return "empty"
    if not complete or state == "failed":
        return "failed"
    if not of_tonight or state == "stale":
        return "stale"
    found = f"anomalies {n_findings}" if n_findings else ""
    if history in RESERVATIONS:
        return f"{found}, {history}" if found else history
    return found or ("ok" if n_judged else "nothing judged")


def verdict_in_words(verdict):
    """Return a verdict as people read it: "7 findings, too little history" for "anomalies 7, too little
    history"; others as they are.
    """
    return re.sub(r"^anomalies (\d+)(?=$|,)", lambda found: plural(int(found[1]), "finding"), verdict)


def simulated_in_words(sources):
    """Say whether data are simulated: "simulated data", "partly simulated data", "" where none are.

    sources : where the data came from, as status.json names it, "sample" for the simulation; None or "" where
    that is not known.
    """
    is_sample = [source == "sample" for source in sources if source]
    if not any(is_sample):
        return ""
    return "simulated data" if all(is_sample) else "partly simulated data"


def class_of(verdict):
    """Return the name under which the style sheet colours a verdict: its first word, or "failed" for what
    nobody knows.
    """
    word = verdict.split(",")[0].split()[0] if verdict.strip() else ""
    return (
        word
        if word in ("ok", "anomalies", "stale", "empty", "failed", "nothing", "too", "most", "not")
        else "failed"
    )


@dataclass(frozen=True)
class Assurance:
    """How much of a night is known: the studies that there should be, those that lack with their verdict,
    and how the digest ended.
    """

    studies: tuple
    lacking: dict  # {study: verdict}
    digest: str  # ok, failed or not run

    @property
    def n(self):
        """How many studies reported."""
        return len(self.studies) - len(self.lacking)

    @property
    def complete(self):
        """Whether finding nothing is good news."""
        return bool(self.studies) and not self.lacking and self.digest == "ok"

    @property
    def coverage(self):
        """Return it for programs: {"reported": 3, "expected": 5, "lacking": {"tickets": "failed", ...},
        "complete": false}.
        """
        return {
            "reported": self.n,
            "expected": len(self.studies),
            "lacking": dict(self.lacking),
            "complete": self.complete,
        }

    @property
    def chip(self):
        """Return the shortest form: "3 of 5 studies reported"."""
        return f"{self.n} of {plural(len(self.studies), 'study')} reported"

    @property
    def sentence(self):
        """Return how much is known, in one or two sentences that reassure nobody."""
        unknown = [
            f"{study} ({verdict})"
            for study, verdict in self.lacking.items()
            if not verdict.startswith("anomalies")
        ]
        partly = [
            f"{study} ({verdict_in_words(verdict)})"
            for study, verdict in self.lacking.items()
            if verdict.startswith("anomalies")
        ]
        text = self.chip
        text += f"; nothing new is known of {joined(unknown)}" if unknown else ""
        text += f"; not all is known of {joined(partly)}" if partly else ""
        if self.digest != "ok":
            ended = "failed" if self.digest == "failed" else "did not run"
            text += f". The digest {ended}, so findings were not joined into incidents"
        return f"{text}."

    def headline(self, *, n_pressing, headline="", n_silenced=0):
        """Return the night in a sentence or two; headline : what the digest says of its first incident,
        used where one of `n_pressing` is there.
        """
        if n_pressing:
            is_complete = self.complete or self.sentence in headline
            return headline if is_complete else " ".join([headline, self.sentence]).strip()
        if self.complete:
            aside = " apart from those silenced or acknowledged" if n_silenced else ""
            studies = "the only study" if self.n == 1 else f"all {self.n} studies"
            return f"Nothing to report: {studies} reported, and no incident is new or ongoing{aside}."
        return self.sentence

    def counts(self, counts):
        """Return counts of incidents {state: n} for programs: None where none is counted and that proves
        nothing.
        """
        return counts if counts or self.complete else None

    def in_words(self, counts, chip=True):
        """Return counts of incidents, as `count_phrases` takes them, for people: "2 new, 1 ongoing"; of none
        at all "no incident", where that is known.

        chip : whether it follows how many studies reported, where some did not.
        """
        text = ", ".join(count_phrases(counts or {}))
        if not self.complete:
            nothing = self.chip if self.lacking else "incidents not known"
            return f"{text}; {self.chip}" if text and self.lacking and chip else text or nothing
        return text or "no incident"

    def open_line(self, n, day):
        """Return how many incidents were open in the night `day`, without a full stop; n : None where nobody
        counted them.
        """
        if n is None or not (n or self.complete):
            return f"How many incidents were open in the night of {day} is not known"
        counted = f"{plural(n, 'incident')} {'was' if n == 1 else 'were'}" if n else "No incident was"
        counted = counted if self.complete else f"At least {counted}"
        return f"{counted} open in the night of {day}"

    def findings_line(self, n_findings):
        """Return the line above the studies: how many reported, and how many findings they have."""
        if not self.lacking and (self.complete or n_findings):
            return f"{plural(len(self.studies), 'study')} reported, with {plural(n_findings, 'finding')}."
        return f"{self.chip}, with {plural(n_findings, 'finding')}." if n_findings else f"{self.chip}."


UNWATCHED = "ended before monitoring began"
COUNTED = {  # states of incidents in the order in which they are counted; what is closed is no news
    "new": "new",
    "escalated": "escalated",
    "ongoing": "ongoing",
    "resolved": "resolved",
    "acknowledged": "acknowledged",
    "silenced": "silenced",
    "unwatched": UNWATCHED,
}


def count_phrases(counts):
    """Return counts of incidents {state: n} as phrases: ["16 new (2 of them ended)", "1 ongoing"]; []
    for none.

    An incident that is new and has ended is counted under "ended" alone; in words it is one of the new ones.
    """
    n_ended = counts.get("ended", 0)
    n_new = counts.get("new", 0) + n_ended
    numbers = {**counts, "new": n_new}
    phrases = {state: f"{numbers[state]} {words}" for state, words in COUNTED.items() if numbers.get(state)}
    if n_ended and n_new == 1:
        phrases["new"] += " (ended)"
    elif n_ended == n_new and n_new:
        phrases["new"] += " (all of them ended)"
    elif n_ended:
        phrases["new"] += f" ({n_ended} of them ended)"
    return list(phrases.values())


def assure(verdicts, digest="ok"):
    """Return what is known of a night of which the studies have `verdicts` {study: verdict} and the digest
    ended as `digest` says.
    """
    lacking = {
        study: verdict or "unknown"
        for study, verdict in sorted(verdicts.items())
        if not REPORTS.fullmatch(verdict or "")
    }
    return Assurance(tuple(verdicts), lacking, digest)
