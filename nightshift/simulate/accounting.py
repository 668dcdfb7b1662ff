"""The simulated accounting: communities at sites, what disturbs them, and the daily summaries of GRACC.

Series     what one community does at one site           COMMUNITIES, make_series
Incidents  each where it is least disturbed by others    KINDS, draw_accounting_incidents
Days       core hours, length of jobs, efficiency        wander_weeks, compute_days, apply_incidents
Records    probes, jobs, one record per day and stream   make_streams, count_jobs, write_records
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nightshift.simulate.timeline import Settings, write_gzip

# Virtual organisations: at how many sites, cores per job, mean wall time of a job in hours, CPU time over
# wall time times cores, and whether people start the work.
COMMUNITIES = pd.DataFrame(
    [
        ("quarry", 14, 8, 5.0, 0.92, False),
        ("lumen.survey", 13, 4, 3.0, 0.86, False),
        ("tessera", 12, 1, 3.0, 0.76, True),
        ("moraine", 11, 8, 4.0, 0.94, False),
        ("polymer", 10, 1, 6.0, 0.95, True),
        ("seismo.lab", 8, 4, 3.0, 0.82, False),
        ("wetland", 6, 1, 2.0, 0.7, True),
        ("aerosol", 3, 8, 6.0, 0.88, True),
        ("fresco", 2, 1, 1.0, 0.65, True),
        ("orchard", 1, 4, 2.0, 0.6, True),
    ],
    columns=["vo", "n_sites", "cores", "job_h", "efficiency", "users"],
)
OLD_NAMES = {"lumen.survey": "lumen"}  # in the first half of the span
TWO_SIZES = "seismo.lab"  # sends single-core jobs, 30% of its hours, beside those with four cores
LOUD_SITE = 3  # position of the site whose second probe writes names in capitals

KINDS = pd.DataFrame(
    [
        ("global_dip", "vo", 0.2, 0.35, 8, 21, "core hours times strength, at all sites of a community"),
        (
            "moved",
            "vo",
            0.75,
            0.95,
            14,
            30,
            "this share of the core hours goes to another site of the same community",
        ),
        ("site_outage", "site", 8, 14, 6, 9, "core hours to 3%, transfers slower by strength"),
        ("reporting_gap", "site", 0, 0, 7, 14, "no records of a site, while its transfers go on"),
        ("silent", "series", 0, 0, 8, 28, "no core hours"),
        ("drop", "series", 0.08, 0.28, 8, 28, "core hours times strength"),
        ("surge", "series", 3.5, 7, 8, 28, "core hours times strength"),
        ("returned", "series", 6, 10, 14, 28, "back after so many silent weeks"),
        ("efficiency_drop", "series", 0.25, 0.5, 8, 28, "CPU time times strength"),
        ("longer_jobs", "series", 3, 6, 8, 28, "length of a job times strength, equal core hours"),
        ("more_jobs", "series", 4, 10, 8, 28, "number of jobs times strength, equal core hours"),
    ],
    columns=["kind", "hits", "weakest", "strongest", "least_days", "most_days", "strength"],
).set_index("kind")
LEAST_STEADY = {"vo": 4, "site": 2, "series": 1}  # steady series that something needs to be hit

RECORD = ["EndTime", "SiteName", "VOName", "ProbeName", "ResourceType", "CoreHours", "WallDuration"]
RECORD += ["CpuDuration", "Njobs", "Processors"]  # fields of GRACC, in its order


# ----------------------------------------------------------------------------------------------------- Series


def make_series(rng, sites):
    """Make the series, by community and site: the columns of COMMUNITIES, and site, series, core_h (per
    week), noise_sd (of the log core hours of a week), life and steady.

    Sizes are log-normal over three decades: nine in ten lie between 900 and 170,000 core hours a week.
    `steady` ones run all along, with a hundred jobs a week and a noise under 0.3: an incident can be seen
    in them.
    """
    chance = sites.popularity**0.3 / (sites.popularity**0.3).sum()
    where = [rng.choice(sites.site, n, replace=False, p=chance) for n in COMMUNITIES.n_sites]
    series = COMMUNITIES.loc[COMMUNITIES.index.repeat(COMMUNITIES.n_sites)]
    series = series.assign(site=np.concatenate(where)).sort_values(["vo", "site"], ignore_index=True)
    series["series"] = series.vo + " at " + series.site
    n = len(series)
    series["core_h"] = rng.lognormal(np.log(12_000), 1.6, n)
    series["noise_sd"] = 0.1 + 0.4 * rng.beta(1, 2, n)
    lives = ["all along", "campaigns", "began", "ended"]
    series["life"] = rng.choice(lives, n, p=[0.76, 0.12, 0.06, 0.06])
    jobs_per_week = series.core_h / (series.job_h * series.cores)
    series["steady"] = (series.life == "all along") & (series.noise_sd < 0.3) & (jobs_per_week >= 100)
    return series


def count_lives(series):
    """Count the series of each life, as a table for people: DataFrame life, series, core hours per week,
    noise (the median).
    """
    table = series.groupby("life").agg(
        series=("series", "size"), core_hours=("core_h", "sum"), noise=("noise_sd", "median")
    )
    return table.reset_index().rename(columns={"core_hours": "core hours per week"})


def hit_by(series, kind, *, name):
    """Return the positions of the series that an incident of `kind` at `name` hits.

    A move goes between the two steady series of a community that are most alike in size, the larger one
    first.
    """
    of_name = series.index[series[KINDS.hits[kind]] == name]
    if kind != "moved":
        return of_name
    by_size = series.loc[of_name[series.steady[of_name]], "core_h"].sort_values(ascending=False)
    nearest = int(np.argmax(by_size.to_numpy()[1:] / by_size.to_numpy()[:-1]))
    return by_size.index[nearest : nearest + 2]


# -------------------------------------------------------------------------------------------------- Incidents


@dataclass(frozen=True)
class Placement:
    """Place incidents where they are least disturbed: where nothing else happens in those weeks and three
    weeks around them.

    crowd : (weeks, series), who is hit when: 1000 for a series itself, and 1 for all of its site and
    community.
    """

    settings: Settings
    series: pd.DataFrame
    sites: pd.DataFrame
    transfer_incidents: pd.DataFrame
    crowd: np.ndarray

    def draw(self, rng, kind, *, week):
        """Draw one incident that begins within a day of the start of `week`: a dict of INCIDENT_COLUMNS."""
        spec, settings = KINDS.loc[kind], self.settings
        strength = round(rng.uniform(spec.weakest, spec.strongest), 0 if kind == "returned" else 2)
        shift, length = rng.uniform(-1, 1), rng.uniform(spec.least_days, spec.most_days)
        if week == settings.accounting_weeks - 3:  # the last three weeks hold all of their incidents
            shift = abs(shift)
        begins = (settings.first_monday + pd.Timedelta(days=7 * week + shift)).floor("s")
        ends = min(begins + pd.Timedelta(days=length), settings.end).floor("s")
        silent_weeks = int(strength) if kind == "returned" else 0
        stop = (ends - settings.first_monday).days // 7 + 1
        weeks = slice(max(week - 1 - silent_weeks, 0), stop)
        names = self.candidates(kind)
        costs = self.costs(kind, names, weeks=weeks, servers=self.troubled_servers(kind, begins, ends=ends))
        name = names[int(np.argmin([cost + rng.uniform() for cost in costs]))]
        struck = hit_by(self.series, kind, name=name)
        self.mark(struck, weeks)
        site = "" if kind == "global_dip" else self.series.site[struck[0]]
        return {
            "kind": kind,
            "start": begins,
            "end": ends,
            "strength": strength,
            "entity": name,
            "site": site,
        }

    def candidates(self, kind):
        """Return the names that an incident of `kind` may hit: those with enough steady series.

        The bigger half of the sites does not fail as a whole, nor do communities at more than eleven sites
        dip everywhere, since their trouble would be everybody's.
        """
        too_big = {*self.sites.site[:7], *COMMUNITIES.vo[COMMUNITIES.n_sites > 11]}
        hits = KINDS.hits[kind]
        counts = self.series.loc[self.series.steady, hits].value_counts()
        counts = counts.drop([] if kind == "moved" else too_big, errors="ignore")
        return counts.index[counts >= min(LEAST_STEADY[hits], counts.max())].sort_values()

    def troubled_servers(self, kind, begins, *, ends):
        """Count troubled storages of each FTS server within two days of an outage, which would look like one
        trouble of the server; of other kinds, none.
        """
        trouble, days = self.transfer_incidents, pd.Timedelta(days=2)
        near = (trouble.start < ends + days) & (trouble.end > begins - days) & (kind == "site_outage")
        return trouble.site[near].map(self.sites.set_index("site").fts).value_counts()

    def costs(self, kind, names, *, weeks, servers):
        """How disturbed each of `names` is in `weeks`, with 1000 for each troubled storage of its FTS
        server.
        """
        server_of = self.sites.set_index("site").fts
        return [
            self.crowd[weeks, hit_by(self.series, kind, name=name)].mean()
            + 1000 * servers.get(server_of.get(name), 0)
            for name in names
        ]

    def mark(self, struck, weeks):
        """Add the series that are `struck` in `weeks`, and their neighbours, to the crowd."""
        series = self.series
        around = slice(max(weeks.start - 3, 0), weeks.stop + 3)
        near = series.site.isin(series.site[struck]) | series.vo.isin(series.vo[struck])
        self.crowd[around] += near.to_numpy()
        self.crowd[around, struck] += 1000


def draw_accounting_incidents(rng, settings, *, series, sites, transfer_incidents):
    """Draw the incidents of the accounting: DataFrame INCIDENT_COLUMNS, in the order of their placement.

    One of each kind begins in the last three complete weeks, the outage in the last of them; a second outage
    falls some weeks earlier, and `more_outages` one a week before the last week. From week 12 to 13 weeks
    before the end there is one incident every three weeks.
    """
    last = settings.accounting_weeks
    slots = [(kind, last - (1 if kind == "site_outage" else rng.integers(1, 4))) for kind in KINDS.index]
    slots.append(("site_outage", last - rng.integers(6, 11)))
    turns = rng.permutation(KINDS.index)
    slots += [(turns[i % len(turns)], week) for i, week in enumerate(range(12, last - 13, 3))]
    slots += [("site_outage", last - 2 - i) for i in range(settings.more_outages)]
    crowd = np.zeros((last + 1, len(series)))
    placement = Placement(settings, series, sites, transfer_incidents, crowd)
    return pd.DataFrame([placement.draw(rng, kind, week=week) for kind, week in slots])


# ------------------------------------------------------------------------------------------------------- Days


def wander_weeks(rng, settings, *, series):
    """Draw the log core hours of each week around their mean, and whether a series runs: two (weeks, series).

    Half of a deviation is left a week later; steps are from Student's t with 4 degrees of freedom, so that
    a wild week comes now and then. Campaigns are four weeks on and four off on average; some series begin
    or end within the span. The incomplete week is the last one.
    """
    shape = settings.accounting_weeks + 1, len(series)
    noise, runs = np.zeros(shape), np.ones(shape, bool)
    # divided by the deviation of t(4)
    steps = rng.standard_t(4, shape) / np.sqrt(2) * series.noise_sd.to_numpy()
    switch = (rng.uniform(size=shape) < 0.25) & (series.life == "campaigns").to_numpy()
    for week in range(1, shape[0]):
        noise[week] = 0.5 * noise[week - 1] + np.sqrt(1 - 0.5**2) * steps[week]
        runs[week] = runs[week - 1] ^ switch[week]
    turning = (rng.uniform(0.2, 0.8, len(series)) * settings.accounting_weeks).astype(int)
    weeks = np.arange(shape[0])[:, None]
    runs[(weeks < turning) & (series.life == "began").to_numpy()] = False
    runs[(weeks >= turning) & (series.life == "ended").to_numpy()] = False
    return noise, runs


@dataclass(frozen=True)
class Days:
    """What series do on each day: core_h, job_h (wall hours of a job) and efficiency, each (days, series)."""

    dates: pd.DatetimeIndex
    core_h: np.ndarray
    job_h: np.ndarray
    efficiency: np.ndarray


def rest_of_users(dates):
    """Factor of work that people start on each day, (days, 1): less at weekends, half around 30 December."""
    from_turn = (dates.day_of_year.to_numpy() + 180) % 365 - 179  # days from 30 December
    rest = 1 - 0.5 * np.exp(-((from_turn / 5) ** 4))
    rest = rest * np.where(dates.day_of_week >= 5, 0.75, 1.1)
    return rest[:, None]


def compute_days(rng, settings, *, series):
    """Compute what series would do on each day without incidents: `Days`."""
    noise, runs = wander_weeks(rng, settings, series=series)
    dates = settings.accounting_days
    week, shape = np.arange(len(dates)) // 7, (len(dates), len(series))
    core_h = series.core_h.to_numpy() / 7 * np.exp(noise[week] + 0.1 * rng.normal(size=shape)) * runs[week]
    core_h *= np.where(series.users, rest_of_users(dates), 1)
    job_h = series.job_h.to_numpy() * rng.lognormal(0, 0.08, shape)
    efficiency = np.clip(series.efficiency.to_numpy() * rng.lognormal(0, 0.02, shape), 0, 0.99)
    return Days(dates, core_h, job_h, efficiency)


def part_of_day(dates, begins, *, ends):
    """The part of each day, 0 to 1, that lies between two moments: (days, 1)."""
    day = pd.Timedelta(days=1)
    inside = (np.minimum(dates + day, ends) - np.maximum(dates, begins)) / day
    return np.clip(inside, 0, 1).to_numpy()[:, None]


def apply_incidents(days, series, *, incidents):
    """Let incidents multiply on the values of `days`, in place; on a day in part by the part that they
    cover.
    """
    for row in incidents.itertuples():
        struck = hit_by(series, row.kind, name=row.entity)
        part = part_of_day(days.dates, row.start, ends=row.end)
        if row.kind == "moved":
            moving = days.core_h[:, struck[0]] * row.strength * part[:, 0]
            days.core_h[:, struck] += np.column_stack([-moving, moving])
            continue
        if row.kind == "returned":
            part = part_of_day(days.dates, row.start - pd.Timedelta(weeks=row.strength), ends=row.start)
        values, factor = effect_of(row.kind, row.strength, days=days)
        values[:, struck] *= 1 + (factor - 1) * part


def effect_of(kind, strength, *, days):
    """Which array of `days` an incident multiplies, and by what: (array, factor)."""
    if kind == "efficiency_drop":
        return days.efficiency, strength
    if kind == "longer_jobs":
        return days.job_h, strength
    if kind == "more_jobs":
        return days.job_h, 1 / strength
    return days.core_h, {"site_outage": 0.03, "returned": 0}.get(kind, strength)


# ---------------------------------------------------------------------------------------------------- Records


def make_streams(series, sites):
    """Divide each series into what one probe counts with one number of cores: DataFrame position (of the
    series), vo, site, cores, element, share (sum one per series), probe.

    The first four sites have two computing elements, the others one.
    """
    elements = pd.DataFrame({"element": ["ce01", "ce02"], "share": [0.65, 0.35]})
    streams = series[["vo", "site", "cores"]].reset_index(names="position").merge(elements, how="cross")
    streams = streams[streams.site.isin(sites.site[:4]) | (streams.element == "ce01")]
    single = streams[streams.vo == TWO_SIZES].assign(cores=1, share=lambda t: t.share * 0.3)
    streams = streams.assign(share=streams.share * np.where(streams.vo == TWO_SIZES, 0.7, 1))
    streams = pd.concat([streams, single], ignore_index=True)
    streams["share"] /= streams.groupby("position").share.transform("sum")
    streams["probe"] = "htcondor-ce:" + streams.element + "." + streams.site.str.lower() + ".example"
    return streams


def count_jobs(rng, days, *, streams):
    """Count what has finished: jobs, wall_s and cpu_s, each int (days, streams).

    Wall time counts once per job however many cores it has, CPU time counts them all. The wall time of a
    job is gamma distributed with shape 2.
    """
    of_series, cores = streams.position, streams.cores.to_numpy()
    mean_h = days.job_h[:, of_series]
    jobs = rng.poisson(days.core_h[:, of_series] * streams.share.to_numpy() / (mean_h * cores))
    wall_s = np.rint(rng.gamma(2.0 * jobs) / 2 * mean_h * 3600).astype("int64")
    cpu_s = np.rint(wall_s * cores * days.efficiency[:, of_series]).astype("int64")
    return jobs, wall_s, cpu_s


def draw_records(rng, days, *, series, sites):
    """Draw the records: DataFrame RECORD, and for the sample's own use vo, by its name of today, and day.

    days : `Days` of whole weeks and the days of an incomplete one. A community is renamed in the middle of
    the weeks.
    """
    streams = make_streams(series, sites)
    jobs, wall_s, cpu_s = count_jobs(rng, days, streams=streams)
    at, stream = np.nonzero((jobs > 0) & (wall_s > 0))
    source, dates = streams.iloc[stream].reset_index(drop=True), days.dates
    renamed_at = dates[0] + pd.Timedelta(weeks=len(dates) // 7 // 2)
    older = source.vo.isin(list(OLD_NAMES)) & (dates[at] < renamed_at)
    loud = source.probe == f"htcondor-ce:ce02.{sites.site[LOUD_SITE].lower()}.example"
    vo_name = source.vo.mask(older, source.vo.map(OLD_NAMES))
    return pd.DataFrame(
        {
            "EndTime": dates[at].strftime("%Y-%m-%dT%H:%M:%SZ"),
            "SiteName": source.site,
            "VOName": vo_name.mask(loud, vo_name.str.upper()),
            "ProbeName": source.probe,
            "ResourceType": "Batch",
            "CoreHours": wall_s[at, stream] * source.cores / 3600,
            "WallDuration": wall_s[at, stream],
            "CpuDuration": cpu_s[at, stream],
            "Njobs": jobs[at, stream],
            "Processors": source.cores,
            "vo": source.vo,
            "day": dates[at],
        }
    )


def write_records(records, path):
    """Write `records` to `path` as GRACC gives them, one JSON object per line, in gzip."""
    write_gzip(records[RECORD].to_json(orient="records", lines=True, double_precision=6), path)


def sum_weeks(records, *, until):
    """Sum the core hours of each community over each week before the Monday `until`: DataFrame [week, vo]."""
    week = records.day - pd.to_timedelta(records.day.dt.day_of_week, unit="D")
    before = records.assign(week=week)[week < until]
    return before.pivot_table("CoreHours", "week", "vo", "sum", fill_value=0)


def share_of_median(records, site, *, dates):
    """Core hours of a site on each of `dates`, as a share of its median day: Series [day]."""
    of_site = records[records.SiteName == site]
    daily = of_site.groupby("day").CoreHours.sum().reindex(dates, fill_value=0)
    return daily / daily.median()
