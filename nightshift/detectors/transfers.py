"""Incidents among transfers: flagged items that share a place and a stretch of time, where they begin, and
what their errors say.

Scan     a greedy space-time scan over links, storages, servers and sites     scan_incidents, extend_window
         whether anything could be found at all                               best_possible
Errors   what a finding says of its errors, and of the network                describe_errors, describe_probes
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nightshift.error_classes import error_class
from nightshift.privacy import redact
from nightshift.sources.transfers.rucio import TAPE

ENTITIES = {
    "link": ["link"],
    "src": ["src"],
    "dst": ["dst"],
    "fts": ["fts"],
    "site": ["src_site", "dst_site"],
}  # a site at either end
SCAN_COLUMNS = ["entity_kind", "entity", "start", "end", "items", "flagged", "expected", "score", "p_value"]
SCAN_WIDTHS = (
    1,
    2,
    3,
    4,
    6,
    8,
    12,
    16,
    24,
    32,
)  # bins; what lies between two widths is found by the next smaller one
RECOVERED = np.log(
    1000
)  # log-likelihood by which what follows must speak for a normal state before a trouble counts as over


def site_of(storages, pattern):
    """The site of each storage of the Series `storages`, by the first group of the regular expression
    `pattern`; else its own name. ValueError when the pattern has no group."""
    if not re.compile(pattern).groups:
        raise ValueError(f"site_pattern {pattern!r} has no group, such as (.+), that names the site")
    names = storages.astype(str).str.removesuffix(TAPE)
    return names.str.extract(f"^(?:{pattern})$")[0].fillna(names)


def from_tape(names):
    """Which of the `names` of links, sources or servers (n,) are those of stage-ins from tape: bool (n,)."""
    names = pd.Series(names).astype("category")
    staged = names.cat.categories.astype(str).str.contains(rf"{re.escape(TAPE)}(?: -> |$)")
    return np.append(staged, False)[names.cat.codes]


def of_entity(items, kind, name):
    """Which of `items` belong to the entity `name` of a kind of ENTITIES: bool (n,); a missing name is
    "unknown"."""
    return (items[ENTITIES[kind]].astype(object).fillna("unknown") == name).any(axis=1)


def meets(names, incident):
    """Which of `names` (links, storages, servers, sites) are what the `incident` (kind, entity) hit, or a
    part of it: bool (n,)."""
    if incident.kind == "site_outage":
        return names.astype(str).str.contains(rf"(?:^|-> ){re.escape(incident.entity)}(?:_|$)")
    return names.astype(str) == incident.entity


def choose_predictor(losses, skills, baseline):
    """Name of the predictor that is to score: of those whose skill keeps above zero with its interval the
    one with the smallest loss, else `baseline`.

    losses : Series of the mean losses of what was learned, by name. skills : {name: (skill, low, high)}
    against `baseline`, the best trivial one. All are those of the days that choose; test days have no say.
    """
    return next((name for name in losses.sort_values().index if skills[name][1] > 0), baseline)


# ----------------------------------------------------------------------------------------------------- Scan


def strongest_window(items, codes, sizes, n_bins):
    """The window with the largest gain: (gain, p-value, kind, entity, its first bin, the bin after its
    last); None where none gains.

    items : DataFrame flagged, expected, weight, bin. codes : {kind: int (n, k)}, the entities of each item,
    -1 for none; sizes : {kind: how many}. The gain is the Poisson log-likelihood ratio less the logarithm
    of how many windows were searched (Kulldorff 2001).
    """
    from scipy import special

    best, widths = None, [w for w in SCAN_WIDTHS if w < n_bins]
    for kind, size in sizes.items():
        row, place = np.nonzero(codes[kind] >= 0)
        at, of = codes[kind][row, place] * n_bins + items.bin.to_numpy()[row] + 1, items.iloc[row]
        flagged, expected, n = (
            np.bincount(at, of.weight * x, size * n_bins)
            .reshape(-1, n_bins)
            .cumsum(axis=1)  # (entities, bins)
            for x in (of.flagged, of.expected, 1)
        )
        searched = len(sizes) * sum(
            int((n[:, w:] - n[:, :-w] > 1e-6).sum()) for w in widths
        )  # each kind gets its share of the level
        for w in widths:
            k, mu = (
                np.floor(flagged[:, w:] - flagged[:, :-w] + 1e-6),
                np.maximum(expected[:, w:] - expected[:, :-w], 1e-9),
            )
            gain = np.where(k > mu, k * np.log(np.maximum(k, 1) / mu) - (k - mu), 0) - np.log(searched)
            e, b = np.unravel_index(np.argmax(gain), gain.shape)
            if gain[e, b] > (best[0] if best else 0):
                drawn = n[e, b + w] - n[e, b]
                p = (
                    special.bdtrc(k[e, b] - 1, int(np.ceil(drawn - 1e-6)), min(mu[e, b] / drawn, 1))
                    * searched
                )
                best = gain[e, b], p, kind, e, b, b + w
    return best


def extend_window(hour, flagged, expected, weight, low, high):
    """(first hour, hour after the last) of the trouble that shows in the hours [low, high) of one entity.

    hour : int (n,), at least 0; flagged : bool (n,); expected : chance of a flag on a normal night; weight
    : what an item counts. The odds of a flag in the window, against the expected ones, give each hour a
    log-likelihood ratio of trouble against normal. From the median flag of the window, the trouble reaches
    as far to either side as the sum of the ratios grows, and ends for good where the sum has fallen by
    RECOVERED from its largest value (a change-point by maximum likelihood with the stopping rule of Page
    1954). Hours without items say nothing. Where the trouble goes on, a stop in its midst has a chance of 1
    in 1,000 (Wald 1945).
    """
    size = int(max(hour.max(initial=0) + 1, high))
    n, k, mu = (np.bincount(hour, weight * x, size) for x in (np.ones(len(hour)), flagged, expected))
    for _ in range(3):  # the odds are those of all that has been found, the second and third time
        inside_n, inside_k, inside_mu = n[low:high].sum(), k[low:high].sum(), mu[low:high].sum()
        ratio = (
            inside_k / (inside_n - inside_k + 0.25) * max(inside_n - inside_mu, 1e-9) / max(inside_mu, 1e-9)
        )
        if not ratio > 1.5:  # hardly more than normal: no hour could speak against it
            break
        usual = np.clip(mu / np.maximum(n, 1e-9), 1e-6, 0.999)
        evidence = np.where(n > 0, k * np.log(ratio) - n * np.log(1 - usual + ratio * usual), 0.0)
        middle = low + int(np.searchsorted(np.cumsum(k[low:high]), inside_k / 2))
        reached = (
            middle + 1 - max(reach(evidence[: middle + 1][::-1]), 1),
            middle + max(reach(evidence[middle:]), 1),
        )
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


@dataclass(frozen=True)
class Scan:
    """What a scan looks at, and how.

    items : of `scan_incidents`, with a RangeIndex. codes : {kind: int (n, k)}, the entities of each item, -1
    for none. names : {kind: their names}. size : (n,), how many items share the luck of each; to date an
    incident they count as one. scanned : bool (n,); other items only tell how far an incident reaches back.
    level : the largest p-value of an incident.
    """

    items: pd.DataFrame
    codes: dict
    names: dict
    size: np.ndarray
    scanned: np.ndarray
    bin_hours: int
    level: float


def search_incidents(scan, weight):
    """One greedy search of a Scan with the item weights (n,): (incidents as SCAN_COLUMNS, bool (n,) of the
    scanned items outside all of them).
    """
    items, codes, names, scanned = scan.items, scan.codes, scan.names, scan.scanned
    flagged, expected, rows = items.flagged.to_numpy(), items.expected.to_numpy(float), []
    hour = ((items.time - items.time[scanned].min().floor("h")) // pd.Timedelta(hours=1)).to_numpy()
    back = -min(hour.min(), 0)  # hours of history
    bins = hour // scan.bin_hours
    coded = pd.DataFrame({"flagged": flagged, "expected": expected, "weight": weight, "bin": bins})
    sizes = {kind: len(of) for kind, of in names.items()}
    alive, free = scanned.copy(), np.ones(len(items), bool)
    while flagged[alive].any():
        best = strongest_window(
            coded[alive], {kind: code[alive] for kind, code in codes.items()}, sizes, bins[scanned].max() + 2
        )
        if best is None or not best[1] <= scan.level:
            break
        gain, p, kind, entity, low, high = best
        of = free & (codes[kind] == entity).any(axis=1)
        first, last = extend_window(
            hour[of] + back,
            flagged[of],
            expected[of],
            1 / scan.size[of],
            low * scan.bin_hours + back,
            high * scan.bin_hours + back,
        )
        members = of & (hour + back >= first) & (hour + back < last)
        begin, end = items.time[members & flagged].agg(["min", "max"])
        members &= items.time.between(begin, end).to_numpy()
        rows.append(
            [
                kind,
                names[kind][entity],
                begin,
                end,
                int(members.sum()),
                int(flagged[members].sum()),
                float(expected[members].sum()),
                float(gain),
                max(float(p), 1e-300),
            ]
        )
        alive, free = alive & ~members, free & ~members
    return pd.DataFrame(rows, columns=SCAN_COLUMNS), alive


def scan_incidents(items, entities, *, clump, history=None, bin_hours=3, level=1.0):
    """Merge flagged items into incidents, most surprising first; no item flagged, no row.

    items : DataFrame with `time` (datetime), `flagged` (bool), `expected` (chance of a flag on a normal
    night), `clump` (the column whose items of one hour share their luck) and the columns of `entities`,
    {kind: columns}: an item belongs to what is named in any of them. history : earlier items of the same
    columns, which are not searched; an incident that is found may have begun among them. Returns one row
    per incident: entity_kind, entity, start, end (first, last flagged item), items, flagged, expected
    (counts), score (gain), p_value (at most `level`). Of kinds with equal gain the first is taken.

    Files that share a link and an hour share their luck: m of them count as m / (1 + (m - 1) r), where r is
    their intraclass correlation (Kish 1965). A first search takes them as one (r = 1); on what it leaves
    outside all incidents r is measured; a second uses that. The scan finds windows of four days at most;
    each is then extended, hour by hour, as far as its trouble reaches (see `extend_window`).
    """
    if not items.flagged.any():
        return pd.DataFrame(columns=SCAN_COLUMNS)
    scanned = np.ones(len(items), bool)
    if history is not None and len(history):
        scanned = np.append(np.zeros(len(history), bool), scanned)
        items = pd.concat([history[items.columns], items])
    items = items.reset_index(drop=True)
    together = items.groupby([items[clump].astype(str), items.time.dt.floor("h")]).flagged
    size, mean = together.transform("size").to_numpy(), together.transform("mean").to_numpy()
    codes, names = {}, {}
    for kind, columns in entities.items():
        each = pd.concat([items[column].astype(object) for column in columns])
        code, names[kind] = pd.factorize(each, use_na_sentinel=False)  # a missing name is a name too
        codes[kind] = code.reshape(len(columns), -1).T.copy()
        codes[kind][:, 1:][
            codes[kind][:, 1:] == codes[kind][:, :1]
        ] = -1  # what is the same at both ends counts once
    scan = Scan(items, codes, names, size=size, scanned=scanned, bin_hours=bin_hours, level=level)
    several = search_incidents(scan, 1 / size)[1] & (size > 1)
    flagged, m, correlation = items.flagged[several], size[several], 1.0
    if flagged.any():  # Fisher's intraclass correlation, from mean squares within and overall
        correlation = np.clip(1 - np.mean((flagged - mean[several]) ** 2 * m / (m - 1)) / flagged.var(), 0, 1)
    return search_incidents(scan, 1 / (1 + (size - 1) * correlation))[0]


def best_possible(items, since, clump="link"):
    """(p-value, transfers) of the strongest thing that a scan could find after `since`: that all transfers
    of the busiest entity are flagged.

    items : as `scan_incidents` takes them. What shares a clump and an hour counts once, and every window
    that could hold items counts as searched, so that the p-value is the largest that such an incident could
    have. (1.0, 0) without items.
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


