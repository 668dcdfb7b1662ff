"""Start the processes of a night as forks of one that has imported what all of them need.

Each step takes two processes, one that runs the notebook and its kernel. On their own, both would import
Jupyter, pandas, seaborn and scikit-learn before they begin. A server does that once, when the first of them
asks:

    python -m nightshift.forkserver MODULE:FUNCTION ARGUMENT ...

calls a function as a whole program, in a fork of the server; where there is no server, in its own process.
The caller sees no difference: standard streams, working folder and environment are its own, signals reach the
fork, and the exit code of the fork, or the signal that ended it, is passed back.

multiprocessing has such a server as well, but only for the children of one process; here Snakemake and a
shell stand between the command and its steps.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys

ADDRESS = "NIGHTSHIFT_FORKSERVER"  # environment variable that holds the path of the server's socket
LIBRARIES = (
    "scipy.special",  # first, see SLOW of nightshift/night.py
    "nightshift.models",
    "ipykernel.kernelapp",
    "numba",
    "awkward.numba",  # numba imports it, where it is installed, when a process first compiles anything
    "papermill",
    "pandas",
    "pandera.backends.pandas.builtin_checks",
    "pandera.pandas",
    "pyarrow.parquet",
    "seaborn",
    "sklearn.ensemble",
    "tqdm",
)  # none that starts threads when it is imported, since a fork loses them: JAX does when it first computes
NETWORKS = ("jax.numpy", "keras")  # 1.7 s of a processor, if the study.yaml of a study says so
# how kernels draw: the backend that ipykernel sets where it imports matplotlib itself
INLINE = "module://matplotlib_inline.backend_inline"
PATIENCE_S = 2  # the longest wait for a process that was asked to end
PASSED_ON = {signal.SIGTERM, signal.SIGINT}


def call(arguments):
    """Call the function "module:function", the first of the `arguments`, with them as its command line; this
    ends the process.
    """
    sys.argv = arguments
    module, _, function = arguments[0].partition(":")
    sys.exit(getattr(importlib.import_module(module), function)())


# ------------------------------------------------------------------------------------------------- the caller


def main():
    """Call what the command line names, in a fork of the server if there is one."""
    arguments, connection = sys.argv[1:], socket.socket(socket.AF_UNIX)
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # signals that arrive before the fork wait for it
    try:
        connection.connect(os.environ.get(ADDRESS, ""))
        child, answers = ask(connection, arguments)
    except (OSError, ValueError):  # there is none, or it is about to end
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        call(arguments)
    status = watch(child, connection, answers)
    if status < 0:  # ended by a signal, as whoever waits for this process must see
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def ask(connection, arguments):
    """Ask the server at the other end of `connection` for a fork; returns (its process number, the file from
    which its exit code can be read).
    """
    request = {
        "arguments": arguments,
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "leads": os.getpgrp() == os.getpid(),
    }
    socket.send_fds(connection, [b" "], [0, 1, 2])
    connection.sendall(json.dumps(request).encode() + b"\n")
    answers = connection.makefile()
    return int(answers.readline()), answers


def watch(child, connection, answers):
    """Wait for the process numbered `child` and return its exit code, negative for a signal; pass signals
    on.
    """
    leads, parent = os.getpgrp() == os.getpid(), os.getppid()

    def pass_on(number, frame):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    signal.signal(signal.SIGTERM, pass_on)
    # an interrupt from the keyboard reaches a fork by itself, unless it leads a group of its own
    signal.signal(signal.SIGINT, pass_on if leads else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    while not select.select([connection], [], [], 1)[0]:
        if os.getppid() != parent:  # nobody waits any more: the connection closes, which ends the fork
            return 1
    return int(answers.readline() or 1)


# ------------------------------------------------------------------------------------------------- the server


@contextlib.contextmanager
def running(folder, *, networks=True):
    """Run a server while the block runs, with its socket in `folder`; none where that path is too long for a
    socket. It is a fork of this process, and ends with it. networks : whether it imports NETWORKS.
    """
    # imported here, since callers, of which each step has two, take 0.05 s without it and 0.075 s with it
    import multiprocessing

    path = os.path.join(folder, "forkserver")
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(path)
        except OSError:
            yield
            return
        listener.listen(64)
        server = multiprocessing.get_context("fork").Process(target=serve, args=(listener, networks))
        server.start()
    os.environ[ADDRESS] = path
    try:
        yield
    finally:
        del os.environ[ADDRESS]
        while server.is_alive():  # Python drops a signal that reaches a fork before it has begun
            server.terminate()
            server.join(2 * PATIENCE_S)  # which is longer than the server waits for its own


def serve(listener, networks):
    """Fork for whoever connects to the socket `listener`, until the parent of this process ends."""
    import multiprocessing
    from multiprocessing.connection import wait

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it outlives its callers
    # OpenMP reads how many threads it may use when it is loaded, which is here and not in a fork. A step has
    # one processor: where steps had two threads they waited for one another, and boosting took ten times as
    # long
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    parent = multiprocessing.parent_process().sentinel
    children = {}  # connection: process
    try:
        while True:
            # for a second at most, since the end of a child goes unnoticed while a child of its own still
            # holds its files
            ready = wait([parent, listener, *children, *(child.sentinel for child in children.values())], 1)
            if parent in ready:
                return
            if listener in ready:
                with contextlib.suppress(OSError, ValueError):  # the caller has gone
                    connection, _ = listener.accept()
                    children[connection] = fork(connection, [listener, *children, connection], networks)
            for connection, child in list(children.items()):
                if child.exitcode is not None:
                    with contextlib.suppress(OSError):
                        connection.sendall(f"{child.exitcode}\n".encode())
                    connection.close()
                    del children[connection]
                elif connection in ready:  # the caller has ended
                    child.kill()
    finally:
        for child in children.values():
            child.terminate()  # so that a step can note in its record that it was stopped
        wait([child.sentinel for child in children.values()], PATIENCE_S)
        for child in children.values():
            child.kill()


def fork(connection, inherited, networks):
    """Read what is asked on `connection` and start it; returns the process. inherited : sockets that it must
    not keep. networks : as of `running`.
    """
    import multiprocessing

    import_libraries(networks=networks)
    _, streams, *_ = socket.recv_fds(connection, 1, 3)
    request = json.loads(connection.makefile().readline())
    child = multiprocessing.get_context("fork").Process(target=become, args=(request, streams, inherited))
    child.start()
    for stream in streams:
        os.close(stream)
    connection.sendall(f"{child.pid}\n".encode())
    return child


def import_libraries(*, networks=True):
    """Import what the forks need; networks : as of `running`."""
    # pandera imports it, where it is installed, to generate tables for tests: an eighth of all these imports
    sys.modules.setdefault("hypothesis", None)
    for name in (*LIBRARIES, *NETWORKS) if networks else LIBRARIES:
        importlib.import_module(name)
    import matplotlib
    import nbformat

    # the schema of notebooks is compiled when the first one is checked, which takes 0.07 s of each step
    nbformat.reads(nbformat.writes(nbformat.v4.new_notebook()), as_version=4)
    matplotlib.rcParams["backend"] = os.environ.get("MPLBACKEND", INLINE)
    gc.freeze()  # so that no fork searches it for garbage, which takes half a second when a kernel ends


def become(request, streams, inherited):
    """Make this new process what the `request` asks for."""
    for one in inherited:
        one.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    if request["leads"]:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    atexit._clear()  # those of the server's parent must not run here; multiprocessing itself runs none
    try:
        call(request["arguments"])
    finally:
        atexit._run_exitfuncs()


if __name__ == "__main__":
    main()
