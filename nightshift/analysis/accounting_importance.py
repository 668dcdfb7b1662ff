"""Sites and VOs whose findings matter more to somebody."""

import numpy as np

from nightshift.analysis.accounting import SHAPES


def priority_factors(importance):
    """Read the factors of names, {name in lower case: factor}; ValueError for what is no mapping of names to
    factors of 0 or more.
    """
    good = isinstance(importance, dict) and all(
        type(factor) in (int, float) and 0 <= factor < np.inf for factor in importance.values()
    )
    if not good:
        raise ValueError(
            f"importance: {importance} must map names of sites or VOs to factors, such as {{atlas: 2}}"
        )
    return {str(name).casefold(): float(factor) for name, factor in importance.items()}


def with_priorities(found, importance):
    """Return `found`, DataFrame of `follow_losses`, with impact and priority, core hours. Impact is what was
    lost or gained; where other jobs fill as many hours (SHAPES), all hours of the change, with a priority of
    0. The factors of `importance` of the site and of the VO (None: no factors) multiply the priority.
    """
    factor = priority_factors({} if importance is None else importance)
    weight = [
        factor.get(f.site.casefold(), 1.0) * factor.get(f.vo.casefold(), 1.0) for f in found.itertuples()
    ]
    same_hours, affected = found.kind.isin(SHAPES), found.observed * (found.end - found.start + 1)
    impact = found.change_hours.abs().where(~same_hours, affected)
    return found.assign(impact=impact, priority=impact.where(~same_hours, 0.0) * weight)


def unknown_names(series, importance):
    """Write one sentence for each name of `importance` that no site and no VO has: list of str.

    series : DataFrame site, vo. importance : {name: factor}.
    """
    names = {name.casefold() for column in ("site", "vo") for name in series[column]} - {""}
    return [
        f"importance: no site and no VO of the accounting is called {name}."
        for name in importance
        if str(name).casefold() not in names
    ]
