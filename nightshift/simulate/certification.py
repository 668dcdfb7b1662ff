"""The simulated collider experiment: runs, failures of the detector, and what its monitoring writes.

Data taking   runs, lumisections, detector control    take_runs, take_lumisections, add_controls
Failures      what no control system sees             FAILURES, draw_failures
Detector      shapes of the monitoring elements       ELEMENTS, DATASETS, Detector
Products      histograms, luminosity, certificates    fill_histograms, write_histograms, write_lumisections
"""

import numpy as np
import pandas as pd

from nightshift.simulate.timeline import write_csv, write_gzip
from nightshift.sources.certification.golden import golden_ranges, write_golden
from nightshift.sources.certification.luminosity import LUMISECTION_S

WHOLE_RUN = 5  # one failure in so many lasts for its whole run

# Three shapes serve for all elements. `flat`: where particles go, seen as far as `width`; `falling`:
# momenta, which turn on at `location` and fall off over `width`; `peak`: charges, masses, vertices, on a
# low background. `entries` is their mean number at a pile-up of 45, and grows like the pile-up to the power
# `grows`; the location moves by `per_pileup`.
ELEMENTS = pd.DataFrame(
    [
        ("Tracker/hit_eta", "flat", 50, -3, 3, 0, 2.5, 2200, 1, 0),
        ("Tracker/hit_phi", "flat", 48, -3.2, 3.2, 0, 9, 2200, 1, 0),
        ("Tracker/track_pt", "falling", 40, 0, 10, 0.2, 0.8, 1600, 1, 0),
        ("Tracker/cluster_charge", "peak", 50, 0, 100, 35, 9, 2400, 1, -0.05),
        ("Vertex/count", "peak", 45, 0, 90, 34, 6, 900, 0, 0.75),
        ("Vertex/z", "peak", 40, -20, 20, 0, 4.5, 1600, 1, 0),
        ("Calorimeter/tower_eta", "flat", 50, -5, 5, 0, 4.6, 2400, 1, 0),
        ("Jet/pt", "falling", 45, 0, 900, 180, 75, 800, 0.5, 0.4),
        ("Jet/eta", "flat", 50, -5, 5, 0, 3.2, 800, 0.5, 0),
        ("Jet/phi", "flat", 48, -3.2, 3.2, 0, 9, 800, 0.5, 0),
        ("Jet/missing_et", "falling", 40, 0, 200, 4, 16, 900, 0.5, 0.1),
        ("Electron/pt", "falling", 45, 0, 150, 22, 12, 650, 0.5, 0),
        ("Electron/eta", "flat", 50, -3, 3, 0, 2.4, 650, 0.5, 0),
        ("Electron/phi", "flat", 48, -3.2, 3.2, 0, 9, 650, 0.5, 0),
        ("Electron/e_over_p", "peak", 40, 0.4, 1.8, 1.02, 0.09, 650, 0.5, 0.0005),
        ("Muon/pt", "falling", 45, 0, 150, 20, 11, 700, 0.5, 0),
        ("Muon/eta", "flat", 50, -3, 3, 0, 2.3, 700, 0.5, 0),
        ("Muon/phi", "flat", 48, -3.2, 3.2, 0, 9, 700, 0.5, 0),
        ("Muon/pair_mass", "peak", 50, 60, 120, 91, 3, 650, 0.5, 0),
    ],
    columns=[
        "element",
        "shape",
        "bins",
        "x_min",
        "x_max",
        "location",
        "width",
        "entries",
        "grows",
        "per_pileup",
    ],
)
ELEMENTS["subsystem"] = ELEMENTS.element.str.split("/").str[0]
CENTRES = [
    one.x_min + (np.arange(one.bins) + 0.5) * (one.x_max - one.x_min) / one.bins
    for one in ELEMENTS.itertuples()
]  # of the bins of each element

SEEN_BY_ALL = ["Tracker/hit_eta", "Tracker/hit_phi", "Vertex/count"]
DATASETS = {  # events that one kind of trigger has taken: all see the tracker, each has elements of its own
    "ZeroBias": [
        *SEEN_BY_ALL,
        *("Tracker/track_pt", "Tracker/cluster_charge", "Vertex/z", "Calorimeter/tower_eta"),
    ]
}
DATASETS |= {
    name: [*SEEN_BY_ALL, *ELEMENTS.element[ELEMENTS.subsystem == own]]
    for name, own in (("JetHT", "Jet"), ("EGamma", "Electron"), ("SingleMuon", "Muon"))
}

