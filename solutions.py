"""What to try about an incident, and what is learned from those who tried it.

    Knowledge     solutions.yaml: proposals per kind of finding             read_solutions, kind_for
    Feedback      a table that only grows, each row sealed with its past    read_feedback, record_feedback
    Chances       how often a proposal works for a kind, at a site; order   effective, inherit, chances, rank

The model is a tree of chances: all proposals, one proposal, that proposal for one kind, that kind at one site. Each chance is drawn from a Beta
distribution around the one above it (a hierarchical Beta-binomial model: Gelman et al., Bayesian Data Analysis, chapter 5). Evidence climbs the
tree as effective counts (Kleinman 1973) and descends as a Beta distribution of the same mean and variance: all is closed form.
"""

import argparse
import collections
import csv
import difflib
import fcntl
import hashlib
import io
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from scipy import stats

from helpers import ROOT, atomic, resolve
from nightshift.error_classes import ERRORS, errors_named, words_for

# ------------------------------------------------------------------------------------------------------------- Knowledge

CONDITIONS = {"several_studies": bool, "site": str, "lasting_nights": int, "named_error": bool}
NEEDED, MAY_HAVE = {"id", "kinds", "proposal", "effort"}, {"when", "evidence"}


def read_solutions(path=ROOT / "solutions.yaml"):
    """The proposals of the YAML file `path`: dicts id, kinds, when, evidence, proposal, effort; ValueError names in one line what is wrong."""
    name = Path(path).name
    try:
        solutions = yaml.load(Path(path).read_text(encoding="utf-8"), yaml.CSafeLoader) or []
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(solutions, list):
        raise ValueError(f"{name} must be a list of proposals, each with id, kinds, proposal and effort")
    for number, one in enumerate(solutions, 1):
        if wrong := _wrong(one):
            raise ValueError(f"{name}: proposal {number} ({str(one.get('id') if isinstance(one, dict) else one)[:40]}) {wrong}")
    if twice := [i for i, n in collections.Counter(one["id"] for one in solutions).items() if n > 1]:
        raise ValueError(f"{name}: the id {twice[0]} is there twice")
    return [{"when": {}, "evidence": []} | one for one in solutions]


def _wrong(one):
    """What is wrong with one entry of the knowledge base, "" if nothing."""
    if not isinstance(one, dict) or not NEEDED <= set(one) <= NEEDED | MAY_HAVE:
        return "must have id, kinds, proposal, effort, may have when and evidence, and nothing else"
    kinds, when, evidence = one["kinds"], one.get("when", {}), one.get("evidence", [])
    try:
        understood = all(type(value) is CONDITIONS.get(name) for name, value in when.items()) and re.compile(when.get("site", ""))
    except (AttributeError, re.error):
        understood = False
    try:
        readable = isinstance(evidence, list) and all(isinstance(words, str) and words.strip() and re.compile(words) for words in evidence)
    except re.error:
        readable = False
    demands = {
        "needs an id of 2 to 40 small letters, digits and hyphens": re.fullmatch(r"[a-z][a-z0-9-]{1,39}", str(one["id"])),
        "needs kinds, a list such as [drop, telemetry.silent]": kinds and isinstance(kinds, list) and all(isinstance(kind, str) for kind in kinds),
        "needs a proposal in words": isinstance(one["proposal"], str) and one["proposal"].strip(),
        "needs an effort such as 10 min, 1 h or 2 d": re.fullmatch(r"\d+ (min|h|d)", str(one["effort"])),
        "knows as conditions several_studies (true, false), site (a pattern), lasting_nights (a number), named_error (true, false)": understood,
        f"needs as evidence a list of {', '.join(ERRORS)}, or of patterns of its own": readable}
    return next((demand for demand, met in demands.items() if not met), "")


def kind_for(solution, incident):
    """As which of its kinds an incident (its kinds, studies) may be solved by `solution`: the first that fits, "" if none does."""
    names = (name for kind in incident["kinds"] for name in (kind, *(f"{study}.{kind}" for study in incident["studies"])))
    return next((name for name in names if name in solution["kinds"]), "")


def holds(when, incident, named_error=False):
    """Whether the conditions of a proposal hold for an incident (its studies, site, night), of which the evidence names an error or does not."""
    several = len(set(incident["studies"])) > 1
    return (when.get("several_studies", several) == several and incident["night"] >= when.get("lasting_nights", 0)
            and when.get("named_error", named_error) == named_error and re.search(when.get("site", ""), incident["site"]) is not None)


