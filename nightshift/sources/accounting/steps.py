"""The step of an accounting's grid, a week or a month, and the lengths that are counted in steps.

Tables, arrays and names speak of weeks: where the records are monthly, a `week` is a month, dated by its
first day.
"""

from dataclasses import dataclass

import pandas as pd

from nightshift.wording import plural


@dataclass(frozen=True)
class Step:
    """One step of the grid, and the lengths that depend on it, all in steps where no unit is named.

    name : what people call it. period, frequency : pandas' names of it as a period and as the distance of its
    starts. begins : the day that dates it. days : the fewest days that it has. year : steps in a year. long,
    short, recent : the windows of what is usual, of recent times, and of the trend. prior : steps with which
    the activity of a new series is drawn towards a common one. absence : silent steps after which a series
    returns. least_life : steps before a first silence is judged by itself. most_breaks : other series that
    may have been silent once for it. habit, habit_times : what happened `habit_times` times in `habit` steps
    is a habit. least_age : steps before anything is judged. late_days : days by which the source may be
    behind before it counts as silent.
    """

    name: str
    period: str
    frequency: str
    begins: str
    days: int
    year: int
    long: int
    short: int
    recent: int
    prior: int
    absence: int
    least_life: int
    most_breaks: int
    habit: int
    habit_times: int
    least_age: int
    late_days: int

    @classmethod
    def of_starts(cls, starts):
        """Tell the step of a grid from its `starts`, a Series of times: a month where all of them are firsts
        of months and not all are Mondays, else a week.

        At most two months in a row begin on Mondays, and in these nothing can be judged.
        """
        is_monthly = (starts.dt.day == 1).all() and not (starts.dt.day_of_week == 0).all()
        return MONTH if is_monthly else WEEK

    @property
    def series(self):
        """What one judged item is called, such as series-week."""
        return f"series-{self.name}"

    @property
    def axis(self):
        """The label of an axis of steps."""
        return f"{self.name} (its {self.begins}), UTC"

    def number(self, at):
        """Return the numbers of the steps in which the times `at` (UTC) lie, consecutive: int (n,)."""
        return pd.PeriodIndex(pd.DatetimeIndex(at).tz_localize(None), freq=self.period).asi8

    def moments(self, numbers):
        """Return the starts of the steps with these numbers, of `number`: DatetimeIndex, UTC, in us."""
        periods = pd.PeriodIndex.from_ordinals(numbers, freq=self.period)
        return periods.to_timestamp().tz_localize("UTC").as_unit("us")

    def starts(self, at):
        """Return the starts of the steps in which the times `at` lie: DatetimeIndex."""
        return self.moments(self.number(at))

    def ends(self, at):
        """Return when the steps in which the times `at` lie are over: DatetimeIndex."""
        return self.moments(self.number(at) + 1)

    def shift(self, at, steps):
        """Return the start of the step that is `steps` steps after that of the time `at`: Timestamp."""
        return self.moments(self.number([at]) + steps)[0]

    def several(self, steps):
        """Word a number of `steps`: "3 weeks", "1 month"."""
        return plural(steps, self.name)

    def last(self, steps):
        """Word a number of last `steps`: "last 3 weeks", "last month"."""
        return f"last {self.several(steps)}" if steps > 1 else f"last {self.name}"

    def span(self, starts):
        """Word the steps with these `starts`: "3 weeks to the week of 2026-01-19", "month of 2026-01-01"."""
        several = f"{self.several(len(starts))} to the " if len(starts) > 1 else ""
        return f"{several}{self.name} of {starts[-1]:%Y-%m-%d}"

    def count(self, weeks):
        """Convert a number of `weeks`, as parameters have it, into steps, at least one: int."""
        return max(round(weeks * self.year / 52), 1)

    def age(self, weeks):
        """Convert the age in `weeks` from which a series is judged into steps, at least `least_age`: int."""
        return max(self.count(weeks), self.least_age)


WEEK = Step(
    name="week",
    period="W-SUN",
    frequency="7D",
    begins="Monday",
    days=7,
    year=52,
    long=26,
    short=8,
    recent=4,
    prior=8,
    absence=4,
    least_life=30,
    most_breaks=9,
    habit=78,
    habit_times=3,
    least_age=4,
    late_days=0,
)
MONTH = Step(
    name="month",
    period="M",
    frequency="MS",
    begins="first day",
    days=28,
    year=12,
    long=12,  # six values hardly tell the spread of a series that varies
    short=4,
    recent=2,
    prior=2,
    absence=2,  # one missing month is mostly a late record
    least_life=12,  # with the seasons of a year
    most_breaks=4,  # nine would keep nearly all of 0.5% of the alarms for 40 series of two years
    habit=18,
    habit_times=2,  # once in a hundred months makes two in 18 with a chance of 1.4%
    least_age=4,  # what `deviation` needs
    late_days=45,  # a month, and a fortnight until it is published
)
STEPS = {step.name: step for step in (WEEK, MONTH)}