# `size` is the part of the channels that is dead, the noise as a part of the entries, and for the others a
# distance in widths; `strength` is 3 for strong, 2 for medium and 1 for weak.
FAILURES = pd.DataFrame(
    [
        ("dead_sector", 1, 0.05, "Electron"),
        ("dead_sector", 2, 0.12, "Tracker"),
        ("dead_sector", 3, 0.35, "Muon"),
        ("noisy_channel", 1, 0.09, "Muon"),
        ("noisy_channel", 2, 0.18, "Jet"),
        ("noisy_channel", 3, 0.4, "Tracker"),
        ("shifted_scale", 1, 0.7, "Jet"),
        ("shifted_scale", 2, 1.4, "Vertex"),
        ("shifted_scale", 3, 2.4, "Electron"),
        ("wrong_conditions", 1, 0.5, "Calorimeter"),
        ("wrong_conditions", 2, 1.0, "Tracker"),
        ("wrong_conditions", 3, 2.0, "Tracker"),
    ],
    columns=["kind", "strength", "size", "subsystem"],
)

# The scale of a peak is its place, that of a falling spectrum its width; conditions that are wrong widen a
# peak, move the threshold of a spectrum, and make waves where it should be flat (`Detector.spoil`).
EFFECTS = {  # parts of the size of a failure that move and that widen an element of a shape
    ("shifted_scale", "peak"): (1, 0),
    ("shifted_scale", "falling"): (0, 0.6),
    ("wrong_conditions", "peak"): (0.5, 0.8),
    ("wrong_conditions", "falling"): (1, 0),
    ("wrong_conditions", "flat"): (0, 0),
}


# ------------------------------------------------------------------------------------------------ Data taking


def take_runs(rng, settings):
    """Take the runs, fill by fill: DataFrame run, fill, rises, start, burnt_h, lumisections, by start.

    rises : lumisections at the start of a fill in which the high voltage is not up yet. burnt_h : hours
    since the start of the fill. The last run begins four hours before the end of the sample. From one run of
    a fill to the next one to three hours pass, from one fill to the next 18 to 40, before all is squeezed
    into `certification_days`.
    """
    n = settings.certification_runs
    apart, in_fill, rises = (rng.integers(low, high, n) for low, high in ((1, 10), (2, 6), (2, 6)))
    of_fill = np.concatenate([np.arange(k) for k in in_fill])[:n]  # 0: the first run of its fill
    gap_h = np.where(of_fill == 0, rng.uniform(18, 40, n), rng.uniform(1, 3, n))
    span_h = settings.certification_days * 24
    at_h = np.cumsum(gap_h) * (span_h - 4) / gap_h.sum()
    return pd.DataFrame(
        {
            "run": 400100 + np.cumsum(apart),
            "fill": 10200 + np.cumsum(of_fill == 0),
            "rises": rises * (of_fill == 0),
            "start": (settings.end + pd.to_timedelta(at_h - span_h, unit="h")).floor("ms"),
            "burnt_h": at_h - pd.Series(at_h).where(of_fill == 0).ffill(),
            "lumisections": np.clip(rng.lognormal(np.log(35), 0.35, n), 15, 90).astype(int),
        }
    )


def take_lumisections(rng, runs):
    """Divide `runs`, of `take_runs`, into lumisections: their columns and position, lumisection, time,
    pileup.

    position : row of the run in `runs`. Pile-up, the collisions in one crossing of the bunches, burns off
    from 58 with a life of 14 hours.
    """
    lumisections = runs.loc[runs.index.repeat(runs.lumisections)].reset_index(names="position")
    lumisections["lumisection"] = lumisections.groupby("position").cumcount() + 1
    since_s = (lumisections.lumisection - 1) * LUMISECTION_S
    lumisections["time"] = lumisections.start + pd.to_timedelta(since_s, unit="s")
    beam_h = lumisections.burnt_h + lumisections.lumisection * LUMISECTION_S / 3600
    lumisections["pileup"] = 58 * np.exp(-beam_h / 14) * rng.lognormal(0, 0.01, len(lumisections))
    return lumisections


def half_off(settings):
    """Return the positions of the runs in which half of the tracker is off for a while: every tenth one."""
    return np.arange(5, settings.certification_runs - 1, 10)


