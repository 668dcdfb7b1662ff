"""Simulated worlds in which it is known what works: how much does feedback help to choose what is tried
first?

In each world every proposal has a true chance around an overall one, every kind of finding one around that,
every site one around that again (Beta distributions). Incidents come by kind and by site with falling
frequency, somebody tries the proposals in the order shown until one works, and each trial is a feedback. Many
worlds are played at once: arrays have one row per world.
"""

from dataclasses import dataclass

import numpy as np

from nightshift.remediation.model import STRENGTHS, effective, inherit

N_SITES, N_FEEDBACKS = 10, 300
BLOCK = 25  # feedbacks that are counted together
ORDERS = [
    "by feedback",
    "mean throughout",
    "Thompson throughout",
    "each by itself",
    "as written by a sage",
    "as written",
    "random",
]


@dataclass(frozen=True)
class Choices:
    """Which proposals there are for which kinds of findings; a pair is a proposal for a kind.

    n_proposals, n_kinds : how many there are. proposal_of : number of the proposal of each pair, int
    (pairs,). of_kind : the pairs of each kind in the order of the file, int (n_kinds, most), -1 where it has
    fewer.
    """

    n_proposals: int
    n_kinds: int
    proposal_of: np.ndarray
    of_kind: np.ndarray

    @property
    def most(self):
        """Return the number of proposals of the kind that has most."""
        return self.of_kind.shape[1]


def choices_of(remediations):
    """Return the Choices of `remediations`, a list of dicts with `kinds`, as `read_remediations` gives
    them.
    """
    names = list(dict.fromkeys(kind for one in remediations for kind in one["kinds"]))
    pairs = [
        (number, kind)
        for kind, name in enumerate(names)
        for number, one in enumerate(remediations)
        if name in one["kinds"]
    ]
    proposal_of, kind_of = np.array(pairs, int).T
    of_kind = np.full((len(names), np.bincount(kind_of).max()), -1)
    for kind in range(len(names)):
        of_kind[kind, : (kind_of == kind).sum()] = np.flatnonzero(kind_of == kind)
    return Choices(len(remediations), len(names), proposal_of, of_kind)


def draw_around(mean, strength, rng):
    """Draw chances around `mean` (a Beta distribution of that mean, a + b = strength), arrays of one
    shape."""
    return rng.beta(np.maximum(mean * strength, 0.001), np.maximum((1 - mean) * strength, 0.001))


def draw_any(n, rng):
    """Draw overall chances (n,) from 10% to 70%, and strengths (n, 3) from 1 (chances are nearly all or
    nothing) to 30 (they are nearly alike), evenly on a logarithmic scale."""
    return rng.uniform(0.1, 0.7, n), np.exp(rng.uniform(0, np.log(30), (n, 3)))


def draw_worlds(choices, overall, strengths, rng):
    """Draw true chances (worlds, pairs, sites) and those of the proposals (worlds, proposals); overall
    (worlds,), strengths (worlds, 3)."""
    of_proposals = draw_around(np.tile(overall[:, None], choices.n_proposals), strengths[:, :1], rng)
    of_pairs = draw_around(of_proposals[:, choices.proposal_of], strengths[:, 1:2], rng)
    return draw_around(
        np.repeat(of_pairs[:, :, None], N_SITES, axis=2), strengths[:, 2, None, None], rng
    ), of_proposals


def draw_incidents(choices, n, rng):
    """Draw kinds and sites (n, N_FEEDBACKS) of incidents in n worlds, and the luck of every proposal for each
    (n, N_FEEDBACKS, most).

    The frequency of the n-th kind and of the n-th site is as 1/n; which kinds are frequent differs from world
    to world.
    """
    order = rng.permuted(np.tile(np.arange(choices.n_kinds), (n, 1)), axis=1)
    often = [1 / np.arange(1, size + 1) for size in (choices.n_kinds, N_SITES)]
    kind, site = (rng.choice(len(f), (n, N_FEEDBACKS), p=f / f.sum()) for f in often)
    return np.take_along_axis(order, kind, axis=1), site, rng.random((n, N_FEEDBACKS, choices.most))


class Record:
    """What has been tried in n worlds: (worked, trials) at every site, and what sites pass on to their kind,
    kinds to their proposal, and proposals to all."""

    def __init__(self, n, choices):
        self.choices, self.world = choices, np.arange(n)
        shapes = [
            (),
            (choices.n_proposals,),
            (len(choices.proposal_of),),
            (len(choices.proposal_of), N_SITES),
        ]
        self.sums = [np.zeros((2, n, *shape)) for shape in shapes]

    def at(self, pair, site):
        """Return sums of (worked, trials) at each level for pairs (n, m) at the sites (n,), each (2, n,
        m)."""
        world = self.world[:, None]
        return [
            self.sums[0][:, :, None],
            self.sums[1][:, world, self.choices.proposal_of[pair]],
            self.sums[2][:, world, pair],
            self.sums[3][:, world, pair, site[:, None]],
        ]

    def learn(self, pair, site, worked):
        """Count one feedback in each world; pair, site, worked (n,)."""
        change = np.stack([worked, np.ones(len(worked))])
        for level, place in (
            (3, (pair, site)),
            (2, (pair,)),
            (1, (self.choices.proposal_of[pair],)),
            (0, ()),
        ):
            before = self.sums[level][:, self.world, *place]
            self.sums[level][:, self.world, *place] = before + change
            if level:
                change = np.subtract(
                    *(effective(*sums, STRENGTHS[level - 1]) for sums in (before + change, before))
                )