# --------------------------------------------------------------------------------------------------- Errors


def error_words(text):
    """The text of an error without what it says of people, and what differs from file to file (hosts, paths,
    numbers that are no code), at most 90 characters."""
    text = " ".join(text.rpartition("Last attempt: ")[2].split())
    text = redact(re.sub(r"\w+://\S+", "URL", text))
    text = re.sub(r"(?<![\w.])(?:[\w-]+\.)+[a-z]{2,}(?::\d+)?(?![\w(])", "HOST", text)
    text = re.sub(r"(?<!\w)(?:/[\w.%=+-]+)+", "PATH", text)
    text = re.sub(
        r"\b(?=\w*\d)[\da-f-]{4,}\b|(?<![\[(\w])(?<!HTTP )\b\d+\b", "N", text
    )  # but HTTP 507, [111] and (56) say what it is
    return text[:89] + "…" if len(text) > 90 else text


def error_table(failures):
    """The errors of `failures` (columns reason, src, dst): DataFrame error (a class), words, failures,
    share, from, from_share, to, to_share, most frequent class first; `words` are the most frequent ones of
    the class, in those of their producer. Without reasons, no row."""
    texts = failures.reason.astype(object).fillna("").astype(str).str.strip()
    explained, rows = failures.assign(text=texts)[texts != ""], []
    for column, read in (("error", error_class), ("words", error_words)):
        explained[column] = explained.text.map({text: read(text) for text in explained.text.unique()})
    for name, group in explained.groupby("error"):
        row = {
            "error": name,
            "words": group.words.value_counts().index[0],
            "failures": len(group),
            "share": len(group) / len(failures),
        }
        for label, column in (("from", "src"), ("to", "dst")):
            shares = group[column].astype(str).value_counts(normalize=True)
            row |= {label: shares.index[0], f"{label}_share": shares.iloc[0]}
        rows.append(row)
    columns = ["error", "words", "failures", "share", "from", "from_share", "to", "to_share"]
    return pd.DataFrame(rows, columns=columns).sort_values("failures", ascending=False, ignore_index=True)


