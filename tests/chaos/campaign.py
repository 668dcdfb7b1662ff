"""What one fault leaves: whether the nights after it are right, by kind of fault and for kills at random moments."""

import re
import signal
import time

import psutil
from faults import MODELS
from small_nights import NIGHT, differing, falsehoods, lost, tables, unread


def judge_first(nights, kind, outcome, spoken):
    """What is wrong with the night in which the fault was, a line each."""
    wrong = [f"a bare traceback: {line}" for line in outcome.lines if line.startswith(("Traceback", "  File "))]
    wrong += falsehoods(nights.root, nights.undisturbed, outcome) + lost(nights, spoken)
    if not kind.line:
        wrong += ended_badly(nights, outcome)
    elif not any(re.search(kind.line, line) for line in outcome.lines):
        wrong.append(f"no line matches {kind.line!r}: it ended with {outcome.code}, {outcome.lines}")
    if outcome.code not in range(4):
        wrong.append(f"it ended with {outcome.code}")
    if outcome.code and not outcome.lines:
        wrong.append(f"it ended with {outcome.code} and said nothing")
    return wrong


def ended_badly(nights, outcome, *, exact=True):
    """What is wrong with a night that must end well, a line each; exact : see small_nights.differing."""
    wrong = [] if outcome.code == 0 else [f"it ended with {outcome.code}: {outcome.lines}"]
    wrong += [f"not as of an undisturbed night: {name}" for name in differing(nights.root, nights.undisturbed, exact=exact)]
    return wrong + falsehoods(nights.root, nights.undisturbed, outcome)


def judge(nights, kind, runner):
    """Let a fault happen and judge the nights after it: (lines of what is wrong, what the first of them said)."""
    nights.put_back(kind.begin)
    if kind.at:
        spoken = nights.spoken()
        first = nights.run_disturbed(*kind.at, lambda: kind.make(nights), runner=runner)
    else:
        kind.make(nights)
        spoken = nights.spoken()
        first = nights.run(runner=runner)
    wrong = judge_first(nights, kind, first, spoken)
    if kind.line or kind.at:
        kind.mend(nights)
        second = nights.run()
        wrong += [f"the next run: {line}" for line in ended_badly(nights, second, exact=kind not in MODELS) + unread(nights)]
    matching = [line for line in first.lines if kind.line and re.search(kind.line, line)]
    return wrong, f"{first.code} {(matching or first.lines or ['(no line)'])[0]}"


# ------------------------------------------------------------------------------------------------- kills

WHO = ("kernel", "step", "chain", "publisher", "command", "all")


def kill_when_there(nights, number, who, moment):
    """Kill a part of the night that process `number` runs, at `moment` (s from now) or as soon as it is there; whether it was.

    who : of WHO; "command" is the process alone, "all" it and whatever it has started.
    """
    time.sleep(moment)
    while psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
        if who in ("command", "all"):
            everybody = [psutil.Process(number), *(psutil.Process(number).children(recursive=True) if who == "all" else [])]
            return sum(map(kill, everybody)) > 0
        parts = nights.parts_of(number)
        if who in parts:
            return kill(parts[who])
        time.sleep(0.002)
    return False


def kill(process):
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


def judge_kill(nights, who, rng, took):
    """Kill a part of the second night at a random moment and run it again: (lines of what is wrong, what the killed one said); None where it ended
    before. took : seconds of an undisturbed night.
    """
    nights.put_back("before")
    spoken, night = nights.spoken(), nights.start()
    if not kill_when_there(nights, night[0], who, rng.uniform(0, took)):
        nights.end(night)
        return None
    first = nights.end(night)
    wrong = falsehoods(nights.root, nights.undisturbed, first) + lost(nights, spoken)
    if first.code == 0 and who != "publisher":
        wrong += ended_badly(nights, first)
    if who not in ("command", "all") and first.code and not first.lines:  # 0 is of a step that had left all that it leaves
        wrong.append(f"it ended with {first.code} and said nothing")
    wrong += [f"a bare traceback: {line}" for line in first.lines if line.startswith(("Traceback", "  File "))]
    second = nights.run()
    wrong += [f"the next run: {line}" for line in ended_badly(nights, second) + unread(nights)]
    return wrong, f"{first.code} {(first.lines or ['(no line)'])[0]}"


# ------------------------------------------------------------------------------------------------- two at once


def judge_two_at_once(nights):
    """Start the second night twice: one of them does it, the other says who does."""
    nights.put_back("before")
    one, other = nights.start(), nights.start()
    ended = sorted([nights.end(one), nights.end(other)], key=lambda outcome: outcome.code)
    wrong = ended_badly(nights, ended[0])
    if ended[1].code != 3 or not any("another run" in line for line in ended[1].lines):
        wrong.append(f"the other ended with {ended[1].code}: {ended[1].lines}")
    return wrong, f"{ended[1].code} {ended[1].lines[:1]}"


def judge_older_night(nights, before):
    """Run the night before once more after the second one, whose pages stay; then the second one again. What people said since counts in both,
    so of the night before only the names of its incidents stay.
    """
    nights.put_back("after")
    pages = (nights.root / f"reports/{NIGHT}/index.html").read_bytes()
    spoken, older = nights.spoken(), nights.run(before)
    wrong = [] if (nights.root / f"reports/{NIGHT}/index.html").read_bytes() == pages else ["the pages of the newer night changed"]
    table = f"data/incidents/{before}.parquet"
    if list(tables(nights.root)[table].incident) != list(nights.undisturbed[table].incident):
        wrong.append("the older night has other incidents")
    wrong += lost(nights, spoken) + [f"the next run: {line}" for line in ended_badly(nights, nights.run()) if before not in line]
    return wrong, f"{older.code} {(older.lines or ['(no line)'])[0]}"
