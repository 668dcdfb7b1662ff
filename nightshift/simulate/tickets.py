"""The simulated tickets: what happens to the help desk, who asks what and when, and how long tickets wait.

    Incidents  the desk's own, and those that outages bring   KINDS, draw_ticket_incidents
    Tickets    who asks what about which site, and when       Requests, draw_tickets
    Waiting    queue, priority, reply and end of each ticket  draw_handling, draw_ends, draw_waits

Users and hours are in tickets_desk.py, what tickets say is in tickets_texts.py, and what osTicket stores of
them in tickets_osticket.py.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nightshift.simulate.tickets_desk import DEPARTMENTS, SMALL, Calendar
from nightshift.simulate.timeline import write_csv

KINDS = pd.DataFrame(
    [
        (
            "growing_topic",
            4,
            5,
            35,
            56,
            "tickets about one intent times strength, after a rise over the first quarter",
        ),
        (
            "department_surge",
            3.5,
            5,
            14,
            21,
            "tickets of a department times strength, as when a course begins",
        ),
        ("backlog", 8, 12, 24, 30, "staff of a queue works slower by strength"),
        (
            "slow_topic",
            4,
            6,
            35,
            49,
            "time to the first reply and to the end of new tickets of an intent, times strength",
        ),
        ("outage_tickets", 8, 22, 1.5, 4, "number of tickets about an incident of the timeline"),
    ],
    columns=["kind", "weakest", "strongest", "least_days", "most_days", "strength"],
).set_index("kind")
OWN_KINDS = [
    "growing_topic",
    "department_surge",
    "backlog",
    "slow_topic",
]  # in the order in which they take turns
ASKED_ABOUT = {  # intent of the tickets that an incident of the timeline brings
    "site_outage": "cluster_down",
    "failing_source": "transfer_failing",
    "slow_destination": "transfer_slow",
    "stuck_queue": "transfer_stuck",
}

PRIORITIES = {"low": 1.6, "normal": 1, "high": 0.6, "emergency": 0.3}  # factors of the times
OPEN, RESOLVED, CLOSED, ARCHIVED, DELETED = 1, 2, 3, 4, 5  # ids of notebooks/tickets/osticket.sql


# -------------------------------------------------------------------------------------------------- Incidents


def choose_hits(rng, intents):
    """Choose in which order intents, queues and departments are hit: {kind of OWN_KINDS: names}.

    Intents and departments have about a ticket a week or more, so that somebody can see it. The first growing
    and the first slow topic, which last until the end, are not of the queue that has its backlog then.
    """
    shares = intents.groupby("queue").share.sum()
    queues = rng.permutation(shares.loc[lambda share: share >= 0.15].index)
    often, away = intents.share >= 1.1 / len(intents), intents.queue == queues[0]
    asked = [
        *rng.permutation(intents.index[often & ~away]),
        *rng.permutation(intents.index[often & away]),
    ]
    large = rng.permutation(DEPARTMENTS.index[DEPARTMENTS.between(0.06, 0.15)])
    return {
        "growing_topic": asked[::2],
        "slow_topic": asked[1::2],
        "backlog": queues,
        "department_surge": large,
    }


def draw_desk_incidents(rng, settings, *, intents):
    """Draw the help desk's own incidents, rows as dicts: one of each kind lasts until the end of the
    sample, and before there is one every eight weeks, the kinds in turn. What has been hit is hit again
    after all others.
    """
    hits = choose_hits(rng, intents)
    slots = [(kind, settings.end, 0) for kind in OWN_KINDS]
    for i, week in enumerate(range(20, settings.ticket_weeks - 16, 8)):
        slots.append((OWN_KINDS[i % 4], settings.tickets_from + pd.Timedelta(weeks=week), 1 + i // 4))
    rows = []
    for kind, ends, turn in slots:
        spec = KINDS.loc[kind]
        lasts = pd.Timedelta(days=rng.uniform(spec.least_days, spec.most_days))
        rows.append(
            {
                "kind": kind,
                "start": (ends - lasts).floor("s"),
                "end": ends.floor("s"),
                "strength": round(rng.uniform(spec.weakest, spec.strongest), 1),
                "entity": hits[kind][turn % len(hits[kind])],
                "site": "",
            }
        )
    return rows


def choose_noticed(settings, incidents):
    """Choose the incidents of other sources that bring tickets, by start.

    Those are every site outage, and `complaints` of each kind of transfer trouble in ASKED_ABOUT, if they
    began in the span of the tickets and at least two days before its end.
    """
    noticed = incidents[incidents.kind.isin(ASKED_ABOUT)]
    noticed = noticed[noticed.start <= settings.end - pd.Timedelta(days=2)].sort_values(
        "start", kind="stable"
    )
    shuffled = noticed.sample(frac=1, random_state=settings.seed)
    some = shuffled.groupby("kind").head(settings.complaints).index
    noticed = noticed[(noticed.kind == "site_outage") | noticed.index.isin(some)]
    return noticed[noticed.start >= settings.tickets_from]


def draw_outage_tickets(rng, settings, *, noticed):
    """Draw the tickets that `noticed` incidents bring two to six hours later, rows as dicts.

    They last 1.5 to 4 days, in which nearly all have asked; `about`, `since` and `service` name the cause.
    """
    least, most = KINDS.loc["outage_tickets", ["weakest", "strongest"]].astype(int)
    rows = []
    for incident in noticed.itertuples():
        begins = (incident.start + pd.Timedelta(hours=rng.uniform(2, 6))).floor("s")
        ends = begins + pd.Timedelta(days=rng.uniform(1.5, 4))
        rows.append(
            {
                "kind": "outage_tickets",
                "start": begins,
                "end": min(ends, settings.end).floor("s"),
                "strength": rng.integers(least, most + 1),
                "entity": ASKED_ABOUT[incident.kind],
                "site": incident.site,
                "service": incident.entity,
                "about": incident.kind,
                "since": incident.start,
            }
        )
    return rows


def draw_ticket_incidents(rng, settings, *, intents, incidents):
    """Draw all incidents of the help desk: DataFrame INCIDENT_COLUMNS, service, about, since.

    incidents : those of transfers and accounting, with a unique index, some of which bring tickets.
    """
    rows = draw_desk_incidents(rng, settings, intents=intents)
    rows += draw_outage_tickets(rng, settings, noticed=choose_noticed(settings, incidents))
    return pd.DataFrame(rows)


# ---------------------------------------------------------------------------------------------------- Tickets


@dataclass(frozen=True)
class Requests:
    """Draw when people ask, and who asks what about which site."""

    rng: np.random.Generator
    calendar: Calendar
    users: pd.DataFrame
    intents: pd.DataFrame
    sites: pd.DataFrame

    def moments(self, weight, n=None):
        """Draw `n` moments, by default a Poisson number, spread over the hours by `weight`, (hours,)."""
        n = self.rng.poisson(weight.sum()) if n is None else n
        at_hour = self.rng.choice(len(self.calendar.hours), n, p=weight / weight.sum())
        within = pd.to_timedelta(self.rng.uniform(0, 3600, n), unit="s")
        return (self.calendar.hours[at_hour] + within).floor("s")

    def ask(self, at, *, intent=None, department=None, site=None, service=""):
        """Draw tickets of the moments `at`: DataFrame created, intent, user, service, site, where not set."""
        n, rng = len(at), self.rng
        activity = 1.0 if department in SMALL else self.users.activity
        chance = ((self.users.department == department) | (department is None)) * activity
        popularity = self.sites.popularity
        return pd.DataFrame(
            {
                "created": at,
                "intent": intent or rng.choice(self.intents.index, n, p=self.intents.share),
                "user": rng.choice(len(self.users), n, p=chance / chance.sum()),
                "service": service,
                "site": site or rng.choice(self.sites.site, n, p=popularity / popularity.sum()),
            }
        )

    def ask_more(self, incident):
        """Draw the tickets that one incident adds: a list with one table, or none where it adds no ticket."""
        hours, wanted = self.calendar.hours, self.calendar.wanted
        inside = (hours >= incident.start) & (hours < incident.end)
        extra = wanted * inside * (incident.strength - 1)
        if incident.kind == "growing_topic":
            lasted = ((hours - incident.start) / (incident.end - incident.start)).to_numpy()
            extra = extra * np.clip(lasted * 4, 0, 1) * self.intents.share[incident.entity]
            return [self.ask(self.moments(extra), intent=incident.entity)]
        if incident.kind == "department_surge":
            return [self.ask(self.moments(extra * DEPARTMENTS[incident.entity]), department=incident.entity)]
        return []

    def ask_about_outage(self, incident):
        """Draw the tickets about an outage: most within a day, and when people are awake.

        They speak of its site, or of the server whose queue is stuck.
        """
        hour_ends = self.calendar.hours + pd.Timedelta(hours=1)
        since_h = ((hour_ends - incident.start) / pd.Timedelta(hours=1)).to_numpy()
        weight = self.calendar.wanted * (since_h > 1) * (hour_ends <= incident.end)
        weight = weight * np.exp(-np.maximum(since_h, 0) / 24)
        at = self.moments(weight, int(incident.strength))
        service = "" if incident.site else incident.service
        return self.ask(at, intent=incident.entity, site=incident.site or None, service=service)


def draw_tickets(requests, settings, *, incidents, n_machines):
    """Draw all tickets by time: DataFrame original, created, intent, user, service, site, kind, ticket_id.

    incidents : of `draw_ticket_incidents`. kind : "asked"; "twice", sent again within the hour, where
    `original` is the position of the first one; "merged", a second ticket of the user 2 to 72 hours later,
    which staff merge into the first; "automatic", of one of `n_machines` senders, whose numbers follow
    those of the users.
    """
    of_outages = incidents.kind == "outage_tickets"
    wanted = requests.calendar.wanted
    parts = [requests.ask(requests.moments(wanted))]
    for name in SMALL:  # three tickets each
        parts.append(requests.ask(requests.moments(wanted / wanted.sum(), 3), department=name))
    for incident in incidents[~of_outages].itertuples():
        parts += requests.ask_more(incident)
    parts += [requests.ask_about_outage(incident) for incident in incidents[of_outages].itertuples()]
    asked = pd.concat(parts, ignore_index=True).assign(kind="asked")
    twice, merged = repeat_tickets(requests.rng, asked, seed=settings.seed)
    machines = draw_machines(requests, settings, n_machines=n_machines)
    tickets = pd.concat([asked.reset_index(names="original"), twice, merged, machines])
    tickets = tickets[tickets.created < settings.end]
    tickets = tickets.sort_values("created", kind="stable", ignore_index=True)
    tickets["ticket_id"] = 1001 + tickets.index
    return tickets


def repeat_tickets(rng, asked, *, seed):
    """Draw which of the `asked` tickets are sent twice, and which are followed by one to be merged: two
    tables.
    """
    twice = asked.sample(frac=0.02, random_state=seed).assign(kind="twice", original=lambda t: t.index)
    twice["created"] += pd.to_timedelta(rng.integers(60, 3600, len(twice)), unit="s")
    merged = asked.drop(twice.index).sample(frac=0.015, random_state=seed).assign(kind="merged")
    merged["created"] += pd.to_timedelta(rng.integers(2 * 3600, 72 * 3600, len(merged)), unit="s")
    return twice, merged.assign(original=-1)


def draw_machines(requests, settings, *, n_machines):
    """Draw the tickets of machines, four in a hundred, at any hour."""
    n_hours = len(requests.calendar.hours)
    created = requests.moments(np.full(n_hours, 0.04 * settings.tickets_per_week / 168))
    machines = pd.DataFrame({"created": created, "kind": "automatic", "intent": ""})
    machines["user"] = len(requests.users) + requests.rng.integers(n_machines, size=len(machines))
    return machines.assign(original=-1)


# ---------------------------------------------------------------------------------------------------- Waiting


def draw_handling(rng, tickets, *, intents, incidents, since):
    """Return `tickets` with priority, queue, topic, asked_h, reply_work_h and solve_work_h.

    asked_h : hours since the start of the span. The working hours to the first reply and from there to the
    end are log-normal around the medians of the intent: shorter for what is urgent, longer in a slow topic,
    much longer for the one ticket in twenty that nobody wants. One ticket in 25 lies in any queue, and one
    in five has another topic than its own. Priority is what the user chose.
    """
    n, machine = len(tickets), (tickets.kind == "automatic").to_numpy()
    pressing = tickets.intent.isin(ASKED_ABOUT.values()).to_numpy()
    usual = rng.choice(4, n, p=[0.12, 0.68, 0.16, 0.04])
    priority = np.where(pressing, rng.choice(4, n, p=[0.03, 0.37, 0.4, 0.2]), usual)
    of_intent = intents.reindex(tickets.intent.where(~machine, "citation"))
    strays = rng.uniform(size=n) < 0.04
    queue = np.where(strays, rng.choice(intents.queue.unique(), n), of_intent.queue)
    topics = list_topics(intents)
    chosen = rng.choice(["right", "Other", "any"], n, p=[0.8, 0.13, 0.07])
    choices = ["Other", rng.choice(topics, n)]
    topic = np.select([machine | (chosen == "Other"), chosen == "any"], choices, of_intent.topic)
    pace = np.array(list(PRIORITIES.values()))[priority] * np.where(rng.uniform(size=n) < 0.05, 12, 1)
    for row in incidents[incidents.kind == "slow_topic"].itertuples():
        inside = (tickets.created >= row.start) & (tickets.created < row.end)
        pace *= np.where((tickets.intent == row.entity) & inside, row.strength, 1)
    asked_h = ((tickets.created - since) / pd.Timedelta(hours=1)).to_numpy()
    reply_work_h = of_intent.reply_h.to_numpy() * pace * rng.lognormal(0, 0.9, n)
    solve_work_h = of_intent.solve_h.to_numpy() * pace * rng.lognormal(0, 1.3, n)
    solve_work_h[(tickets.kind == "merged") | machine] /= 4
    handled = tickets.assign(priority=priority, queue=queue, topic=topic, asked_h=asked_h)
    return handled.assign(reply_work_h=reply_work_h, solve_work_h=solve_work_h)


def list_topics(intents):
    """List the help topics of the form, "Other" last."""
    return [*sorted(set(intents.topic) - {"Other"}), "Other"]


def list_queues(intents):
    """Return the queues of `intents` as a table for people: how many intents each has, their share of the
    tickets, and the median working hours to reply and to solve.
    """
    table = intents.groupby("queue").agg(
        intents=("topic", "size"),
        share=("share", "sum"),
        reply=("reply_h", "median"),
        solve=("solve_h", "median"),
    )
    hours = {"reply": "to reply, working hours", "solve": "to solve, working hours"}
    return table.reset_index().rename(columns=hours)


def work_of_queues(calendar, queues, *, incidents):
    """Hours that each queue has worked from the start of the span to each full hour: {queue: (hours + 1,)}.

    A team works on working days from 8 to 17 h, looks in at other times, and is slow in a backlog.
    """
    clock, hours = calendar.clock, calendar.hours
    office = (clock.day_of_week < 5) & (clock.hour >= 8) & (clock.hour < 17) & ~calendar.holidays
    worked = {}
    for queue in queues:
        speed = np.array(0.02 + office, float)
        for row in incidents[(incidents.kind == "backlog") & (incidents.entity == queue)].itertuples():
            speed[(hours >= row.start) & (hours < row.end)] /= row.strength
        worked[queue] = np.concatenate([[0], np.cumsum(speed)])
    return worked


def hours_after(tickets, work_h, *, worked):
    """Hours of the span, (tickets,), at which the queue of each ticket has worked `work_h` since it was
    asked.

    worked : of `work_of_queues`. Infinite where that is beyond the end of the span.
    """
    out = np.empty(len(tickets))
    for queue, of_queue in worked.items():
        rows, span_h = (tickets.queue == queue).to_numpy(), np.arange(len(of_queue), dtype=float)
        done = np.interp(tickets.asked_h.to_numpy()[rows], span_h, of_queue) + work_h[rows]
        out[rows] = np.interp(done, of_queue, span_h, right=np.inf)
    return out


def draw_ends(rng, tickets, *, worked):
    """Return `tickets`, of `draw_handling`, with reply_h, closed_h (hours of the span) and status.

    reply_h is infinite for tickets that are closed without a word: those of machines, merged ones, and four
    in a hundred. Tickets closed a year ago may be archived.
    """
    reply_work_h, solve_work_h = tickets.reply_work_h.to_numpy(), tickets.solve_work_h.to_numpy()
    reply_h = hours_after(tickets, reply_work_h, worked=worked)
    closed_h = hours_after(tickets, reply_work_h + solve_work_h, worked=worked)
    silent = tickets.kind.isin(["automatic", "merged"]).to_numpy() | (rng.uniform(size=len(tickets)) < 0.04)
    night_h = len(next(iter(worked.values()))) - 1.0
    ended, fate = closed_h < night_h, rng.uniform(size=len(tickets))
    old = closed_h < night_h - 365 * 24
    cases = [~ended, fate < 0.008, (fate > 0.9) & old, fate < 0.6]
    status = np.select(cases, [OPEN, DELETED, ARCHIVED, RESOLVED], CLOSED)
    return tickets.assign(reply_h=np.where(silent, np.inf, reply_h), closed_h=closed_h, status=status)


def draw_waits(requests, settings, *, tickets, incidents):
    """Return `tickets` with what `draw_handling` and `draw_ends` draw: who handles each, and how long it
    waits.

    requests : the `Requests` that asked for them. incidents : of `draw_ticket_incidents`.
    """
    rng, intents, since = requests.rng, requests.intents, settings.tickets_from
    handled = draw_handling(rng, tickets, intents=intents, incidents=incidents, since=since)
    worked = work_of_queues(requests.calendar, intents.queue.unique(), incidents=incidents)
    return draw_ends(rng, handled, worked=worked)


def usual_waits(tickets):
    """Count the open tickets, and measure how long half of the others waited: {"n_open": int, "reply_h" and
    "close_h", hours to the first reply and to the end}.
    """
    ended = tickets[tickets.status != OPEN]
    reply_h, close_h = (np.median(ended[to] - ended.asked_h) for to in ("reply_h", "closed_h"))
    return {"n_open": len(tickets) - len(ended), "reply_h": reply_h, "close_h": close_h}


def count_per_week(tickets, settings):
    """Count the tickets of people in each week of the span: int Series [start of the week]."""
    created = tickets.created[tickets.kind != "automatic"]
    week = (created - settings.end) // pd.Timedelta(weeks=1) + settings.ticket_weeks
    counts = np.bincount(week.clip(lower=0), minlength=settings.ticket_weeks)
    return pd.Series(counts, week_starts(settings))


def count_open(tickets, settings, *, queues):
    """Count what is open at the end of each week: int DataFrame [end of the week, queue], in the order of
    `queues`.
    """
    at_h = 168.0 * np.arange(1, settings.ticket_weeks + 1)[:, None]
    counts = {}
    for queue in queues:
        rows = tickets[tickets.queue == queue]
        waits = (rows.asked_h.to_numpy() < at_h) & (rows.closed_h.to_numpy() >= at_h)
        counts[queue] = waits.sum(axis=1)
    return pd.DataFrame(counts, index=week_starts(settings) + pd.Timedelta(weeks=1))


def week_starts(settings):
    """The starts of the weeks of the span, which end with the sample."""
    weeks = np.arange(settings.ticket_weeks) - settings.ticket_weeks
    return settings.end + pd.to_timedelta(7 * weeks, unit="D")


def write_intents(tickets, path):
    """Write the intent of each ticket of a person to `path`; what machines send has none."""
    labels = tickets.loc[tickets.kind != "automatic", ["ticket_id", "intent"]]
    write_csv(labels.rename(columns={"intent": "label"}), path)
