"""How often a proposal works for a kind of finding, at a site, and in which order to try them.

The model is a tree of chances: all proposals, one proposal, that proposal for one kind, that kind at one
site. Each chance is drawn from a Beta distribution around the one above it (a hierarchical Beta-binomial
model: Gelman et al., Bayesian Data Analysis, chapter 5). Evidence climbs the tree as effective counts
(Kleinman 1973) and descends as a Beta distribution of the same mean and variance: all is closed form.
"""

import collections
import hashlib

import numpy as np
import pandas as pd
from scipy import stats

from helpers import project_path
from nightshift.catalog import label_in_any
from nightshift.remediation.feedback import COLUMNS, FEEDBACK_FILE, as_cell, read_feedback
from nightshift.remediation.knowledge import offered, read_remediations

# How tightly chances lie around the one above, in trials: a proposal around all, a kind around its proposal,
# a site around its kind. With ALL, ten imagined trials of which half worked, they make about Jeffreys' prior
# before the first feedback: half a trial that worked, half one that failed.
STRENGTHS, ALL = (3.0, 5.0, 10.0), (5.0, 5.0)
SHOWN = ["remediation", "proposal", "verify", "effort", "chance", "low", "high", "trials", "worked"]


def effective(worked, trials, strength):
    """(worked, trials) of a branch, of any shape, as independent trials of the chance above it: fewer than
    strength + 1 of them (Kleinman 1973).
    """
    share = (strength + 1) / (trials + strength)
    return worked * share, trials * share


def inherit(branches):
    """Beta distribution (a, b) of a chance, from the evidence at each level of the tree, top first: [(worked,
    trials), ...], arrays of any shape.

    At each level the evidence is that of the other branches, at the last one its own. Each level passes down
    the Beta distribution with the mean and variance of a chance drawn around its own.
    """
    a, b = ALL
    for strength, (worked, trials) in zip((np.inf, *STRENGTHS), branches, strict=True):
        passed = 1 / (1 + (a + b + 1) / strength)
        a, b = a * passed + worked, b * passed + trials - worked
    return a, b


def tally(outcomes):
    """Evidence at each level of the tree and what its branches pass up: two lists of {(remediation, kind,
    site)[:level]: array [worked, trials]}.
    """
    sums, passed = ([collections.defaultdict(lambda: np.zeros(2)) for _ in range(4)] for _ in range(2))
    sums[3].update(
        {
            key: np.array([of.sum(), len(of)], float)
            for key, of in outcomes.groupby(["remediation", "kind", "site"]).worked
        }
    )
    for level in (3, 2, 1):
        for key, counts in sums[level].items():
            passed[level][key] = np.array(effective(*counts, STRENGTHS[level - 1]))
            sums[level - 1][key[:-1]] += passed[level][key]
    return sums, passed


def chances(remediations, feedback, kind, site):
    """The proposals for a `kind` (as remediations.yaml writes it) at a `site`, in the order of
    `remediations`, with what feedback says of each.

    One row each: SHOWN (mean chance and its 95% interval; trials and worked for this kind, at all sites),
    elsewhere (trials for other kinds), kind, a, b (the Beta distribution). A kind without proposals gives
    none.
    """
    outcomes, rows = feedback.drop_duplicates(["incident", "remediation"], keep="last"), []
    sums, passed = tally(outcomes)
    for one in (one for one in remediations if kind in one["kinds"]):
        key = (one["id"], kind, as_cell(site))
        a, b = inherit(
            [
                *(sums[level][key[:level]] - passed[level + 1][key[: level + 1]] for level in range(3)),
                sums[3][key],
            ]
        )
        of_remediation = outcomes[outcomes.remediation == one["id"]]
        here = of_remediation.worked[of_remediation.kind == kind]
        rows.append(
            [
                one["id"],
                one["proposal"],
                one.get("verify", ""),
                one["effort"],
                a / (a + b),
                *stats.beta.ppf([0.025, 0.975], a, b),
                len(here),
                int(here.sum()),
                len(of_remediation) - len(here),
                kind,
                a,
                b,
            ]
        )
    types = dict.fromkeys(["chance", "low", "high", "a", "b"], float) | dict.fromkeys(
        ["trials", "worked", "elsewhere"], int
    )
    return pd.DataFrame(rows, columns=[*SHOWN, "elsewhere", "kind", "a", "b"]).astype(types)


