"""How many links between studies chance alone would give."""

import numpy as np

from nightshift.incidents.correlation import correlate_findings

WITH_SITE = ["site", "service", "community", "desk"]  # scopes of findings that are linked by their site


def shuffle_sites(findings, sites, rng):
    """Give the sites of each study the names of others, drawn anew, so that what one study sees stays as it
    is and only that studies agree on a site is chance. Returns a new DataFrame.

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
