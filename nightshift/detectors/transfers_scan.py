"""A greedy space-time scan: which places and stretches of time have more flagged items than chance explains.

Cells    items counted by the hour and by what they may share       count_cells, Rest
Windows  the strongest one of each entity                           Windows
Search   how far a trouble reaches, what is left when it is taken   extend_window, search_incidents
Scan     both searches; whether anything could be found at all      scan_incidents, best_possible

Items of one hour that share all their names are alike to the scan, which counts them once, as a cell: a grid
has a tenth as many cells as transfers. What is taken of an hour in which a trouble begins or ends is counted
item by item.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

ENTITIES = {
    "link": ["link"],
    "src": ["src"],
    "dst": ["dst"],
    "fts": ["fts"],
    "site": ["src_site", "dst_site"],
}  # a site at either end
SCAN_COLUMNS = ["entity_kind", "entity", "start", "end", "items", "flagged", "expected", "score", "p_value"]
# bins; what lies between two widths is found by the next smaller one
SCAN_WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
# log-likelihood by which what follows must speak for a normal state before a trouble counts as over
RECOVERED = np.log(1000)
US_OF_HOUR = 3_600_000_000
AT_ONCE = 1 << 20  # bins of entities that are summed at once: 8 MiB an array


# ------------------------------------------------------------------------------------------------------ Cells


@dataclass(frozen=True)
class Cells:
    """Items counted by the hour and by all the names that they may share.

    hour : int (cells,), 0 is the first that is searched. scanned : bool (cells,); the others only tell how
    far an incident reaches back. n, flagged, expected : float (cells,), items, how many of them are flagged,
    and how many are on a normal night. size, share : (cells,), of the items that share the luck of those of a
    cell, how many there are and which share is flagged. codes : {kind: int (cells, k)}, the entities of each
    cell, -1 for none; names : {kind: their names}. of_item : int (items,), the cell of each. time_us : int64
    (items,). expected_of, is_flagged : (items,).
    """

    hour: np.ndarray
    scanned: np.ndarray
    n: np.ndarray
    flagged: np.ndarray
    expected: np.ndarray
    size: np.ndarray
    share: np.ndarray
    codes: dict
    names: dict
    of_item: np.ndarray
    time_us: np.ndarray
    expected_of: np.ndarray
    is_flagged: np.ndarray


def coded(names):
    """Code the names of items, a missing one too: (int32 (n,), the names as an Index)."""
    codes, found = pd.factorize(names, use_na_sentinel=False)
    return codes.astype("int32"), pd.Index(found, dtype=object)


def together(columns):
    """Code the combinations of several coded columns that there are: (int64 (n,), the codes of each column,
    one per combination).

    columns : [(int (n,), number of codes)].
    """
    both, found = np.zeros(len(columns[0][0]), "int64"), []
    for codes, size in columns:
        both, steps = pd.factorize(both * size + codes)
        found = [one[steps // size] for one in found] + [steps % size]
    return both, found


def count_cells(items, entities, *, clump, since):
    """Count items, as `scan_incidents` takes them, by cells: Cells."""
    of_entities = [column for columns in entities.values() for column in columns]
    columns = {column: coded(items[column]) for column in dict.fromkeys([clump, *of_entities])}
    time_us = pd.DatetimeIndex(items.time).as_unit("us").asi8
    scanned = np.ones(len(items), bool) if since is None else (items.time >= since).to_numpy()
    hour = time_us // US_OF_HOUR - time_us[scanned].min() // US_OF_HOUR
    back, span = hour.min(), int(hour.max() - hour.min()) + 1
    sizes = {column: len(found) for column, (_, found) in columns.items()}
    places = [(codes, sizes[column]) for column, (codes, _) in columns.items()]
    of_item, found = together([*places, (hour - back, span), (scanned, 2)])
    of_column, hours, scanned = dict(zip(columns, found, strict=False)), found[-2], found[-1] == 1
    counts = [np.bincount(of_item, x) for x in (np.ones(len(items)), items.flagged, items.expected)]
    clumps, _ = together([(of_column[clump], sizes[clump]), (hours, span)])
    size, flagged = (np.bincount(clumps, x)[clumps] for x in counts[:2])
    codes, names = {}, {}
    for kind, ends in entities.items():
        names[kind] = columns[ends[0]][1].union(columns[ends[-1]][1], sort=False)
        lookup = [names[kind].get_indexer(columns[end][1]) for end in ends]
        codes[kind] = np.column_stack([lookup[i][of_column[end]] for i, end in enumerate(ends)])
        twice = codes[kind][:, 1:] == codes[kind][:, :1]
        codes[kind][:, 1:][twice] = -1  # what is the same at both ends counts once
    of_items = of_item, time_us, items.expected.to_numpy(float), items.flagged.to_numpy(bool)
    return Cells(hours + back, scanned, *counts, size, flagged / size, codes, names, *of_items)


@dataclass
class Rest:
    """What a search has not taken yet. n, flagged, expected : (cells,), of Cells. free : bool (items,), which
    items of a cell are left where a part of it was taken; a cell that is taken whole has n = 0.
    """

    n: np.ndarray
    flagged: np.ndarray
    expected: np.ndarray
    free: np.ndarray

    @classmethod
    def of(cls, cells):
        """Of Cells of which nothing is taken."""
        counts = (cells.n.copy(), cells.flagged.copy(), cells.expected.copy())
        return cls(*counts, np.ones(len(cells.of_item), bool))

    def take(self, cells, chosen):
        """Take what the cells `chosen`, bool (cells,), hold from their first flagged item to their last:
        (their places among the items, how many items, how many of them flagged, how many expected).
        """
        flagged = np.flatnonzero(cells.is_flagged & self.free & chosen[cells.of_item])
        order = flagged[np.argsort(cells.time_us[flagged], kind="stable")]
        begin, end = cells.time_us[order[[0, -1]]]
        zero = cells.time_us[0] // US_OF_HOUR - cells.hour[cells.of_item[0]]
        first, last = begin // US_OF_HOUR - zero, end // US_OF_HOUR - zero
        whole = chosen & (cells.hour > first) & (cells.hour < last)
        part = np.flatnonzero((chosen & ((cells.hour == first) | (cells.hour == last)))[cells.of_item])
        part = part[self.free[part] & (cells.time_us[part] >= begin) & (cells.time_us[part] <= end)]
        values = np.ones(len(part)), cells.is_flagged[part], cells.expected_of[part]
        counts = []
        for kept, value in zip((self.n, self.flagged, self.expected), values, strict=True):
            counts.append(kept[whole].sum() + value.sum())
            kept[whole] = 0
            kept -= np.bincount(cells.of_item[part], value, len(kept))
        self.free[part] = False
        return order[[0, -1]], *counts


# ---------------------------------------------------------------------------------------------------- Windows


@dataclass
class Windows:
    """The window of each entity of one kind that has the largest gain: the Poisson log-likelihood ratio of
    its flagged items (Kulldorff 2001).

    codes : int (cells, k); bins : int (cells,); n_entities, n_bins : of both. best : float (entities, 6),
    gain, width, first bin, n, flagged, expected; searched : int (entities,), windows that hold anything.
    """

    codes: np.ndarray
    bins: np.ndarray
    n_entities: int
    n_bins: int
    best: np.ndarray = field(init=False)
    searched: np.ndarray = field(init=False)

    def __post_init__(self):
        self.best, self.searched = np.zeros((self.n_entities, 6)), np.zeros(self.n_entities, "int64")

    def look(self, entities, counts):
        """Look for the best windows of some entities, int (m,), once more. counts : weighted n, flagged and
        expected of the cells, (cells,) each.
        """
        step = max(AT_ONCE // self.n_bins, 1)
        for part in (entities[i : i + step] for i in range(0, len(entities), step)):
            place = np.full(self.n_entities + 1, -1)  # the last stands for no entity
            place[part] = np.arange(len(part))
            cell, end = np.nonzero(place[self.codes] >= 0)
            at = place[self.codes[cell, end]] * self.n_bins + self.bins[cell] + 1
            size = len(part) * self.n_bins
            sums = (np.bincount(at, count[cell], size).reshape(-1, self.n_bins) for count in counts)
            self.best[part], self.searched[part] = best_windows(*(one.cumsum(axis=1) for one in sums))

    def strongest(self):
        """The entity with the largest gain, of several the one with the shortest window."""
        ahead = np.flatnonzero(self.best[:, 0] == self.best[:, 0].max())
        return ahead[np.argmin(self.best[ahead, 1])]


def best_windows(n, flagged, expected):
    """Find the best window of each entity: ((entities, 6) of `Windows`, (entities,) how many hold anything).

    n, flagged, expected : (entities, bins), weighted sums up to each bin, of which the first is empty.
    """
    best, searched = np.zeros((len(n), 6)), np.zeros(len(n), "int64")
    rows = np.arange(len(n))
    for w in [w for w in SCAN_WIDTHS if w < n.shape[1]]:
        drawn, k, mu = (one[:, w:] - one[:, :-w] for one in (n, flagged, expected))
        searched += (drawn > 1e-6).sum(axis=1)
        k, mu = np.floor(k + 1e-6), np.maximum(mu, 1e-9)
        gain = np.where(k > mu, k * np.log(np.maximum(k, 1) / mu) - (k - mu), 0)
        b = gain.argmax(axis=1)
        found = np.column_stack(
            [gain[rows, b], np.full(len(n), w), b, drawn[rows, b], k[rows, b], mu[rows, b]]
        )
        better = found[:, 0] > best[:, 0]
        best[better] = found[better]
    return best, searched


# ----------------------------------------------------------------------------------------------------- Search


def extend_window(hour, counts, low, high):
    """(first hour, hour after the last) of the trouble that shows in the hours [low, high) of one entity.

    hour : int (n,), at least 0; counts : (items, flagged ones, flagged ones expected on a normal night), (n,)
    each, weighted. The odds of a flag in the window, against the expected ones, give each hour a
    log-likelihood ratio of trouble against normal. From the median flag of the window, the trouble reaches as
    far to either side as the sum of the ratios grows, and ends for good where the sum has fallen by RECOVERED
    from its largest value (a change-point by maximum likelihood with the stopping rule of Page 1954). Hours
    without items say nothing. Where the trouble goes on, a stop in its midst has a chance of 1 in 1,000 (Wald
    1945).
    """
    size = int(max(hour.max(initial=0) + 1, high))
    n, k, mu = (np.bincount(hour, count, size) for count in counts)
    for _ in range(3):  # the odds are those of all that has been found, the second and third time
        inside_n, inside_k, inside_mu = n[low:high].sum(), k[low:high].sum(), mu[low:high].sum()
        odds = inside_k / (inside_n - inside_k + 0.25)
        ratio = odds * max(inside_n - inside_mu, 1e-9) / max(inside_mu, 1e-9)
        if not ratio > 1.5:  # hardly more than normal: no hour could speak against it
            break
        usual = np.clip(mu / np.maximum(n, 1e-9), 1e-6, 0.999)
        evidence = np.where(n > 0, k * np.log(ratio) - n * np.log(1 - usual + ratio * usual), 0.0)
        middle = low + int(np.searchsorted(np.cumsum(k[low:high]), inside_k / 2))
        before = max(reach(evidence[: middle + 1][::-1]), 1)
        reached = middle + 1 - before, middle + max(reach(evidence[middle:]), 1)
        if reached == (low, high):
            break
        low, high = reached
    return low, high


def reach(evidence):
    """How many of the first hours of `evidence` belong to the trouble: up to the largest sum before the sum
    has fallen by RECOVERED."""
    total = np.cumsum(evidence)
    over = np.flatnonzero(np.maximum.accumulate(np.maximum(total, 0)) - total > RECOVERED)
    total = total[: over[0]] if len(over) else total
    return int(np.argmax(total)) + 1 if len(total) and total.max() > 0 else 0


def chance_of(window, searched):
    """The p-value of the best window of an entity, (6,) of `Windows`, among all that were searched."""
    from scipy import special

    drawn, k, mu = window[3:]
    return special.bdtrc(k - 1, int(np.ceil(drawn - 1e-6)), min(mu / drawn, 1)) * searched


def search_incidents(cells, weight, *, bin_hours, level):
    """One greedy search of Cells with the item weights (cells,): (rows of SCAN_COLUMNS, with the places of
    the first and the last flagged item as start and end; the Rest).
    """
    rest, rows, back = Rest.of(cells), [], -min(cells.hour.min(), 0)  # hours of history
    scanned = np.flatnonzero(cells.scanned)
    bins = cells.hour[scanned] // bin_hours

    def counts():
        return [weight[scanned] * one[scanned] for one in (rest.n, rest.flagged, rest.expected)]

    kinds = {
        kind: Windows(codes[scanned], bins, len(cells.names[kind]), bins.max() + 2)
        for kind, codes in cells.codes.items()
    }
    changed = {kind: np.arange(windows.n_entities) for kind, windows in kinds.items()}
    while rest.flagged[scanned].any():
        best = None
        for kind, windows in kinds.items():
            windows.look(changed[kind], counts())
            searched = len(kinds) * windows.searched.sum()  # each kind gets its share of the level
            entity = windows.strongest()
            gain = windows.best[entity, 0] - np.log(max(searched, 1))
            if gain > (best[0] if best else 0):
                best = gain, chance_of(windows.best[entity], searched), kind, entity
        if best is None or not best[1] <= level:
            break
        gain, p, kind, entity = best
        _, width, low, *_ = kinds[kind].best[entity].astype(int)
        of = np.flatnonzero((cells.codes[kind] == entity).any(axis=1) & (rest.n > 0))
        dated = [one[of] / cells.size[of] for one in (rest.n, rest.flagged, rest.expected)]  # as one
        ends = (one * bin_hours + back for one in (low, low + width))
        first, last = extend_window(cells.hour[of] + back, dated, *ends)
        of = of[(cells.hour[of] + back >= first) & (cells.hour[of] + back < last)]
        chosen = np.zeros(len(rest.n), bool)
        chosen[of] = True
        ends, n, flagged, expected = rest.take(cells, chosen)
        rows.append(
            [kind, cells.names[kind][entity], *ends, int(n), int(flagged), expected, gain, max(p, 1e-300)]
        )
        touched = {kind: np.unique(codes[of]) for kind, codes in cells.codes.items()}
        changed = {kind: entities[entities >= 0] for kind, entities in touched.items()}
    return rows, rest


# ------------------------------------------------------------------------------------------------------- Scan


def correlation_of(cells, rest):
    """Fisher's intraclass correlation of the items that were not taken and share their luck with others, from
    mean squares within and overall, in [0, 1]; 1 where it cannot be told.
    """
    several = cells.scanned & (cells.size > 1)
    n, k, m, share = (x[several] for x in (rest.n, rest.flagged, cells.size, cells.share))
    if not 0 < k.sum() < n.sum():
        return 1.0
    within = (k * (1 - share) ** 2 + (n - k) * share**2) * m / (m - 1)
    variance = (k.sum() - k.sum() ** 2 / n.sum()) / (n.sum() - 1)
    return float(np.clip(1 - within.sum() / n.sum() / variance, 0, 1))


def scan_incidents(items, entities, *, clump, since=None, bin_hours=3, level=1.0):
    """Merge flagged items into incidents, most surprising first; no item flagged, no row.

    items : DataFrame with `time` (datetime), `flagged` (bool), `expected` (chance of a flag on a normal
    night), `clump` (the column whose items of one hour share their luck) and the columns of `entities`,
    {kind: columns}: an item belongs to what is named in any of them. since : items before it are not
    searched; an incident that is found may have begun among them. Returns one row per incident:
    entity_kind, entity, start, end (first, last flagged item), items, flagged, expected (counts), score
    (gain), p_value (at most `level`). Of kinds with equal gain the first is taken.

    Files that share a link and an hour share their luck: m of them count as m / (1 + (m - 1) r), where r is
    their intraclass correlation (Kish 1965). A first search takes them as one (r = 1); on what it leaves
    outside all incidents r is measured; a second uses that. The scan finds windows of four days at most;
    each is then extended, hour by hour, as far as its trouble reaches (see `extend_window`).
    """
    searched = items.flagged if since is None else items.flagged & (items.time >= since)
    if not searched.any():
        return pd.DataFrame(columns=SCAN_COLUMNS)
    cells = count_cells(items, entities, clump=clump, since=since)
    how = {"bin_hours": bin_hours, "level": level}
    correlation = correlation_of(cells, search_incidents(cells, 1 / cells.size, **how)[1])
    rows, _ = search_incidents(cells, 1 / (1 + (cells.size - 1) * correlation), **how)
    found = pd.DataFrame(rows, columns=SCAN_COLUMNS)
    for end in ("start", "end"):
        found[end] = items.time.iloc[found[end].to_numpy(int)].reset_index(drop=True)
    return found


def best_possible(items, since, clump="link"):
    """(p-value, transfers) of the strongest thing that a scan could find after `since`: that all transfers
    of the busiest entity are flagged.

    items : as `scan_incidents` takes them. What shares a clump and an hour counts once, and every window
    that could hold items counts as searched, so that the p-value is the largest that such an incident could
    have. (1.0, 0) without items at or after `since`.
    """
    late = items[items.time >= since]
    if not len(late):
        return 1.0, 0
    hours = (items.time.max() - items.time.min()) / pd.Timedelta(hours=3) + 1
    entities = sum(items[columns[0]].nunique() for columns in ENTITIES.values())
    searched = len(ENTITIES) * entities * max(hours, 1) * len(SCAN_WIDTHS)
    clumps = late.assign(hour=late.time.dt.floor("h")).drop_duplicates([clump, "hour"])
    best = 1.0, 0
    for columns in ENTITIES.values():
        for column in columns:
            n, chance = clumps[column].value_counts(), late.groupby(column, observed=True).expected.mean()
            n = n[n > 0]
            p = np.minimum(searched * chance.reindex(n.index).clip(1e-6, 1) ** n, 1)
            if len(p) and p.min() < best[0]:
                best = float(p.min()), int((late[column] == p.idxmin()).sum())
    return best if best[1] else (1.0, int(late[clump].value_counts().max()))
