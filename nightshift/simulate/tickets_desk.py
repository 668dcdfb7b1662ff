"""The simulated help desk itself: what can be asked, who asks, and the hours of the desk.

read_phrases, list_intents    what people want, and how they say it
make_users, write_accounts    users in their departments, and what Slurm has of them
make_calendar                 hours, holidays, and the mean number of tickets
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers import atomic, project_path
from nightshift.yaml_files import load_yaml

ZONE = "Europe/Berlin"  # of the help desk's server and staff
N_USERS = 400
DEPARTMENTS = (
    pd.Series(
        {
            "physics": 20,
            "chemistry": 15,
            "informatics": 14,
            "engineering": 13,
            "biology": 10,
            "medicine": 8,
            "geosciences": 7,
            "mathematics": 6,
            "economics": 4,
            "linguistics": 3,
            "archaeology": 0,
            "philosophy": 0,
        }
    )
    / 100
)  # shares of the tickets; the last two have next to none, and are too small to be named in a report
SMALL = list(DEPARTMENTS.index[DEPARTMENTS == 0])
DOMAINS = {"campus": "campus.example", "students": "students.campus.example", "guest": "partner.example"}


def read_phrases():
    """Read notebooks/tickets/phrases.yaml: the intents, and how people phrase them."""
    return load_yaml(project_path("notebooks/tickets/phrases.yaml"))


def read_site_names():
    """Read sites.yaml: {site: what people call it}."""
    return load_yaml(project_path("sites.yaml"))


def list_intents(phrases):
    """List the intents: DataFrame queue, topic, share (sum one), reply_h, solve_h (medians), by intent."""
    intents = pd.DataFrame({name: one["about"] for name, one in phrases["intents"].items()})
    intents = intents.T.infer_objects()
    intents["share"] /= intents.share.sum()
    return intents


def pick(rng, options):
    """Return one of `options`, each as likely as the others."""
    return options[rng.integers(len(options))]


def invent_name(rng, syllables):
    """Invent a name of a number of `syllables`."""
    pairs = (pick(rng, "bdfgklmnprstvz") + pick(rng, "aeiou") for _ in range(syllables))
    return "".join(pairs).capitalize()


def make_users(rng):
    """Make the users, a row each: first, last, department, activity, user, in_slurm, address, name, phone.

    Activity falls like a power, within departments whose shares are fixed. Guests and some students have no
    account in Slurm. One user in four begins the words of their address with capitals.
    """
    first = [invent_name(rng, 2) for _ in range(N_USERS)]
    last = [invent_name(rng, 3) for _ in range(N_USERS)]
    department = rng.choice(DEPARTMENTS.index, N_USERS, p=DEPARTMENTS)
    users = pd.DataFrame({"first": first, "last": last, "department": department})
    n_small = 2 * len(SMALL)  # two users of each small department
    users.loc[users.index[:n_small], "department"] = SMALL * 2
    users["activity"] = np.minimum(0.2 + rng.pareto(1.3, N_USERS), 12)
    of_department = users.groupby("department").activity.transform("sum")
    users["activity"] *= users.department.map(DEPARTMENTS) / of_department
    kind = rng.choice(["campus", "students", "guest"], N_USERS, p=[0.7, 0.22, 0.08])
    kind[:n_small] = "campus"
    number = np.where(users.duplicated(["last"]), users.index.astype(str), "")
    users["user"] = (users["first"].str[0] + users["last"]).str.lower() + number
    has_account = rng.uniform(size=N_USERS) < 0.8
    users["in_slurm"] = (kind == "campus") | ((kind == "students") & has_account)
    domain = pd.Series(kind).map(DOMAINS)
    users["address"] = users.user + "@" + domain
    loud = rng.uniform(size=N_USERS) < 0.25
    loud_user = users["first"].str[0] + users["last"] + users.user.str.extract(r"(\d*)$")[0]
    users.loc[loud, "address"] = loud_user + "@" + domain.str.title()
    first_last = users["first"] + " " + users["last"]
    last_first = users["last"] + ", " + users["first"]
    users["name"] = np.where(rng.uniform(size=N_USERS) < 0.8, first_last, last_first)
    users["phone"] = [f"+49 555 {number}" for number in rng.integers(100_000, 999_999, N_USERS)]
    return users


@dataclass(frozen=True)
class Calendar:
    """The hours of the span: starts in UTC and on the desk's clock, holidays, mean number of tickets."""

    hours: pd.DatetimeIndex
    clock: pd.DatetimeIndex
    holidays: np.ndarray
    wanted: np.ndarray


def make_calendar(settings):
    """Make the calendar of the help desk.

    People write by day and on working days, more at the starts of the terms on 13 April and 13 October,
    hardly at the turn of the year, and every year a fifth more than the year before.
    """
    hours = pd.date_range(settings.tickets_from, settings.end, freq="h", inclusive="left")
    clock = hours.tz_convert(ZONE)
    holidays = ((clock.month == 12) & (clock.day >= 24)) | ((clock.month == 1) & (clock.day == 1))
    weekend = clock.day_of_week >= 5
    terms = sum(np.exp(-((((clock.day_of_year - day + 182) % 365 - 182) / 17) ** 2)) for day in (103, 286))
    by_hour = 0.03 + np.exp(-(((clock.hour - 13) / 3.8) ** 2))
    wanted = by_hour * np.where(weekend, 0.2, 1) * np.where(holidays, 0.2, 1)
    wanted = np.array(wanted * (1 + 0.6 * terms) * 1.2 ** ((hours - settings.tickets_from).days / 365.25))
    wanted *= settings.tickets_per_week * settings.ticket_weeks / wanted.sum()
    return Calendar(hours, clock, holidays, wanted)


def write_accounts(users, path):
    """Write what Slurm has of `users` to `path`, as `sacctmgr --parsable2` prints it.

    First the default account of each user, then the organisation, a department, of each account.
    """
    users = users[users.in_slurm].sort_values("user")
    letter = users["last"].str.lower().str[0]
    accounts = users.department.str[:4] + "_" + letter.map(lambda first: "a" if first < "m" else "b")
    organisations = dict(sorted(zip(accounts, users.department, strict=True)))
    lines = ["User|Def Acct", "root|root", *(users.user + "|" + accounts)]
    lines += ["Account|Descr|Org", "root|default root account|root"]
    lines += [f"{account}|group {account}|{name}" for account, name in organisations.items()]
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
