"""What transfers have in common, and what their errors and the network say.

Names    sites, stage-ins from tape, what an entity holds         site_of, from_tape, of_entity, meets
Errors   what a finding says of its errors, and of the network    describe_errors, describe_probes
"""

import operator
import re
from functools import reduce

import numpy as np
import pandas as pd

from nightshift.detectors.transfers_scan import ENTITIES
from nightshift.error_classes import error_class
from nightshift.privacy import redact
from nightshift.sources.transfers.rucio import TAPE

# ------------------------------------------------------------------------------------------------------ Names


def is_among(names, holds):
    """Which of the `names` (n,) `holds` is true of: bool Series (n,), False for a missing one.

    holds : a function from the distinct names, a Series of text, to bool; there are few of them, and millions
    of transfers.
    """
    names = pd.Series(names).astype("category")
    held = np.asarray(holds(names.cat.categories.astype(str).to_series()), bool)
    return pd.Series(np.append(held, False)[names.cat.codes], names.index)


def site_of(storages, pattern):
    """The site of each storage of the Series `storages`, by the first group of the regular expression
    `pattern`; else its own name: categorical Series. ValueError when the pattern has no group."""
    if not re.compile(pattern).groups:
        raise ValueError(f"site_pattern {pattern!r} has no group, such as (.+), that names the site")
    storages = storages.astype("category")
    names = storages.cat.categories.astype(str).to_series().str.removesuffix(TAPE)
    codes, sites = pd.factorize(names.str.extract(f"^(?:{pattern})$")[0].fillna(names))
    of_each = pd.Categorical.from_codes(np.append(codes, -1)[storages.cat.codes], sites)
    return pd.Series(of_each, storages.index)


def from_tape(names):
    """Which of the `names` of links, sources or servers (n,) are those of stage-ins from tape: bool (n,)."""
    pattern = rf"{re.escape(TAPE)}(?: -> |$)"
    return is_among(names, lambda one: one.str.contains(pattern)).to_numpy()


def of_entity(items, kind, name):
    """Which of `items` belong to the entity `name` of a kind of ENTITIES: bool Series (n,); a missing name is
    "unknown"."""
    named = [items[column] for column in ENTITIES[kind]]
    hits = [(one == name) | (one.isna() & (name == "unknown")) for one in named]
    return reduce(operator.or_, hits)


def meets(names, incident):
    """Which of `names` (links, storages, servers, sites) are what the `incident` (kind, entity) hit, or a
    part of it: bool Series (n,)."""
    if incident.kind == "site_outage":
        pattern = rf"(?:^|-> ){re.escape(incident.entity)}(?:_|$)"
        return is_among(names, lambda one: one.str.contains(pattern))
    return is_among(names, lambda one: one == incident.entity)


def choose_predictor(losses, skills, baseline):
    """Name of the predictor that is to score: of those whose skill keeps above zero with its interval the
    one with the smallest loss, else `baseline`.

    losses : Series of the mean losses of what was learned, by name. skills : {name: (skill, low, high)}
    against `baseline`, BASELINE of transfers_predictors.py. All are of the days that choose; test days have
    no say.
    """
    return next((name for name in losses.sort_values().index if skills[name][1] > 0), baseline)


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
