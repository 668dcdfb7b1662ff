"""Sites and VOs whose findings matter more to somebody."""

import numpy as np


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
