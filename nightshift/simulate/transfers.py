"""The simulated transfers: what is asked for, what goes wrong, the queues of FTS, and Rucio's events.

    Requests   storages, rules, files                    make_storages, draw_rules, draw_files
    Incidents  trouble of links, storages and servers    HOURS, draw_transfer_incidents
    Network    throughput and failures at a moment       wander_throughput, Network, make_networks
    Queue      every attempt of every file               Luck, Queue, run_twice
    Products   Rucio's events                            make_events, write_events

FTS is the file transfer service, one server for several sites; a storage is an RSE of Rucio.
"""

import gzip
import heapq
import json
from collections import deque

import numpy as np
import pandas as pd

from helpers import atomic

SHARES = {"DATADISK": 0.7, "SCRATCHDISK": 0.25, "DATATAPE": 0.05}  # of the requests, by kind of storage
ACTIVITIES = pd.DataFrame(
    [
        ("Production Output", 0.24, 300),
        ("Production Input", 0.2, 900),
        ("User Subscriptions", 0.2, 60),
        ("Data Consolidation", 0.14, 500),
        ("Data Rebalancing", 0.1, 1500),
        ("T0 Export", 0.05, 2500),
        ("Analysis Input", 0.07, 20),
    ],
    columns=["activity", "share", "size_mb"],
)
FILES_PER_RULE = 5  # in the mean

HOURS = {  # shortest and longest time of each kind of incident
    "slow_link": (12, 36),
    "slow_destination": (8, 24),
    "failing_source": (6, 18),
    "stuck_queue": (4, 10),
}
HITS = {
    "slow_link": "link",
    "slow_destination": "destination",
    "failing_source": "source",
    "stuck_queue": "server",
}
LEAST_RULES = 5  # what is asked for less often in the hours of an incident is not hit: nobody could see it

SLOTS, TRIES = 5, 3  # transfers at once on a link; attempts per file
RETRY_S = 600  # from a failure to the next attempt
QUEUED_S = 600  # a request that waits longer is announced as queued
ERRORS = [
    "TRANSFER [110] Operation timed out after {n} s",
    "DESTINATION [28] No space left on device, pool {n}",
    "SOURCE [2] File /pool/{n} not found",
]


# --------------------------------------------------------------------------------------------------- Requests


def make_storages(rng, sites):
    """Make the storages: DataFrame of the columns of `sites`, kind, share, rse, weight (sum one), host,
    speed_mb_s.

    Each site has a big disk and a scratch disk, the first four also tape, which is slower. Names are
    SITE_KIND.
    """
    kinds = pd.DataFrame({"kind": list(SHARES), "share": list(SHARES.values())})
    storages = sites.merge(kinds, how="cross")
    keep = (storages.kind != "DATATAPE") | storages.site.str.endswith("T1")
    storages = storages[keep].reset_index(drop=True)
    storages["rse"] = storages.site + "_" + storages.kind
    weight = storages.popularity * storages.share
    storages["weight"] = weight / weight.sum()
    storages["host"] = "se." + storages.site.str.lower() + ".example"
    speed = rng.lognormal(np.log(60), 0.5, len(storages))
    storages["speed_mb_s"] = speed * np.where(storages.kind == "DATATAPE", 0.4, 1)
    return storages


def pick_links(rng, storages, *, n):
    """Pick `n` links by popularity, source and destination at different sites: int (n, 2), rows of
    `storages`.
    """
    pairs = rng.choice(len(storages), size=(2 * n + 50, 2), p=storages.weight)
    site = storages.site.to_numpy()
    return pairs[site[pairs[:, 0]] != site[pairs[:, 1]]][:n]