def offered(solutions, incident):
    """The proposals for an incident, in the order of the file: [(proposal, as which kind, the words of the evidence that speak for it, or "")].

    incident : its kinds, studies, site, night and evidence, one text (no key: nothing is known). Where the evidence names an error, what is meant for
    another one is left out: nobody looks for tapes because a connection was refused.
    """
    evidence = incident.get("evidence", "")
    errors = errors_named(evidence)
    words = {one["id"]: words_for(one.get("evidence", []), evidence, errors) for one in solutions}
    named_error = bool(errors) or any(words.values())
    return [(one, kind, words[one["id"]]) for one in solutions
            if (kind := kind_for(one, incident)) and holds(one["when"], incident, named_error)
            and (words[one["id"]] or not named_error or not one.get("evidence"))]


# -------------------------------------------------------------------------------------------------------------- Feedback

COLUMNS = ["at", "incident", "kind", "site", "solution", "worked", "by", "checksum"]


def read_feedback(path):
    """(feedback, trouble): the rows of feedback.csv that are as they were written, and in one line what is wrong with the rest, "" if nothing.

    feedback : one row each: at, incident, kind, site, solution, by (text), worked (bool); none where there is no file. From a row on that was
    changed, moved or lost nothing counts: nobody knows what else was. A last line without its end is still being written.
    """
    try:
        rows, trouble, _ = _replay(Path(path))
    except OSError as error:
        rows, trouble = [], f"{Path(path).name} cannot be read ({error.strerror}), so no feedback counts"
    feedback = pd.DataFrame(rows, columns=COLUMNS, dtype="str").drop(columns="checksum")
    return feedback.assign(worked=(feedback.worked == "worked").astype(bool)), trouble


def _replay(path):
    """(rows that are as written, each a list of texts; what is wrong; length of a torn last line, bytes)."""
    last = path.with_suffix(".last")      # read before the table, which may grow meanwhile
    newest = last.read_text() if last.exists() else ""
    data = path.read_bytes() if path.exists() else b""
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig", errors="replace"), newline=""))
    rows, wrong = [], ""
    try:
        for row in reader:
            first = reader.line_num == 1
            if row and (row != COLUMNS if first else row[-1] != _seal(row[:-1], rows) or len(row) != len(COLUMNS)):
                wrong = "names other columns" if first else "was changed or moved, or what came before it is lost"
                break
            rows += [row] if row and not first else []
    except csv.Error as error:
        wrong = f"cannot be read ({error})"
    torn = len(data) - data.rfind(b"\n") - 1 if wrong and reader.line_num > data.count(b"\n") else 0
    wrong = "" if torn else wrong
    if wrong:
        wrong = f"{path.name} line {reader.line_num} {wrong}; only the feedback before it counts ({len(rows)})"
    elif newest and newest not in (f"{number} {row[-1]}\n" for number, row in enumerate(rows, 1)):
        wrong = f"{path.name} ends with row {len(rows)}, which is not that which {last.name} says was the last: its end was removed or replaced"
    return rows, wrong, torn


def _seal(texts, rows):
    """Checksum of a row's texts and of the row before; of the values, since table programs change quotes and line ends without harm."""
    return hashlib.sha256(json.dumps([rows[-1][-1] if rows else "", *texts]).encode()).hexdigest()


def as_cell(text, length=80):
    """`text` as one cell that no table program takes for a formula: one line, printable, at most `length` characters, ' before = + - and @."""
    text = "".join(c for c in " ".join(str(text).split()) if c.isprintable())[:length]
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def record_feedback(incident, solution, worked, by="", products="", solutions=""):
    """Append to <products>/feedback/feedback.csv whether `solution` worked (bool) for `incident`; returns the row as a dict, and `solutions`.

    solutions : file of proposals; empty is that of the digest that told of the incident last. ValueError in one line for an incident or solution that
    is not known, a solution that is not for its kinds, a table that somebody changed; OSError when it cannot be written: the table stays as it was.
    Of feedbacks on the same incident and solution the last counts, so one corrects oneself.
    """
    if not isinstance(worked, bool | np.bool_):
        raise ValueError(f"worked is {worked!r}: it must be True or False")
    root = resolve(products)
    about = _find_incident(root / "data/incidents", str(incident))
    path = resolve(solutions or about["solutions"])
    by_id = {one["id"]: one for one in read_solutions(path)}
    kinds = {name: kind for name, one in by_id.items() if (kind := kind_for(one, about))}
    if solution not in by_id:
        near = ", ".join(difflib.get_close_matches(str(solution), by_id, cutoff=0))
        raise ValueError(f"there is no solution {str(solution)[:60]!r}; the nearest: {near}")
    if solution not in kinds:
        raise ValueError(f"{solution} is not for {', '.join(about['kinds'])}; for it are: {', '.join(kinds) or f'none, add one to {path.name}'}")
    row = [f"{pd.Timestamp.now('UTC'):%Y-%m-%dT%H:%M:%SZ}", about["incident"], kinds[solution], as_cell(about["site"]), solution,
           "worked" if worked else "failed", as_cell(by)]
    try:
        _append(root / "feedback/feedback.csv", row)
    except OSError as error:
        raise OSError(f"{root / 'feedback/feedback.csv'}: {error.strerror or error}; nothing was recorded") from None
    return dict(zip(COLUMNS, row, strict=False)) | {"solutions": str(path)}


