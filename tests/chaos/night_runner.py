"""Nights as forks of one process that has imported their libraries: a night of a small study takes 6 s of a processor instead of 15.

Each line of standard input is a JSON list, answered by a line: ["start", ERRORS, FUNCTION, ARGUMENT, ...] calls a function of nightshift.night in a
process and a session of its own, whose standard error goes to the file ERRORS, and answers with its number; ["wait", NUMBER] answers with its exit
code, negative for a signal. It may run under setpriv, without the capabilities of root.
"""

import importlib
import json
import os
import sys
import traceback

from nightshift import forkserver, night


def start(errors, function, *arguments):
    """Number of a new process that calls a function of nightshift.night."""
    if number := os.fork():
        return number
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), 2)
    code = 70
    try:
        code = getattr(night, function)(*arguments)
    except BaseException:  # this process must not go on as another runner
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(number):
    """Exit code of a process that `start` has started."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def main():
    forkserver.import_libraries()
    for name in night.SLOW:
        importlib.import_module(name)
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        print({"start": start, "wait": wait}[what](*arguments), flush=True)


if __name__ == "__main__":
    main()