def add_controls(rng, settings, *, lumisections):
    """Return `lumisections` with dcs (whether the detector control system is content), dead_time and live.

    live : part of the delivered luminosity that is recorded, next to nothing in dead time.
    """
    n, n_runs = len(lumisections), settings.certification_runs
    in_run = lumisections.position.to_numpy()
    off_from, off_for = rng.integers(5, 12, n_runs), rng.integers(5, 20, n_runs)
    into_off = lumisections.lumisection.to_numpy() - off_from[in_run]
    off = np.isin(in_run, half_off(settings)) & (into_off >= 0) & (into_off < off_for[in_run])
    dead_time = rng.uniform(size=n) < 0.015
    live = np.where(dead_time, rng.uniform(0.005, 0.06, n), rng.uniform(0.93, 0.99, n))
    dcs = (lumisections.lumisection > lumisections.rises) & ~off
    return lumisections.assign(dcs=dcs, dead_time=dead_time, live=live)


def take_data(rng, settings):
    """Take the lumisections of all runs, with what the detector control system says of each: the columns of
    `take_lumisections` and `add_controls`.
    """
    lumisections = take_lumisections(rng, take_runs(rng, settings))
    return add_controls(rng, settings, lumisections=lumisections)


# --------------------------------------------------------------------------------------------------- Failures


def fail(rng, failure, *, lumisections, position, whole):
    """Let one row of FAILURES happen in the run at `position`, in the whole of it or in 5 to 30 lumisections.

    Returns a dict with INCIDENT_COLUMNS and size, rows (of `lumisections`) and struck (one to three rows of
    ELEMENTS). Only angles, which are flat, have sectors and channels; a number of vertices that moves would
    be another pile-up. The first five lumisections are left to the detector control system.
    """
    of_run = np.flatnonzero(lumisections.position == position)
    n = len(of_run)
    length = n if whole else rng.integers(5, min(30, n - 6) + 1)
    first = 1 if whole else rng.integers(6, n - length + 2)
    able = ELEMENTS[(ELEMENTS.subsystem == failure.subsystem) & (ELEMENTS.element != "Vertex/count")]
    if failure.kind != "wrong_conditions":
        able = able[(able["shape"] == "flat") == (failure.kind in ("dead_sector", "noisy_channel"))]
    n_struck = rng.integers(1, min(3, len(able)) + 1)
    struck = np.sort(rng.choice(able.index, n_struck, replace=False))
    rows = of_run[first - 1 : first - 1 + length]
    begins, last_begins = lumisections.time[rows[0]], lumisections.time[rows[-1]]
    run, elements = lumisections.run[rows[0]], ", ".join(ELEMENTS.element[struck])
    return {
        "kind": failure.kind,
        "start": begins.floor("s"),
        "end": (last_begins + pd.Timedelta(seconds=LUMISECTION_S)).floor("s"),
        "strength": failure.strength,
        "entity": f"run {run}: {first}-{first + length - 1}: {elements}",
        "site": "",
        "size": failure.size,
        "rows": rows,
        "struck": struck,
    }


def draw_failures(rng, settings, *, lumisections):
    """Draw three failures of each row of FAILURES, each in another run: DataFrame as `fail` gives its rows.

    The first two rounds hit older runs, the third the newest quarter. Runs with half of the tracker off are
    left out, and so are the first and the last one, since Golden JSON begins and ends with a good run.
    """
    newest_from = settings.certification_runs - settings.certification_runs // 4
    able = np.setdiff1d(np.arange(1, settings.certification_runs - 1), half_off(settings))
    older = rng.choice(able[able < newest_from], 2 * len(FAILURES), replace=False)
    newest = rng.choice(able[able >= newest_from], len(FAILURES), replace=False)
    rounds = [failure for _ in range(3) for failure in FAILURES.itertuples(index=False)]
    rows = []
    for i, (failure, position) in enumerate(zip(rounds, np.concatenate([older, newest]), strict=True)):
        whole = i % WHOLE_RUN == 1
        rows.append(fail(rng, failure, lumisections=lumisections, position=position, whole=whole))
    return pd.DataFrame(rows)


def judge_as_experts(lumisections, failures):
    """Return whether experts call each lumisection good, bool Series: they see all failures but the weak
    ones.
    """
    seen = np.concatenate(failures.rows[failures.strength > 1].to_list())
    return lumisections.dcs & ~lumisections.index.isin(seen)


# --------------------------------------------------------------------------------------------------- Detector


