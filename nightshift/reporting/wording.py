"""Numbers in sentences: counts with their noun, lists, skills."""

LEAST_SKILL = -10  # below it the exact number says no more than that the model is useless


def plural(n, noun, many=""):
    """Return `n` with its noun: "1 rule", "7 rules", "2 studies"; many : the plural, where it is not the
    noun with an s (or -ies for -y).
    """
    if n == 1:
        return f"1 {noun}"
    ending = noun[:-1] + "ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else noun + "s"
    return f"{n:,} {many or ending}"


def joined(words):
    """Return `words` as a list in a sentence: "a", "a and b", "a, b and c"."""
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def skill_in_words(skill, low=None, high=None):
    """Return a skill with its interval: "0.40 (0.35 to 0.45)".

    Far below zero, where the quotient explodes, it is "below -10, far worse than the baseline".
    """
    if skill < LEAST_SKILL:
        return f"below {LEAST_SKILL}, far worse than the baseline"
    if low is None or high is None:
        return f"{skill:.2f}"
    least = f"below {LEAST_SKILL}" if low < LEAST_SKILL else f"{low:.2f}"
    return f"{skill:.2f} ({least} to {high:.2f})"
