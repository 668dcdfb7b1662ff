"""Faults and kills by campaign: `python bench/chaos.py [KILLS] [SEED] [PATTERN]`; by default 100, 1 and all kinds.

Two nights of a small study are run once (tests/chaos/small_nights.py), and put back before each fault. Of every kind in tests/chaos/faults.py whose
name matches the regular expression PATTERN, a line says whether what had to hold did, and what the night in which it happened said. Then KILLS kills
of kernel, step, chain, publisher, command, or all at once, at random moments of a night. After each, the next run finds what an undisturbed night
does; nothing false is published, and nothing of feedback, silences and names of incidents is lost. Prints counts. As root, on a small disk of its
own, so that it can be filled. Kills of what scores between the nights are in bench/live_transfers.py.
"""

import contextlib
import random
import re
import signal
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "tests/chaos"), str(REPOSITORY / "bench"), str(REPOSITORY / "tests")]

from campaign import WHO, judge, judge_kill, judge_older_night, judge_two_at_once  # noqa: E402
from faults import KINDS  # noqa: E402
from full_disk import small_disk  # noqa: E402
from small_nights import BEFORE, UNPRIVILEGED, Nights, Runner  # noqa: E402


def tell(name, wrong, line_of_night):
    """Print what came of a fault; whether it came out well."""
    print(f"{'well' if not wrong else 'BADLY':<6} {name:<56} {line_of_night[:140]}", flush=True)
    print("".join(f"       {line[:300]}\n" for line in wrong), end="", flush=True)
    return not wrong


def run_kinds(nights, runners, pattern):
    """[whether it came out well] of all kinds whose name matches."""
    more = {"two runs at once": lambda: judge_two_at_once(nights), "an older night after a newer one": lambda: judge_older_night(nights, BEFORE)}
    well = [tell(name, *run()) for name, run in more.items() if re.search(pattern, name)]
    for kind in [kind for kind in KINDS if re.search(pattern, kind.name)]:
        well.append(tell(kind.name, *judge(nights, kind, runners[kind.how])))
    return well


def run_kills(nights, n, rng, took):
    """([whether it came out well] of `n` kills, how many more found the night ended)."""
    well, late = [], 0
    while len(well) < n:
        who = rng.choice(WHO)
        judged = judge_kill(nights, who, rng, took)
        late += judged is None
        if judged:
            well.append(tell(f"{who} killed", *judged))
    return well, late


def main(kills=100, seed=1, pattern=""):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing stays mounted
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(small_disk()) if UNPRIVILEGED else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runners = {"": Runner(), "unprivileged": Runner(*UNPRIVILEGED)}
        for runner in runners.values():
            stack.callback(runner.close)
        nights = Nights(folder, runners[""])
        nights.prepare()
        print(f"prepared; an undisturbed night takes {nights.took:.0f} s", flush=True)
        kinds = run_kinds(nights, runners, pattern)
        killed, late = run_kills(nights, int(kills), random.Random(int(seed)), nights.took)
    print(f"{len(kinds)} kinds of fault, {sum(kinds)} came out well")
    print(f"{len(killed)} kills, seed {seed}: {sum(killed)} came out well ({late} more found the night ended)")
    return int(not all(kinds + killed))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
