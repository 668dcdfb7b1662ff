"""A whole night with several faults at once and a kill at a random moment; bench/chaos.py has all kinds of fault, one by one, and many kills."""

import contextlib
import os
import random
import re

import pytest
from campaign import kill_when_there
from faults import KINDS
from small_nights import NIGHT, Nights, Runner, falsehoods, tables, unread

AT_ONCE = ["the clean table is cut", "the findings are cut", "the incidents of tonight are cut", "the front page is empty", "the feed is spoilt"]
INCIDENTS = f"data/incidents/{NIGHT}.parquet"


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    with contextlib.closing(Runner()) as runner:
        nights = Nights(tmp_path_factory.mktemp("chaos"), runner)
        nights.prepare(alone=True)
        yield nights


def test_a_damaged_night_whose_kernel_is_killed_is_made_again_by_the_same_command(nights):
    nights.speak(NIGHT)
    kinds = [kind for kind in KINDS if kind.name in AT_ONCE]
    for kind in kinds:
        kind.make(nights)
    spoken, seed = nights.spoken(), int(os.environ.get("NIGHTSHIFT_SEED") or random.randrange(10**6))
    night = nights.start()
    killed = kill_when_there(nights, night[0], "kernel", random.Random(seed).uniform(0, 6))
    first = nights.end(night)
    print(f"{len(kinds)} kinds of fault at once, {int(killed)} kill, seed {seed}: {first}")
    assert len(kinds) == len(AT_ONCE)
    assert not killed or first.code == 1
    assert not [line for line in first.lines if line.startswith(("Traceback", "  File "))]
    of_study = [kind.line for kind in kinds if r"accounting\." in kind.line]  # the digest is due: somebody spoke
    assert len(of_study) == 2
    assert not [line for line in of_study if not re.search(line, "\n".join(first.lines))]
    assert falsehoods(nights.root, nights.undisturbed, first) == []
    assert nights.run().code == 0
    found = tables(nights.root)
    assert found["data/findings/accounting.parquet"].equals(nights.undisturbed["data/findings/accounting.parquet"])
    assert list(found[INCIDENTS].incident) == list(nights.undisturbed[INCIDENTS].incident), "names stay"
    assert list(found[INCIDENTS].silenced_as) == ["", "silenced"]
    assert (nights.spoken(), unread(nights)) == (spoken, [])