def draw_rules(rng, settings, *, storages):
    """Draw the rules, by time: DataFrame at, src, dst (rows of `storages`), files, activity, size_mb.

    A rule asks for a dataset: a burst of files on one link, with sizes around the dataset's own median.
    Rules come more often by day than by night and less on weekends.
    """
    n = rng.poisson(settings.transfers_per_day * settings.days / FILES_PER_RULE)
    seconds = np.sort(rng.uniform(0, settings.days * 86400, 2 * n))
    at = pd.Series(settings.start + pd.to_timedelta(seconds, unit="s"))
    busy = 0.65 + 0.25 * np.sin((at.dt.hour - 8) / 24 * 2 * np.pi) - 0.15 * (at.dt.day_of_week >= 5)
    at = at[rng.uniform(size=len(at)) < busy].sample(n, random_state=settings.seed)
    at = at.sort_values(ignore_index=True)
    links = pick_links(rng, storages, n=len(at))
    files = rng.geometric(1 / FILES_PER_RULE, len(at))
    activity = rng.choice(len(ACTIVITIES), len(at), p=ACTIVITIES.share)
    size_mb = ACTIVITIES.size_mb.to_numpy()[activity] * rng.lognormal(0, 1.2, len(at))
    rules = {"at": at, "src": links[:, 0], "dst": links[:, 1], "files": files, "activity": activity}
    return pd.DataFrame(rules | {"size_mb": size_mb})


def draw_files(rng, settings, *, rules, storages):
    """Draw the files of all rules, by time: DataFrame of the columns of `rules`, rule, bytes, asked_s, fts.

    asked_s : seconds since the start of the sample, within five minutes of the rule. fts : of the
    destination.
    """
    files = rules.loc[rules.index.repeat(rules.files)].reset_index(names="rule").drop(columns="files")
    n = len(files)
    files["bytes"] = (files.size_mb * rng.lognormal(0, 0.35, n) * 1e6).astype("int64") + 1
    files["asked_s"] = (files["at"] - settings.start).dt.total_seconds() + rng.uniform(0, 300, n)
    files["fts"] = storages.fts.to_numpy()[files.dst]
    return files.sort_values("asked_s", ignore_index=True)


# -------------------------------------------------------------------------------------------------- Incidents


