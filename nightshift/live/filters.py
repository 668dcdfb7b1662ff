"""When flagged windows of a run are an alarm: a majority and a consecutive filter, as E2EWatch (Aksar et al.
2021) puts them behind its classifier.

    Rule         how many flagged windows an alarm takes
    RunFilter    follows the windows of one run
    Stretch      flagged windows of a run that belong together; an alarm, once the filter says so
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from nightshift.detectors.telemetry_incidents import diagnose


@dataclass(frozen=True)
class Rule:
    """When a run is in alarm, and what it is called.

    alarm_rate : share of healthy windows that may be flagged. consecutive, majority : an alarm takes so many
    flagged windows in a row, and more than half of so many; it ends when none of `majority` windows is
    flagged. least_confidence : a diagnosis with a smaller probability is called unknown.
    """

    alarm_rate: float = 0.005
    consecutive: int = 3
    majority: int = 5
    least_confidence: float = 0.5

    def __post_init__(self):
        """Refuse a rule under which nothing or everything would be an alarm."""
        if not 0 < self.alarm_rate < 1:
            raise ValueError(f"alarm_rate is {self.alarm_rate}: it must be above 0 and below 1")
        if not 1 <= self.consecutive <= self.majority:
            raise ValueError(
                f"consecutive is {self.consecutive} and majority {self.majority}: it takes at least one "
                "window in a row, and at most as many as the majority is of"
            )


@dataclass
class Stretch:
    """Flagged windows of one run that belong together.

    start, end : of the first and of the last one. called_at : end of the window with which it was an alarm;
    None before. windows : how many are flagged. score, p_value : of the strangest. chances : class
    probabilities of all of them, added up.
    """

    node_id: str
    job_id: str
    start: pd.Timestamp
    end: pd.Timestamp
    called_at: pd.Timestamp | None = None
    windows: int = 0
    score: float = -np.inf
    p_value: float = 1.0
    chances: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def add(self, window, chances):
        """Add a flagged window, a row of `RuntimePredictor.judge`, with its probabilities, (classes,)."""
        self.chances = chances if not self.windows else self.chances + chances
        self.windows += 1
        self.end = window.end
        self.score, self.p_value = max(self.score, window.score), min(self.p_value, window.p_value)


class RunFilter:
    """Follows the windows of one run, each of them once and in the order of time."""

    def __init__(self, rule):
        self.rule, self.recent, self.stretch = rule, deque(maxlen=rule.majority), None

    def add(self, window, chances):
        """Follow one more window, as `Stretch.add` takes it; returns the alarm that it ends, else None."""
        self.recent.append(bool(window.flagged))
        if window.flagged:
            self.stretch = self.stretch or Stretch(window.node_id, window.job_id, window.start, window.end)
            self.stretch.add(window, chances)
            if self.stretch.called_at is None and self.is_enough():
                self.stretch.called_at = window.end
        elif not any(self.recent):
            return self.close()
        return None

    def is_enough(self):
        """Tell whether the last windows make an alarm."""
        last = list(self.recent)[-self.rule.consecutive :]
        in_a_row = len(last) == self.rule.consecutive and all(last)
        return in_a_row and 2 * sum(self.recent) > self.rule.majority

    @property
    def alarm(self):
        """The alarm that goes on, a Stretch; None without."""
        return self.stretch if self.stretch and self.stretch.called_at is not None else None

    def change_classes(self, before, after):
        """Let the probabilities of the stretch, in the order of the classes `before`, be in that of `after`,
        both lists of names: 0 for a class that was not there, and none for one that is gone.
        """
        if self.stretch:
            chance_of = dict(zip(before, self.stretch.chances, strict=True))
            self.stretch.chances = np.array([chance_of.get(name, 0.0) for name in after])

    def close(self):
        """End the stretch, as the run does; returns the alarm that it was, else None."""
        alarm, self.stretch = self.alarm, None
        return alarm


def table_of_alarms(stretches, classes, *, least_confidence):
    """Make a table of alarms: DataFrame node_id, job_id, start, end, called_at, delay_s (from the first
    flagged window to the alarm), windows, score, p_value, diagnosis, confidence, probable.

    stretches : of a RunFilter. classes : names of the probabilities, "p <class>"; the diagnosis follows from
    their means, as that of the night does. No stretch gives no row.
    """
    names = ["node_id", "job_id", "start", "end", "called_at", "windows", "score", "p_value"]
    table = pd.DataFrame([[getattr(one, name) for name in names] for one in stretches], columns=names)
    table = table.astype(dict.fromkeys(["start", "end", "called_at"], "datetime64[us, UTC]"))
    delays = (table.called_at - table.start) / pd.Timedelta(seconds=1)
    table.insert(5, "delay_s", delays.astype(float))
    means = [one.chances / one.windows for one in stretches]
    chances = pd.DataFrame(np.reshape(means, (len(table), len(classes))), columns=list(classes))
    table["diagnosis"], table["confidence"], table["probable"] = diagnose(
        chances, np.ones(len(table), bool), least_confidence=least_confidence
    )
    return table