def rank(remediations, feedback, incident, day):
    """The proposals for an incident, best first: the rows of `chances` with rank (1 = first), reason and
    ranked; none where no kind of it has any.

    incident : its incident (id), kinds, studies, site, age_nights, evidence. What its evidence speaks for
    comes before the rest, and says so as `reason`, such as "the evidence says “connection refused”", else "".
    In each of these two groups, first is the highest mean chance, of equals one made for the case; the others
    follow by Thompson sampling (Thompson 1933; Russo et al. 2018), for readers whom the first has failed.
    Draws are the same for the same incident and night `day`. ranked, the same for all: whether any of them
    has been tried; if not, the order within a group is that of the draws and means nothing.
    """
    fitting, words = collections.defaultdict(list), {}
    for one, kind, reason in offered(remediations, incident):
        fitting[kind].append(one)
        words[one["id"]] = reason
    offers = pd.concat(
        [chances(ones, feedback, kind, incident["site"]) for kind, ones in fitting.items()]
        or [chances([], feedback, "", "")]
    )
    offers["reason"] = [
        f"the evidence says “{as_cell(words[name], 60)}”" if words[name] else ""
        for name in offers.remediation
    ]
    rng = np.random.default_rng(list(hashlib.sha256(f"{day} {incident['incident']}".encode()).digest()))
    drawn = stats.beta.ppf(rng.random(len(offers)), offers.a, offers.b)
    # not made for such a case
    general = ~offers.remediation.isin([one["id"] for one in remediations if any(one["when"].values())])
    rest = (offers.reason == "").to_numpy()
    for group in (rest, ~rest):
        first = np.lexsort([-drawn, general, -offers.chance, ~group])[:1]
        drawn[first[group[first]]] = np.inf
    offers = offers.iloc[np.lexsort([-drawn, rest])].reset_index(drop=True)
    return offers.assign(
        rank=np.arange(1, len(offers) + 1), ranked=bool((offers.trials + offers.elsewhere).any())
    )


def table_of_proposals(proposals):
    """Join the proposals for several incidents to one table: DataFrame incident, rank, SHOWN, reason, ranked,
    one row each; none gives an empty one.

    proposals : {incident: rows of `rank`}.
    """
    nothing = rank([], pd.DataFrame(columns=COLUMNS), {"incident": ""}, "")
    rows = pd.concat([nothing, *(offers.assign(incident=name) for name, offers in proposals.items())])
    rows = rows.reindex(columns=["incident", "rank", *SHOWN, "reason", "ranked"])
    return rows.astype({"incident": str, "reason": str, "ranked": bool})


def first_choices(proposals, titles):
    """Return the first proposal for each incident, where anything was tried: DataFrame title, SHOWN.

    proposals : of `table_of_proposals`. titles : Series [incident].
    """
    firsts = proposals[(proposals["rank"] == 1) & proposals.ranked]
    return firsts.assign(title=firsts.incident.map(titles))[["title", *SHOWN]]


def chance_now(row, products=""):
    """Say in a sentence what is known of a proposal after the feedback `row`, as `record_feedback` returns
    it.
    """
    feedback, _ = read_feedback(project_path(products) / FEEDBACK_FILE)
    offers = chances(read_remediations(row["remediations"]), feedback, row["kind"], row["site"]).set_index(
        "remediation"
    )
    now = offers.loc[row["remediation"]]
    place = f" at {row['site']}" if row["site"] else ""
    trials = "1 trial" if now.trials == 1 else f"{now.trials} trials"
    return (
        f"For {label_in_any(row['kind'])}, {row['remediation']} worked in {now.worked} of {trials}; its "
        f"chance{place} is now {now.chance:.0%} ({now.low:.0%} to {now.high:.0%})."
    )
