"""Slurm's clients, asked live: what they print, in a file."""

import os
import subprocess
from pathlib import Path


def ask_slurm(command, path, *, timeout_s, parameter):
    """Save what the list `command`, a client of Slurm, prints to the file `path`, its times in UTC and in
    seconds since 1970.

    FileNotFoundError where there is no Slurm (it names `parameter`, which takes a saved file instead),
    TimeoutError after `timeout_s`, ConnectionError with the client's own words: one line each.
    """
    name = command[0]
    try:
        with open(path, "wb") as out:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                timeout=timeout_s,
                env={**os.environ, "TZ": "UTC", "SLURM_TIME_FORMAT": "%s"},
            )
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no {name} on this machine: save its output where Slurm is, and name that file as "
            f"{parameter}"
        ) from None
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{name} gave no answer within {timeout_s:g} s: is slurmdbd up?") from None
    if done.returncode:
        raise ConnectionError(
            f"{name} failed ({done.returncode}): "
            f"{' '.join(done.stderr.decode(errors='replace').split())[:300]}"
        )


def sacct_fields(path, *, timeout_s, parameter):
    """Ask which columns the sacct of this machine has, a set of names; its answer goes to the file `path`.

    Errors are those of `ask_slurm`.
    """
    ask_slurm(["sacct", "--helpformat"], path, timeout_s=timeout_s, parameter=parameter)
    return set(Path(path).read_text(errors="replace").split())
