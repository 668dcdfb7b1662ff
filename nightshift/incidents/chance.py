"""How many links between studies chance alone would give.

A drawing compares every finding with every other: the more findings, the fewer drawings, down to none, since
they would take minutes.
"""

import numpy as np

from nightshift.incidents.correlation import correlate_findings

LEAST_DRAWINGS = 20  # fewer say nothing
WITH_SITE = ["site", "service", "community", "desk"]  # scopes of findings that are linked by their site


def shuffle_sites(findings, sites, rng):
    """Rename the sites of each study at random, so that each study still sees the same and studies agree on a
    site only by chance. Returns a new DataFrame.

    findings : with study and site, which is "" for none and stays so. sites : names that sites may have,
    besides those of the findings.
    """
    every = np.array(sorted({*sites, *findings.site} - {""}), object)
    new_names = {
        study: dict(zip(every, rng.permutation(every), strict=True)) | {"": ""}
        for study in sorted(set(findings.study))
    }
    pairs = zip(findings.study, findings.site, strict=True)
    return findings.assign(site=[new_names[study][site] for study, site in pairs])


def count_links(findings):
    """Count how often studies meet in the incidents of `findings`: one that k studies see counts k - 1; 0 for
    no findings.
    """
    return int((findings.study.groupby(correlate_findings(findings)).nunique() - 1).sum())


def links_by_chance(findings, sites, *, drawings, rng):
    """Count the links of as many drawings of `shuffle_sites`: ndarray (drawings,) of int."""
    return np.array([count_links(shuffle_sites(findings, sites, rng)) for _ in range(drawings)])


def links_in_words(findings, sites, *, permutations, pairs_drawn, rng):
    """Say how often studies meet at a site, how often they would by chance alone, and how surprising that is.

    findings : as `describe_findings` gives them. sites : names that sites may have. permutations : drawings,
    at most. pairs_drawn : pairs of findings that all drawings may compare; where that leaves fewer than
    LEAST_DRAWINGS, and fewer than `permutations`, the sentence says so.
    """
    placed = findings[(findings.site != "") & findings.scope.isin(WITH_SITE)].reset_index(drop=True)
    if placed.study.nunique() < 2:
        return "Fewer than two studies name a site tonight, so nothing can be joined by site."
    drawings = int(min(permutations, pairs_drawn / len(placed) ** 2))
    if drawings < min(permutations, LEAST_DRAWINGS) or not drawings:
        return (
            f"What chance would give is left out: {len(placed):,} findings at sites leave {drawings} "
            f"drawings of {permutations}, too few to tell."
        )
    seen, drawn = count_links(placed), links_by_chance(placed, sites, drawings=drawings, rng=rng)
    return (
        f"**Studies meet {seen} times at a site; by chance alone they would {drawn.mean():.1f} times, and as "
        f"often or more in {(drawn >= seen).mean():.1%} of {drawings} drawings.**"
    )
