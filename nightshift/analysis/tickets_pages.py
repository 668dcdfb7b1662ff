"""What `4_analyse` of the tickets leaves for the pages that follow it, and how they read it."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers import write_json, write_parquet
from nightshift.analysis.tickets_texts import readable
from nightshift.detectors.tickets_embeddings import assign_topics, embed_texts
from nightshift.wording import plural

WAITS = ["ticket_id", "topic", "resolution_h", "resolution_seen", "response_h", "response_seen"]


def called_by(topics):
    """Name topics for people, by their first keywords: {topic: name}; "" is no topic.

    topics : DataFrame topic, name.
    """
    return {t.topic: readable(t.name or "no word", 60) for t in topics.itertuples(index=False)} | {
        "": "no topic"
    }


def with_topics(clean, paths):
    """Give every ticket its topic: (tickets with topic, distance, name; {topic: name}; a dict on late ones).

    clean : the clean tickets. paths : as `study_paths` gives them. A late ticket, which `3_train` did not
    use, gets the nearest topic. The dict is {"n": how many are late, "m": of how many, "method": how their
    texts were compared}, empty where none is.
    """
    topics = pd.read_parquet(paths.models / "topics.parquet")
    members = pd.read_parquet(paths.models / "members.parquet")[["ticket_id", "topic", "distance"]]
    # stored as float32, which takes no float64 of a later ticket
    members = members.astype({"distance": float})
    tickets = clean.merge(members, on="ticket_id", how="left", validate="one_to_one")
    is_late, late = tickets.topic.isna().to_numpy(), {}
    if is_late.any():
        detector = json.loads((paths.models / "detector.json").read_text())
        cache, substitute = paths.encoders / "embeddings.parquet", paths.models / "words.skops"
        vectors, method = embed_texts(
            tickets.text[is_late], cache, substitute, max_tokens=detector["max_tokens"]
        )
        tickets.loc[is_late, "topic"], tickets.loc[is_late, "distance"] = assign_topics(vectors, topics)
        late = {"n": int(is_late.sum()), "m": len(tickets), "method": method}
    called = called_by(topics)
    return tickets.assign(name=tickets.topic.map(called).fillna("no topic")), called, late


def models_table(models):
    """Write models beside their baselines, those in use first: DataFrame with the names that people read.

    models : rows of metrics.json, one at least.
    """
    columns = {"name": "method", "metric": "metric", "model": "value", "baseline_name": "baseline"}
    columns |= {"baseline": "its value", "skill": "skill", "skill_low": "low", "skill_high": "high"}
    table = pd.DataFrame(models).sort_values("in_use", ascending=False, kind="stable")
    return table[list(columns)].rename(columns=columns)


def weekly(tests, week, *, week_ends, judged):
    """Count what each week brought and left: DataFrame week_end, tickets, open, usually_open, is_judged.

    tests : {kind: WeeklyTest}, empty without times. week : int (n,), number of the week of each ticket.
    week_ends : Series of datetime64 (W,). judged : numbers of the weeks that were judged as nights of their
    own. Open tickets are those of the year before the end of the week; `usually_open` is how many would be,
    if they were resolved as fast as before, and 0 where that is not known.
    """
    n_weeks = len(week_ends)
    counts = np.bincount(week, minlength=n_weeks) if n_weeks else np.zeros(0, int)
    table = pd.DataFrame({"week_end": week_ends, "tickets": counts})
    backlog = tests.get("backlog")
    table["open"] = backlog.observed[0] if backlog else np.zeros(n_weeks)
    table["usually_open"] = backlog.expected[0] if backlog else np.zeros(n_weeks)
    table["is_judged"] = np.isin(np.arange(n_weeks), judged)
    return table


@dataclass(frozen=True)
class AnalysedNight:
    """A night as `4_analyse` left it.

    tickets : DataFrame, one row per ticket, by time: the clean columns, topic, name of the topic, and the
    waits of `add_waits`. weeks : as `weekly` gives them, no row without times. topics : DataFrame of
    topics.parquet. called : {topic: name}. hour, of_clock : what an hour is called, and which hours count, ""
    for all. min_group : groups of fewer tickets, and words of fewer users, are not shown.
    """

    tickets: pd.DataFrame
    weeks: pd.DataFrame
    topics: pd.DataFrame
    called: dict
    hour: str
    of_clock: str
    min_group: int

    @property
    def timed(self):
        """Whether the source says when its tickets were written."""
        return len(self.weeks) > 0

    @property
    def end(self):
        """End of the night, UTC, or of the last day on which a ticket was written; None without times."""
        return self.weeks.week_end.iloc[-1] if self.timed else None

    def last_day(self, day):
        """The day, as text, that ends with `end`; `day`, the night, without times."""
        return str((self.end - pd.Timedelta(days=1)).date()) if self.timed else day

    @property
    def last_year(self):
        """Select the tickets of the year before the end of the night; none without times."""
        if not self.timed:
            return self.tickets.iloc[:0]
        return self.tickets[self.tickets.created >= self.end - pd.Timedelta(days=365)]

    def is_known(self, what):
        """Whether any "resolution" or "response" is in the source."""
        return bool(self.tickets[f"{what}_seen"].any())


def write_night(scores, tickets, weeks, **shared):
    """Write what the pages after `4_analyse` read, beside its table of `scores`.

    tickets : DataFrame with the columns WAITS. weeks : as `weekly` gives them. shared : hour, of_clock and
    min_group of an AnalysedNight.
    """
    write_parquet(tickets[WAITS], scores.with_name("tickets_waits.parquet"))
    write_parquet(weeks, scores.with_name("tickets_weeks.parquet"))
    write_json(shared, scores.with_name("tickets_shared.json"))


def read_night(paths):
    """Read the AnalysedNight that `write_night` left; paths : as `study_paths` gives them.

    OSError where a file is missing.
    """
    clean = pd.read_parquet(paths.clean).sort_values(["created", "ticket_id"], ignore_index=True)
    waits = pd.read_parquet(paths.scores.with_name("tickets_waits.parquet"))
    topics = pd.read_parquet(paths.models / "topics.parquet")
    called = called_by(topics)
    tickets = clean.astype({"open": bool}).merge(waits, on="ticket_id", how="left", validate="one_to_one")
    tickets["name"] = tickets.topic.map(called).fillna("no topic")
    weeks = pd.read_parquet(paths.scores.with_name("tickets_weeks.parquet"))
    shared = json.loads(paths.scores.with_name("tickets_shared.json").read_text())
    return AnalysedNight(tickets, weeks, topics, called, **shared)


def former_topics_in_words(n):
    """Say at the end of a sentence how many topics there were that have no ticket any more; "" for none."""
    return f"; {plural(n, 'former topic')} {'has' if n == 1 else 'have'} no ticket any more" if n else ""