def describe_errors(failures, kind=""):
    """Part of a sentence about the errors of `failures`, such as “70% of the failures say “connection
    refused”, 90% of them from A_DISK”.

    kind : of the entity that all of them share, a key of ENTITIES or "", whose side is not named. ""
    without a reason in any of them.
    """
    table, parts = error_table(failures), []
    for row in table.head(2).to_dict("records"):
        if parts and row["share"] < 0.2:
            break
        sides = [(row["from_share"], f"from {row['from']}")] * (kind not in ("src", "link"))
        sides += [(row["to_share"], f"to {row['to']}")] * (kind not in ("dst", "link"))
        side = max(sides, default=(0, ""))
        where = f", {side[0]:.0%} of these {side[1]}" if side[0] >= 0.5 and row["failures"] > 1 else ""
        parts.append(
            f"{row['share']:.0%} {'of the failures ' if not parts else ''}say “{row['words']}”{where}"
        )
    return "; ".join(parts)


PROBED = {
    "loss_pct": "mean",
    "latency_ms": "median",
    "throughput_mbps": "median",
}  # a few probes hold all losses


def compare_probes(probes, pairs, start, end):
    """Compare what perfSONAR saw between the hosts `pairs` (src_host, dst_host) from `start` to `end` with
    the same pairs at other times: (number of probes then, Series of PROBED then, the same otherwise); NaN
    where there is no probe.

    probes : DataFrame src_host, dst_host, time, loss_pct, latency_ms, throughput_mbps. Probes come every few
    hours, so those of the six hours in which it began count.
    """
    here = probes.merge(pairs[["src_host", "dst_host"]].astype(str).drop_duplicates())
    during = here.time.between(start.floor("6h"), end)
    return int(during.sum()), here.loc[during].agg(PROBED), here.loc[~during].agg(PROBED)


def trouble_of_probes(then, usually):
    """Name what is bad in probes, as `compare_probes` gives them, with its numbers, in a list: a mean loss
    above 0.5% and three times the usual, a median throughput below half of the usual; [] for clean ones.
    """
    parts, loss, before = [], then.loss_pct, usually.loss_pct
    if loss > 0.5 and not loss <= 3 * before:
        parts.append(f"a loss of {loss:.1f}%" + ("" if np.isnan(before) else f" (usually {before:.1f}%)"))
    if then.throughput_mbps < 0.5 * usually.throughput_mbps:
        usual = f"(usually {usually.throughput_mbps:,.0f})"
        parts.append(f"a throughput of {then.throughput_mbps:,.0f} Mb/s {usual}")
    return parts


def describe_probes(probes, pairs, start, end):
    """Part of a sentence about what perfSONAR saw between the hosts `pairs` (src_host, dst_host) from
    `start` to `end`; "" without probes then. probes : as in `compare_probes`.
    """
    n, then, usually = compare_probes(probes, pairs, start, end)
    if not n:
        return ""
    parts = trouble_of_probes(then, usually)
    return (
        f"perfSONAR saw {' and '.join(parts)}" if parts else f"{n} perfSONAR probes clean, as at other times"
    )