def _find_incident(folder, incident):
    """The incident as a dict: incident, site, night and solutions (its file of proposals) of the newest night; kinds, studies of all nights.

    A leak of last night may be a full memory tonight, and what was tried for the one is feedback still. A table that cannot be read is skipped.
    """
    seen, nights = set(), []
    for path in sorted(folder.glob("????-??-??.parquet"), reverse=True):
        try:
            night = pd.read_parquet(path, columns=["incident", "kinds", "studies", "site", "night"])
            digest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) if path.with_suffix(".json").exists() else {}
        except (OSError, ValueError) as error:      # all that Arrow and JSON raise are of these
            print(f"solutions: the night {path.stem} is skipped, it cannot be read: {' '.join(str(error).split())[:150]}", file=sys.stderr)
            continue
        nights += [{"solutions": digest.get("solutions") or "solutions.yaml"} | one for one in night[night.incident == incident].to_dict("records")]
        seen |= set(night.incident)
    if nights:
        return nights[0] | {column: list(dict.fromkeys(one for night in nights for one in night[column])) for column in ("kinds", "studies")}
    near = difflib.get_close_matches(incident, sorted(seen), cutoff=0) or [f"none, for the digest left none in {folder}"]
    raise ValueError(f"there is no incident {incident[:60]!r}; the nearest: {', '.join(near)}")


