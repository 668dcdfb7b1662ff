"""What Snakemake would run, asked of a process that has imported it once: a plan takes 0.7 s of a processor instead of 2.4.

Each line of standard input is a JSON list: a checkout, a target, and settings that differ from its config.yaml. The answer is another: the exit code
of Snakemake, and what the command nightshift would say of products that it makes again, then the plan.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import pandas  # noqa: F401  # which Snakemake imports when it compares parameters, and smart_open when it compares files
import smart_open  # noqa: F401
import snakemake.cli
import typer  # noqa: F401  # which the command itself imports


def plan(checkout, target, change):
    """Print the plan of a checkout, by the package of that checkout, and end this process."""
    os.chdir(checkout)
    sys.path.insert(0, checkout)
    from nightshift.config import check, read_yaml
    from nightshift.night import arguments_of

    with tempfile.TemporaryDirectory() as folder:
        arguments, lines = arguments_of(target, check(read_yaml("config.yaml") | change), "2", Path(folder))
        print("\n".join(lines))
        snakemake.cli.main(["-n", *arguments])


def main():
    snakemake.cli.get_argument_parser()  # finds the plugins, a quarter of a second
    for asked in sys.stdin:
        with tempfile.TemporaryFile("w+") as output:
            if (child := os.fork()) == 0:
                os.dup2(output.fileno(), 1)
                plan(*json.loads(asked))
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            output.seek(0)
            print(json.dumps([code, output.read()]), flush=True)


if __name__ == "__main__":
    main()
