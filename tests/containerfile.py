"""The instructions of deploy/Containerfile."""

import json
import re

from conftest import REPOSITORY


def stages():
    """[(instruction, its words)] of each stage, lines that go on joined and comments left out; first what stands before them."""
    text = re.sub(r"^#.*\n", "", (REPOSITORY / "deploy/Containerfile").read_text(), flags=re.M).replace("\\\n", " ")
    found = [[]]
    for line in text.splitlines():
        if line.strip():
            instruction, _, words = line.partition(" ")
            if instruction == "FROM":
                found.append([])
            found[-1].append((instruction, " ".join(words.split())))
    return found


def copied():
    """{path in the repository: path below /opt/nightshift} of what the first stage copies."""
    found = {}
    for instruction, words in stages()[1]:
        if instruction == "COPY":
            *sources, target = words.split()
            for source in sources:
                found[source] = source if target in ("./", source) else target + source.rpartition("/")[2]
                assert found[source] == source
    return found


def entry():
    """The command line with which a container starts, without its arguments."""
    return json.loads(dict(stages()[2])["ENTRYPOINT"])


def environment():
    """Variables of the environment of a container."""
    return dict(pair.split("=", 1) for pair in dict(stages()[2])["ENV"].split())


def command(instruction="CMD"):
    """The arguments of CMD or of HEALTHCHECK, a list."""
    return json.loads(re.search(r"\[.*\]", dict(stages()[2])[instruction])[0])