class Detector:
    """Hold the conditions of the detector and give the shape of every monitoring element in every
    lumisection.

    Each run moves and widens each distribution a little, or gives a flat one two waves of that height: in
    part by chance, in part as a random walk from run to run. Some modules always see more than others.
    Scales and wrong conditions of `failures`, of `draw_failures`, act on one half of the detector.
    """

    def __init__(self, rng, settings, *, lumisections, failures):
        self.rng, self.lumisections, self.failures = rng, lumisections, failures
        # in widths, of which the mean of 650 entries has an error of 0.04; logarithms of factors
        self.moved = self.wander(settings.certification_runs, chance_sd=0.035, drift_sd=0.05)
        self.widened = self.wander(settings.certification_runs, chance_sd=0.025, drift_sd=0.04)
        self.uneven = [1 + 0.08 * rng.normal(size=bins) for bins in ELEMENTS.bins]
        # of one half of the detector, beyond what moves and widens both
        self.off_moved, self.off_widened = np.zeros_like(self.moved), np.zeros_like(self.widened)
        self.fail_scales()
        self.lower_voltage()

    def wander(self, n_runs, *, chance_sd, drift_sd):
        """Draw conditions, (lumisections, elements): chance of the run, and a random walk from run to run."""
        step = self.rng.normal(size=(2, n_runs, len(ELEMENTS)))
        of_run = chance_sd * step[0] + drift_sd * np.cumsum(step[1], axis=0) / np.sqrt(n_runs)
        return of_run[self.lumisections.position.to_numpy()]

    def fail_scales(self):
        """Move and widen what failures of a scale or of the conditions hit; a scale may go up or down."""
        scales = self.failures[self.failures.kind.isin(["shifted_scale", "wrong_conditions"])]
        for row in scales.itertuples():
            size = row.size * (self.rng.choice([-1, 1]) if row.kind == "shifted_scale" else 1)
            for e in row.struck:
                moves, widens = EFFECTS[row.kind, ELEMENTS["shape"][e]]
                self.off_moved[row.rows, e] += moves * size
                self.off_widened[row.rows, e] += widens * size

    def lower_voltage(self):
        """Move what tracks measure by a width where the tracker has not its full voltage."""
        of_tracks = ELEMENTS.subsystem.isin(["Tracker", "Vertex"]) & (ELEMENTS["shape"] != "flat")
        for conditions in (self.moved, self.off_moved):
            conditions[np.ix_(~self.lumisections.dcs, of_tracks)] -= 1.0

    def shape(self, e, *, moved, widened):
        """Shares of the entries of element `e` in its bins, (lumisections, bins), under conditions
        (lumisections,).
        """
        one, x = ELEMENTS.loc[e], CENTRES[e]
        pileup = self.lumisections.pileup.to_numpy()[:, None]
        at = (x - one.location - one.per_pileup * (pileup - 45)) / one.width
        u = (at - moved[:, None]) / np.exp(widened[:, None])
        if one["shape"] == "flat":
            wave = 2 * np.pi * (x - one.x_min) / (one.x_max - one.x_min)
            waves = 1 + moved[:, None] * np.cos(wave) + widened[:, None] * np.sin(wave)
            share = self.uneven[e] / (1 + np.exp(8 * (np.abs(at) - 1))) * waves
        elif one["shape"] == "falling":
            share = np.maximum(u, 0) ** 1.5 * np.exp(-u)
        else:
            share = np.exp(-(u**2) / 2) + 0.03
        return share / share.sum(axis=1, keepdims=True)

    def spoil(self, share, failure, *, seen):
        """Return `share`, (lumisections, bins) of a flat element, as a failure leaves it.

        seen : bins that the detector sees, of which a part is dead, or one of them noisy; wrong conditions
        make waves that go around twice, where what wanders goes around once.
        """
        bins = np.arange(share.shape[1])
        if failure.kind == "wrong_conditions":
            phase = self.rng.uniform(0, 2 * np.pi)
            return share * (1 + 0.3 * failure.size * np.cos(4 * np.pi * bins / len(bins) + phase))
        dead = failure.kind == "dead_sector"
        wide = max(round(failure.size * len(seen)), 1) if dead else 1
        first = self.rng.choice(seen[: len(seen) - wide + 1])
        inside = (bins >= first) & (bins < first + wide)
        return np.where(inside, 0.03 * share if dead else failure.size, share)

    def shares(self, e):
        """Shares of the entries of element `e` in its bins, (lumisections, bins), under all that has
        happened.

        A tracker without its full voltage is blind on one side.
        """
        moved, widened = self.moved[:, e], self.widened[:, e]
        off_moved, off_widened = moved + self.off_moved[:, e], widened + self.off_widened[:, e]
        one_half = self.shape(e, moved=moved, widened=widened)
        share = (one_half + self.shape(e, moved=off_moved, widened=off_widened)) / 2
        seen = np.flatnonzero(np.abs(CENTRES[e] - ELEMENTS.location[e]) < ELEMENTS.width[e])
        if ELEMENTS["shape"][e] == "flat":
            blind = 0.03 if ELEMENTS.subsystem[e] == "Tracker" else 1
            share[~self.lumisections.dcs, : share.shape[1] // 2] *= blind
            for row in self.failures[[e in struck for struck in self.failures.struck]].itertuples():
                share[row.rows] = self.spoil(share[row.rows], row, seen=seen)
        return share


# --------------------------------------------------------------------------------------------------- Products


def fill_histograms(rng, detector):
    """Draw the contents of every histogram: {(dataset, element): int (lumisections, bins)}, Poisson."""
    lumisections = detector.lumisections
    pileup, live, contents = lumisections.pileup.to_numpy(), lumisections.live.to_numpy(), {}
    for e, one in ELEMENTS.iterrows():
        mean = detector.shares(e) * (one.entries * (pileup / 45) ** one.grows * live)[:, None]
        of_element = [name for name, elements in DATASETS.items() if one.element in elements]
        contents |= {(name, one.element): rng.poisson(mean) for name in of_element}
    return contents


def write_histograms(contents, path, *, lumisections):
    """Write `contents`, of `fill_histograms`, to `path` as CMS writes tables of monitoring data, in gzip.

    One row per dataset, lumisection and element; the contents of the bins are a list in JSON.
    """
    ranges = ELEMENTS.set_index("element")[["x_min", "x_max"]]
    parts = [
        pd.DataFrame(
            {
                "dataset": name,
                "fromrun": lumisections.run,
                "fromlumi": lumisections.lumisection,
                "hname": element,
                "histo": [str(row) for row in counts.tolist()],
                "entries": counts.sum(axis=1),
                "Xmin": ranges.x_min[element],
                "Xmax": ranges.x_max[element],
            }
        )
        for (name, element), counts in contents.items()
    ]
    table = pd.concat(parts).sort_values(["dataset", "fromrun", "fromlumi"], kind="stable")
    write_gzip(table.to_csv(index=False), path)


def write_lumisections(lumisections, folder):
    """Write `lumisections` with their columns dcs and golden: lumisections.csv, dcs.json and golden.json.

    Luminosity is in inverse picobarns: 0.47 at a pile-up of 55, which is 2e34 per cm2 and s for 23 s.
    """
    delivered = 0.0085 * lumisections.pileup
    table = lumisections[["run", "lumisection", "fill"]].assign(
        time=lumisections.time.dt.strftime("%Y-%m-%dT%H:%M:%S.%f").str[:-3] + "Z",
        delivered_lumi=delivered.round(5),
        recorded_lumi=(delivered * lumisections.live).round(5),
        pileup=lumisections.pileup.round(2),
    )
    write_csv(table, folder / "lumisections.csv")
    for name in ("dcs", "golden"):
        write_golden(golden_ranges(lumisections[lumisections[name]]), folder / f"{name}.json")


def examples_of_failures(failures, contents, *, lumisections):
    """Choose a lumisection of the newest strong failure of each kind, beside good ones of other runs.

    Returns {kind: (element, centres of its bins, usual, failing)}, shares of the entries in percent: usual
    (about 12, bins), failing (bins,).
    """
    quiet = np.flatnonzero(lumisections.golden & ~lumisections.dead_time)
    clean = np.setdiff1d(quiet, np.concatenate(failures.rows.to_list()))
    clean = clean[:: len(clean) // 12]
    examples = {}
    for kind, row in failures[failures.strength == 3].groupby("kind").last().iterrows():
        e = row.struck[0]
        element = ELEMENTS.element[e]
        counts = next(counts for (_, name), counts in contents.items() if name == element)
        shown = counts[[*clean, row.rows[len(row.rows) // 2]]]
        share = 100 * shown / shown.sum(axis=1, keepdims=True)
        examples[kind] = element, CENTRES[e], share[:-1], share[-1]
    return examples