def belief(record, pair, site):
    """Return the Beta distribution (a, b), each (n, m), of pairs (n, m) at the sites (n,): what
    `model.chances` says, in all worlds at once."""
    sums = record.at(pair, site)
    passed = [
        np.array(effective(*below, strength)) for below, strength in zip(sums[1:], STRENGTHS, strict=True)
    ]
    return inherit([*(total - own for total, own in zip(sums, passed, strict=False)), sums[3]])


def value_of(order, record, pair, site, first, sage, rng):
    """Return the values (n, m) by which the proposals `pair` (n, m) are put in order, highest first.

    order : one of ORDERS. first (n,) : whether none has been tried yet. sage (n, proposals) : mean chances
    that only the sage knows.
    """
    if order == "random":
        return rng.random(pair.shape)
    if order == "as written":
        return -np.arange(pair.shape[1]) + np.zeros(pair.shape)
    if order == "as written by a sage":
        return sage[record.world[:, None], record.choices.proposal_of[pair]]
    if order == "each by itself":
        worked, trials = record.at(pair, site)[3]
        a, b = 1 + worked, 1 + trials - worked
    else:
        a, b = belief(record, pair, site)
    drawn = rng.beta(a, b) if order != "mean throughout" else 0
    mean = a / (a + b) + 1e-9 * rng.random(a.shape)  # those that are equal, in any order
    return (
        drawn
        if order == "Thompson throughout"
        else np.where(first[:, None] | (order == "mean throughout"), mean, drawn)
    )


def play(order, choices, worlds, incidents, most_tries, rng):
    """Let somebody try in every world what `order` puts first, until something works or most_tries (worlds,)
    are made.

    worlds, incidents : as `draw_worlds` and `draw_incidents` give them. Returns true chances of the first
    proposal and of the best one, (worlds, N_FEEDBACKS), NaN where it is not the first try; and the Record.
    """
    (truth, sage), (kind, site, luck) = worlds, incidents
    n, world = len(truth), np.arange(len(truth))
    record, at, tried = Record(n, choices), np.zeros(n, int), np.zeros((n, choices.most), bool)
    hit, best = np.full((2, n, N_FEEDBACKS), np.nan)
    for step in range(N_FEEDBACKS):
        here, pair, first = site[world, at], choices.of_kind[kind[world, at]], ~tried.any(axis=1)
        true = np.where(pair >= 0, truth[world[:, None], pair, here[:, None]], -1)
        value = value_of(order, record, pair, here, first, sage, rng)
        chosen = np.where((pair >= 0) & ~tried, value, -np.inf).argmax(axis=1)
        hit[first, step], best[first, step] = true[world, chosen][first], true.max(axis=1)[first]
        worked = luck[world, at, chosen] < true[world, chosen]
        record.learn(pair[world, chosen], here, worked)
        tried[world, chosen] = True
        over = worked | (tried | (pair < 0)).all(axis=1) | (tried.sum(axis=1) >= most_tries)
        at, tried = at + over, tried & ~over[:, None]
    return hit, best, record


def held_shares(record, worlds, incidents, last=10, midst=(0.02, 0.98)):
    """Return the share of 95% intervals that hold the true chance, and that of those whose chance lies
    between `midst`.

    The intervals are those of the `last` incidents, which nobody reached: what would have been said of them.
    """
    from scipy import special

    (truth, _), (kind, site, _), held = worlds, incidents, []
    for at in range(N_FEEDBACKS - last, N_FEEDBACKS):
        pair = record.choices.of_kind[kind[:, at]]
        true = truth[np.arange(len(truth))[:, None], pair, site[:, at, None]]
        below = special.betainc(*belief(record, pair, site[:, at]), true)
        inside = np.stack([(below > 0.025) & (below < 0.975), (true > midst[0]) & (true < midst[1])], axis=-1)
        held.append(inside[pair >= 0])
    held = np.concatenate(held)  # (intervals, 2): it holds the true chance; that is neither nothing nor all
    return held[:, 0].mean(), held[held[:, 1], 0].mean()


def estimate(values):
    """Return mean and 95% interval over worlds of values (n,), leaving out NaN: (mean, low, high)."""
    mean, error = np.nanmean(values), np.nanstd(values, ddof=1) / np.sqrt(np.isfinite(values).sum())
    return mean, mean - 1.96 * error, mean + 1.96 * error


def in_block(values, start):
    """Return the mean of values (n, N_FEEDBACKS) of each world over the BLOCK feedbacks from `start` on,
    (n,)."""
    return np.nanmean(values[:, start : start + BLOCK], axis=1)


def share_of_best(hit, best):
    """Return hits as a share of the best possible, with its 95% interval over worlds; hit, best (n,)."""
    share = np.nanmean(hit) / np.nanmean(best)
    return tuple(share + np.array(estimate(hit - share * best)) / np.nanmean(best))


def as_text(values, form=".1%"):
    """Write a mean and its interval."""
    return "{} ({} to {})".format(*(format(value, form) for value in values))