def _append(path, texts):
    """Seal and append a row, all or nothing: it is on the disk when this returns. A torn last line moves to feedback.torn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)      # others wait; the system ends the lock however this process ends
        rows, trouble, torn = _replay(path)
        if trouble:
            raise ValueError(f"{trouble}. Nothing was recorded: restore {path.parent} from a copy, or move it away to begin anew")
        data = path.read_bytes()
        size = len(data) - torn
        if torn:
            path.with_suffix(".torn").write_bytes(data[size:])
            file.truncate(size)
        row, text = [*texts, _seal(texts, rows)], io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([[]] * (data[size - 1:size] not in (b"", b"\n")) + ([row] if size else [COLUMNS, row]))
        rest = text.getvalue().encode()
        try:
            while rest:      # a disk that is nearly full takes a part, and refuses the next
                rest = rest[file.write(rest):]
            os.fsync(file.fileno())
            with atomic(path.with_suffix(".last")) as temporary:
                temporary.write_text(f"{len(rows) + 1} {row[-1]}\n")
        except OSError:
            file.truncate(size)
            raise


# --------------------------------------------------------------------------------------------------- Chances and ranking

# How tightly chances lie around the one above, in trials: a proposal around all, a kind around its proposal, a site around its kind. With ALL, ten
# imagined trials of which half worked, they make about Jeffreys' prior before the first feedback: half a trial that worked, half one that failed.
STRENGTHS, ALL = (3.0, 5.0, 10.0), (5.0, 5.0)
SHOWN = ["solution", "proposal", "effort", "chance", "low", "high", "trials", "worked"]


def effective(worked, trials, strength):
    """(worked, trials) of a branch, of any shape, as independent trials of the chance above it: at most strength + 1 (Kleinman 1973)."""
    share = (strength + 1) / (trials + strength)
    return worked * share, trials * share


def inherit(branches):
    """Beta distribution (a, b) of a chance, from the evidence at each level of the tree, top first: [(worked, trials), ...], arrays of any shape.

    At each level the evidence is that of the other branches, at the last one its own. What is known above comes down as the Beta distribution that
    has the mean and variance of a chance drawn around one known so well.
    """
    a, b = ALL
    for strength, (worked, trials) in zip((np.inf, *STRENGTHS), branches, strict=True):
        passed = 1 / (1 + (a + b + 1) / strength)
        a, b = a * passed + worked, b * passed + trials - worked
    return a, b


def tally(outcomes):
    """Evidence at each level of the tree and what its branches pass up: two lists of {(solution, kind, site)[:level]: array [worked, trials]}."""
    sums, passed = ([collections.defaultdict(lambda: np.zeros(2)) for _ in range(4)] for _ in range(2))
    sums[3].update({key: np.array([of.sum(), len(of)], float) for key, of in outcomes.groupby(["solution", "kind", "site"]).worked})
    for level in (3, 2, 1):
        for key, counts in sums[level].items():
            passed[level][key] = np.array(effective(*counts, STRENGTHS[level - 1]))
            sums[level - 1][key[:-1]] += passed[level][key]
    return sums, passed


def chances(solutions, feedback, kind, site):
    """The proposals for a `kind` (as solutions.yaml writes it) at a `site`, in the order of `solutions`, with what feedback says of each.

    One row each: SHOWN (mean chance and its 95% interval; trials and worked for this kind, at all sites), elsewhere (trials for other kinds), kind,
    a, b (the Beta distribution). A kind without proposals gives none.
    """
    outcomes, rows = feedback.drop_duplicates(["incident", "solution"], keep="last"), []
    sums, passed = tally(outcomes)
    for one in (one for one in solutions if kind in one["kinds"]):
        key = (one["id"], kind, as_cell(site))
        a, b = inherit([*(sums[level][key[:level]] - passed[level + 1][key[:level + 1]] for level in range(3)), sums[3][key]])
        of_solution = outcomes[outcomes.solution == one["id"]]
        here = of_solution.worked[of_solution.kind == kind]
        rows.append([one["id"], one["proposal"], one["effort"], a / (a + b), *stats.beta.ppf([0.025, 0.975], a, b), len(here), int(here.sum()),
                     len(of_solution) - len(here), kind, a, b])
    types = dict.fromkeys(["chance", "low", "high", "a", "b"], float) | dict.fromkeys(["trials", "worked", "elsewhere"], int)
    return pd.DataFrame(rows, columns=[*SHOWN, "elsewhere", "kind", "a", "b"]).astype(types)


def rank(solutions, feedback, incident, day):
    """The proposals for an incident, best first: the rows of `chances` with place (1 = first), reason and ranked; none where no kind of it has any.

    incident : its incident (id), kinds, studies, site, night, evidence. What its evidence speaks for comes before the rest, and says so as `reason`,
    such as "the evidence says “connection refused”", else "". In each of the two, first is the highest mean chance, of equals one made for the case;
    the others follow by Thompson sampling (Thompson 1933; Russo et al. 2018), for those whom the first has failed. Draws belong to incident and
    night `day`. ranked, the same for all: whether any of them has been tried; else their order within the two is that of the draws and means nothing.
    """
    fitting, words = collections.defaultdict(list), {}
    for one, kind, reason in offered(solutions, incident):
        fitting[kind].append(one)
        words[one["id"]] = reason
    found = pd.concat([chances(ones, feedback, kind, incident["site"]) for kind, ones in fitting.items()] or [chances([], feedback, "", "")])
    found["reason"] = [f"the evidence says “{as_cell(words[name], 60)}”" if words[name] else "" for name in found.solution]
    rng = np.random.default_rng(list(hashlib.sha256(f"{day} {incident['incident']}".encode()).digest()))
    drawn = stats.beta.ppf(rng.random(len(found)), found.a, found.b)
    general = ~found.solution.isin([one["id"] for one in solutions if any(one["when"].values())])      # not made for such a case
    rest = (found.reason == "").to_numpy()
    for group in (rest, ~rest):
        first = np.lexsort([-drawn, general, -found.chance, ~group])[:1]
        drawn[first[group[first]]] = np.inf
    found = found.iloc[np.lexsort([-drawn, rest])].reset_index(drop=True)
    return found.assign(place=np.arange(1, len(found) + 1), ranked=bool((found.trials + found.elsewhere).any()))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="solutions.py", description="Tell whether a proposal of the digest worked for an incident.")
    parser.add_argument("incident", help="as the digest names it, such as 20260119-3f2a")
    parser.add_argument("solution", help="id of the proposal, such as restart-fts")
    parser.add_argument("outcome", choices=["worked", "failed"])
    parser.add_argument("--by", default="", help="who says so; stays in the table, on no page")
    parser.add_argument("--products", default="", help="the folder of products, where config.yaml names one")
    parser.add_argument("--solutions", default="", help="the file of proposals, where not that of the digest")
    options = parser.parse_args(arguments)
    try:
        row = record_feedback(options.incident, options.solution, options.outcome == "worked", options.by, options.products, options.solutions)
    except (OSError, ValueError) as error:
        print(f"solutions: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    feedback, _ = read_feedback(resolve(options.products) / "feedback/feedback.csv")
    now = chances(read_solutions(row["solutions"]), feedback, row["kind"], row["site"]).set_index("solution").loc[options.solution]
    place, trials = f" at {row['site']}" if row["site"] else "", "1 trial" if now.trials == 1 else f"{now.trials} trials"
    print(f"Noted. For {row['kind'].replace('_', ' ')}, {options.solution} worked in {now.worked} of {trials}; its chance{place} is now "
          f"{now.chance:.0%} ({now.low:.0%} to {now.high:.0%}).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