def draw_transfer_incidents(rng, settings, *, rules, storages):
    """Draw the incidents of transfers, week by week: DataFrame INCIDENT_COLUMNS.

    strength : the factor by which transfers slow down, 1 for what is dead or stuck. Who is hit is drawn
    from what is asked for in those hours, in proportion to the requests. `site` is that of the destination
    or the storage; a stuck server has none.
    """
    weeks, each = range(settings.days // 7), range(settings.incidents_per_week)
    times = [(week, kind) for week in weeks for kind in HOURS for _ in each]
    incidents = pd.DataFrame(times, columns=["week", "kind"])
    hours = np.array([rng.uniform(*HOURS[kind]) for kind in incidents.kind])
    begins_h = incidents.week * 168 + rng.uniform(0, 168 - hours)
    incidents["start"] = (settings.start + pd.to_timedelta(begins_h, unit="h")).dt.floor("s")
    incidents["end"] = (incidents.start + pd.to_timedelta(hours, unit="h")).dt.floor("s")
    factors = rng.uniform(8, 20, len(incidents))
    incidents["strength"] = np.where(incidents.kind.str.startswith("slow"), factors, 1).round(1)
    asked = name_what_is_asked(rules, storages)
    incidents["entity"] = [pick_entity(rng, incident, asked=asked) for incident in incidents.itertuples()]
    storage = incidents.entity.str.split(" -> ").str[-1]
    site = storage.str.replace(r"_[A-Z]+$", "", regex=True)
    incidents["site"] = site.mask(incidents.kind == "stuck_queue", "")
    return incidents.drop(columns="week")


def name_what_is_asked(rules, storages):
    """Name what each rule needs: DataFrame at, source, destination, server, link."""
    rse = storages.rse.to_numpy()
    asked = pd.DataFrame({"at": rules["at"], "source": rse[rules.src], "destination": rse[rules.dst]})
    asked["server"] = storages.fts.to_numpy()[rules.dst]
    asked["link"] = asked.source + " -> " + asked.destination
    return asked


def pick_entity(rng, incident, *, asked):
    """Pick the link, destination, source or server that an incident hits, by the rules of its hours."""
    inside = (asked["at"] >= incident.start) & (asked["at"] < incident.end)
    met = asked.loc[inside, HITS[incident.kind]].value_counts()
    busy = met[met >= min(LEAST_RULES, met.max())]
    return rng.choice(busy.index, p=busy / busy.sum())


# ---------------------------------------------------------------------------------------------------- Network


def wander_throughput(rng, settings, *, storages):
    """Draw the drift of the log throughput of every storage: (hours, storages), two days longer than the
    sample.

    An Ornstein-Uhlenbeck process on an hourly grid with a memory of 8 hours.
    """
    hours, memory, sd = settings.days * 24 + 48, np.exp(-1 / 8), storages.drift_sd.to_numpy()
    drift = np.zeros((hours, len(storages)))
    for hour in range(1, hours):
        step = sd * rng.normal(size=len(storages))
        drift[hour] = memory * drift[hour - 1] + np.sqrt(1 - memory**2) * step
    return drift


class Network:
    """Say what the network gives to a transfer, and which trouble there is, at a moment in seconds of the
    sample.

    drift : of `wander_throughput`. incidents : INCIDENT_COLUMNS; those of HOURS and site outages act on
    transfers.
    """

    def __init__(self, storages, drift, *, incidents, start):
        self.rse, self.site, self.host = (storages[c].to_list() for c in ("rse", "site", "host"))
        self.log_mb_s, self.drift = np.log(storages.speed_mb_s.to_numpy()), drift
        self.last_s = len(drift) * 3600 - 1
        self.incidents = {}  # {(kind, entity): [(start, end, strength)]}
        begins, ends = ((incidents[c] - start).dt.total_seconds() for c in ("start", "end"))
        acting = incidents.assign(begins=begins, ends=ends)[incidents.kind.isin([*HOURS, "site_outage"])]
        for row in acting.itertuples():
            times = self.incidents.setdefault((row.kind, row.entity), [])
            times.append((row.begins, row.ends, row.strength))

    def strength(self, hit, at_s):
        """Strength of an incident at a moment, 0 when there is none; `hit` is its (kind, entity)."""
        for begins, ends, strength in self.incidents.get(hit, ()):
            if begins <= at_s < ends:
                return strength
        return 0

    def slowness(self, link, at_s):
        """The factor by which incidents slow a transfer down on a link (source, destination), at least 1."""
        src, dst = link
        return max(
            self.strength(("slow_link", f"{self.rse[src]} -> {self.rse[dst]}"), at_s),
            self.strength(("slow_destination", self.rse[dst]), at_s),
            self.strength(("site_outage", self.site[src]), at_s),
            self.strength(("site_outage", self.site[dst]), at_s),
            1,
        )

    def duration_s(self, link, size, *, at_s, running, noise):
        """Seconds that a transfer takes: a handshake, then bytes over the throughput that is left for it.

        link : (source, destination). running : transfers at the source and at the destination, six of which
        halve the throughput of each. noise : two standard normal numbers.
        """
        (src, dst), drift = link, self.drift[int(at_s // 3600)]
        slow = self.slowness(link, at_s)
        log_speed = min(self.log_mb_s[src] + drift[src], self.log_mb_s[dst] + drift[dst]) - np.log(slow)
        shared = 1 + running[0] / 6 + running[1] / 6
        handshake = 5 * np.exp(0.5 * noise[0]) * slow**0.7 * np.exp(-0.5 * drift[dst])
        return handshake + size / 1e6 / (np.exp(log_speed + 0.3 * noise[1]) / shared)

    def failure(self, src, at_s, *, draw):
        """Why an attempt fails, "" when it does not: two in a hundred do, of a dead source almost all."""
        if draw < 0.95 and self.strength(("failing_source", self.rse[src]), at_s):
            return f"SOURCE [111] connection to {self.host[src]} refused after {int(draw * 1000)} s"
        if draw > 0.98:
            return ERRORS[int(draw * 1e6) % 3].format(n=int(draw * 1e7) % 997)
        return ""

    def release_s(self, server, at_s):
        """The moment at which an FTS server starts transfers again, for a request at `at_s`."""
        stuck = self.incidents.get(("stuck_queue", server), ())
        return max([ends for begins, ends, _ in stuck if begins <= at_s < ends], default=at_s)


def make_networks(rng, settings, *, storages, incidents):
    """Make two networks with one drift, one without the site outages among `incidents` and one with all of
    them: list of `Network`.
    """
    drift = wander_throughput(rng, settings, storages=storages)
    return [
        Network(storages, drift, incidents=acting, start=settings.start)
        for acting in (incidents[incidents.kind != "site_outage"], incidents)
    ]


# ------------------------------------------------------------------------------------------------------ Queue

DRAWS = {
    "start": lambda rng: (rng.gamma(2, 10), rng.gamma(2, 4), rng.uniform()),  # s before and after FTS, fate
    "error": lambda rng: rng.gamma(2, 15),  # s until it fails
    "noise": lambda rng: rng.normal(size=2),
    "id": lambda rng: rng.integers(2**63),
}


class Luck:
    """Hold what chance decides about each attempt: drawn when it is first needed, and the same ever after."""

    def __init__(self, rng):
        self.rng, self.drawn = rng, {}

    def of(self, attempt, what):
        """What chance decides about `what`, one of DRAWS, of an attempt (file, number)."""
        key = *attempt, what
        if key not in self.drawn:
            self.drawn[key] = DRAWS[what](self.rng)
        return self.drawn[key]


class Queue:
    """Run the requests through FTS: at most SLOTS transfers per link at once, TRIES attempts per file.

    files : of `draw_files`. Times are in seconds of the sample.
    """

    def __init__(self, files, network, *, luck):
        self.network, self.luck = network, luck
        self.size, self.fts = files.bytes.to_list(), files.fts.to_list()
        self.links = list(zip(files.src.to_list(), files.dst.to_list(), strict=True))
        self.events = [
            (at_s, 0, i, 0) for i, at_s in enumerate(files.asked_s)
        ]  # 0 request, 1 end; file, attempt
        heapq.heapify(self.events)
        self.active = dict.fromkeys(self.links, 0)
        self.waiting = {link: deque() for link in self.active}
        self.at_src, self.at_dst = [0] * len(network.rse), [0] * len(network.rse)

    def run(self):
        """Run until nothing is left: DataFrame file, attempt, submitted, started, finished, why ("": it
        worked).
        """
        attempts = []
        while self.events:
            at_s, ended, i, attempt = heapq.heappop(self.events)
            link = self.links[i]
            if ended:
                self.count(link, -1)
            else:
                self.waiting[link].append((at_s, i, attempt))
            while self.waiting[link] and self.active[link] < SLOTS:
                asked_s, j, k = self.waiting[link].popleft()
                attempts.append((j, k, asked_s, *self.start((j, k), at_s)))
        return pd.DataFrame(attempts, columns=["file", "attempt", "submitted", "started", "finished", "why"])

    def count(self, link, step):
        """Add `step` to the transfers that run on a link, from its source and to its destination."""
        self.active[link] += step
        self.at_src[link[0]] += step
        self.at_dst[link[1]] += step

    def start(self, attempt, at_s):
        """Start an attempt (file, number): (started, finished, why). Its end and its retry become events."""
        (i, number), network = attempt, self.network
        link = self.links[i]
        before, after, fate = self.luck.of(attempt, "start")
        begin = network.release_s(self.fts[i], at_s + before) + after
        why = network.failure(link[0], begin, draw=fate)
        if why:
            takes = self.luck.of(attempt, "error")
        else:
            running, noise = (self.at_src[link[0]], self.at_dst[link[1]]), self.luck.of(attempt, "noise")
            at = min(begin, network.last_s)
            takes = network.duration_s(link, self.size[i], at_s=at, running=running, noise=noise)
        self.count(link, 1)
        heapq.heappush(self.events, (begin + takes, 1, i, number))
        if why and number + 1 < TRIES:
            heapq.heappush(self.events, (begin + takes + RETRY_S, 0, i, number + 1))
        return begin, begin + takes, why


def run_twice(files, luck, *, calm, network, rng):
    """Run the queue on the network `calm`, which has no site outage, then on `network` with the same luck.

    Returns two tables of attempts, as `Queue.run` does. What an outage does not touch, nor the queue behind
    it, goes as it went before. What the second run needs more of luck is drawn from `rng`.
    """
    without = Queue(files, calm, luck=luck).run()
    for attempt in zip(without.file, without.attempt, strict=True):
        luck.of(attempt, "id")
    luck.rng = rng
    return without, Queue(files, network, luck=luck).run()


def times_as_long(attempts, calm, *, files, start):
    """How many times as long each attempt took as in the `calm` run, failures left out: Series [started].

    files : bool (files,), whether a file counts.
    """
    twins = attempts.merge(calm, on=["file", "attempt"], suffixes=("", "_calm"))
    twins = twins[(twins.why == "") & (twins.why_calm == "")]
    twins = twins[files[twins.file.to_numpy()]]
    longer = (twins.finished - twins.started) / (twins.finished_calm - twins.started_calm)
    return longer.set_axis(pd.DatetimeIndex(start + pd.to_timedelta(twins.started, unit="s")))


# --------------------------------------------------------------------------------------------------- Products


def rucio_times(seconds, start):
    """Rucio's text for moments in seconds of the sample, UTC to the second: Series of text."""
    return (start + pd.to_timedelta(seconds.round(), unit="s")).dt.strftime("%Y-%m-%d %H:%M:%S")


def make_payloads(events, storages, *, start):
    """Make what all events of an attempt say: DataFrame of Rucio's fields, one row per row of `events`.

    events : attempts with the columns of their files, request and previous.
    """
    rse, host = storages.rse.to_numpy(), storages.host.to_numpy()
    medium = np.where(storages.kind == "DATATAPE", "TAPE", "DISK")
    number = events.rule.map("{:07d}".format) + "._" + events.file.map("{:06d}".format)
    return pd.DataFrame(
        {
            "activity": ACTIVITIES.activity.to_numpy()[events.activity],
            "bytes": events.bytes,
            "scope": "mc23_13p6TeV",
            "name": "EVNT." + number + ".pool.root.1",
            "src-rse": rse[events.src],
            "dst-rse": rse[events.dst],
            "protocol": "davs",
            "src-type": medium[events.src],
            "dst-type": medium[events.dst],
            "src-url": "davs://" + host[events.src] + ":443/data",
            "dst-url": "davs://" + host[events.dst] + ":443/data",
            "transfer-endpoint": "https://" + events.fts + ":8446",
            "request-id": events.request,
            "previous-request-id": events.previous,
            "submitted_at": rucio_times(events.submitted, start),
        }
    )


def make_events(attempts, settings, *, files, storages, luck):
    """Make Rucio's events, by time: DataFrame created_s, event_type and the fields of the payload.

    Every attempt gives transfer-done or transfer-failed, and transfer-queued where it waited for more than
    ten minutes. What has not happened by the end of the sample is left out.
    """
    start = settings.start
    events = attempts.merge(files, left_on="file", right_index=True).reset_index(drop=True)
    keys = zip(events.file, events.attempt, strict=True)
    events["request"] = [f"{luck.of((i, k), 'id'):016x}{i:08x}{k:08x}" for i, k in keys]
    events["previous"] = events.sort_values("attempt").groupby("file").request.shift()
    payloads = make_payloads(events, storages, start=start)
    ended = payloads.assign(
        event_type=np.where(events.why == "", "transfer-done", "transfer-failed"),
        created_s=events.finished,
        started_at=rucio_times(events.started, start),
        transferred_at=rucio_times(events.finished, start),
        reason=events.why.replace("", None),
        duration=(events.finished.round() - events.started.round()).astype(int),
    )
    late = events.started - events.submitted > QUEUED_S
    created_s = events.submitted[late] + QUEUED_S
    queued = payloads[late].assign(event_type="transfer-queued", created_s=created_s)
    lines = pd.concat([ended, queued])
    lines = lines[lines.created_s < settings.days * 86400].sort_values("created_s", kind="stable")
    lines = lines.astype(object)
    return lines.where(lines.notna(), None)


def write_events(lines, path, *, start):
    """Write `lines`, of `make_events`, to `path` as the message broker gives them: one JSON object per
    line.
    """
    times = rucio_times(lines.created_s.astype(float), start)
    records = lines.drop(columns="created_s").to_dict("records")
    with atomic(path) as temporary, gzip.open(temporary, "wt", compresslevel=4) as out:
        for created_at, record in zip(times, records, strict=True):
            envelope = {"event_type": record.pop("event_type"), "created_at": created_at, "payload": record}
            out.write(json.dumps(envelope) + "\n")
