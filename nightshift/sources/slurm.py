"""Slurm's clients, asked live: what they print is saved in a file."""

import os
import subprocess
from pathlib import Path


def ask_slurm(command, path, *, timeout_s, parameter):
    """Run `command`, a client of Slurm with its arguments, and save what it prints in the file `path`, with
    times in seconds since 1970.

    Errors of one line: FileNotFoundError where there is no Slurm (it names `parameter`, which takes a saved
    file instead), TimeoutError after `timeout_s`, ConnectionError with the words of the client.
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
    """Ask which columns the sacct of this machine has, a set of names; its answer is saved at `path`.

    Errors are those of `ask_slurm`.
    """
    ask_slurm(["sacct", "--helpformat"], path, timeout_s=timeout_s, parameter=parameter)
    return set(Path(path).read_text(errors="replace").split())
