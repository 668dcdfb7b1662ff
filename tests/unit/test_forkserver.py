"""Whoever starts a process through the server sees what it would see without one."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from conftest import REPOSITORY

from nightshift import forkserver
from nightshift.forkserver import ADDRESS

TARGETS = """import os, signal, sys, time

def show():
    print(sys.argv[1:], os.getcwd(), os.environ["COLOUR"], sys.stdin.readline() if len(sys.argv) > 2 else os.read(0, 9).decode().strip())
    print("an error", file=sys.stderr)

def leave():
    return 3

def fail():
    raise KeyError("nothing")

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def rest():
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
    print(os.getpid(), os.getpgrp(), flush=True)
    time.sleep(60)

def threads():
    import sklearn.utils, threadpoolctl
    print(sorted({one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "openmp"}))

def imported():
    import atexit
    atexit.register(print, "the end", flush=True)
    print("first" in sys.modules, os.getppid())
"""
DRIVER = """import sys
from nightshift import forkserver
forkserver.LIBRARIES = ("first",)
with forkserver.running(sys.argv[1], networks=False):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The folder of a server's socket, and its parent."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "targets.py").write_text(TARGETS)
    (folder / "first.py").write_text("import sklearn.utils")  # which loads OpenMP
    path = os.pathsep.join([str(folder), str(REPOSITORY)])
    command = [sys.executable, "-c", DRIVER, str(folder)]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | {"PYTHONPATH": path}
    parent = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "ready\n"
    yield folder, parent
    parent.stdin.close()
    assert parent.wait(10) == 0


@pytest.fixture(params=["a fork", "a process of its own"])
def start(request, server, tmp_path):
    """A function that starts a process, by the server and without one."""
    address = str(server[0] / "forkserver") if request.param == "a fork" else str(tmp_path / "nobody")
    environment = os.environ | {ADDRESS: address, "PYTHONPATH": f"{server[0]}{os.pathsep}{REPOSITORY}", "COLOUR": "grün", "OMP_NUM_THREADS": "1"}

    def started(target, *arguments, **more):
        command = [sys.executable, "-m", "nightshift.forkserver", f"targets:{target}", *arguments]
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
        )

    return started


def test_streams_arguments_folder_and_environment_are_those_of_the_caller(start, tmp_path):
    process = start("show", "x y")
    printed, errors = process.communicate("asked\n")
    assert process.returncode == 0, errors
    assert printed == f"['x y'] {tmp_path} grün asked\n"
    assert errors == "an error\n"


@pytest.mark.parametrize(("target", "code", "line"), [("leave", 3, ""), ("fail", 1, "KeyError: 'nothing'"), ("die", -signal.SIGKILL, "")])
def test_the_exit_code_or_the_signal_comes_back(start, target, code, line):
    process = start(target)
    _, errors = process.communicate()
    assert process.returncode == code
    assert line in errors


@pytest.mark.parametrize("leads", [False, True])
def test_a_signal_reaches_the_process_and_one_that_leads_a_group_still_does(start, leads):
    process = start("rest", start_new_session=leads)
    number, group = map(int, process.stdout.readline().split())
    assert (number == group) == leads
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 7


def test_a_fork_finds_imported_what_the_server_has_imported_and_ends_as_a_process_does(start, server):
    process = start("imported")
    found, parent = process.communicate()[0].split()[:2]
    assert (found == "True") == (int(parent) != os.getpid())


def test_openmp_has_one_thread_as_snakemake_tells_each_step_though_the_server_has_loaded_it(start):
    printed, errors = start("threads").communicate()
    assert printed == "[1]\n", errors


def test_a_fork_ends_with_whoever_asked_for_it_and_all_end_with_the_parent_of_the_server(server, tmp_path):
    folder, _ = server
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}"}
    own = tmp_path / "own"
    own.mkdir()
    parent = subprocess.Popen([sys.executable, "-c", DRIVER, str(own)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    parent.stdout.readline()
    command = [sys.executable, "-m", "nightshift.forkserver", "targets:rest"]
    environment |= {ADDRESS: str(own / "forkserver")}
    first, second = (subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True) for _ in range(2))
    forks = [psutil.Process(int(process.stdout.readline().split()[0])) for process in (first, second)]
    first.kill()
    forks[0].wait(5)
    assert forks[1].is_running()
    parent.kill()
    forks[1].wait(5)
    assert second.wait(5) == 1
    for process in (parent, first):
        process.wait(5)


@pytest.fixture(scope="module")
def as_the_server():
    """Of a process that imports what the server does: its threads then, packages that are not imported by then, and a sum by PyTorch after that."""
    code = """if True:
    import json, sys
    from pathlib import Path
    from nightshift import forkserver
    forkserver.import_libraries()
    threads = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    absent = {"dask", "pytest", "torch"} - set(sys.modules)
    import dask, torch
    print(json.dumps([sorted(threads - {"jemalloc_bg_thd"}), sorted(absent), torch.add(1, 2).item()]))
    """
    alone = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def deaf_once(listener, networks):
    """A server that the first signal does not reach, as one that has not begun yet."""
    heard = []
    signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    os.kill(os.getppid(), signal.SIGUSR1)  # it can hear now
    while len(heard) < 2:
        signal.pause()


def test_a_server_that_a_signal_did_not_reach_is_asked_again(tmp_path, monkeypatch):
    """Python drops signals that come between a fork and its first line: a night then waited for ever."""
    began = []
    monkeypatch.setattr(forkserver, "serve", deaf_once)
    monkeypatch.setattr(forkserver, "PATIENCE_S", 0.05)
    before = signal.signal(signal.SIGUSR1, lambda *_: began.append(1))
    try:
        with forkserver.running(str(tmp_path)):
            assert any(began or time.sleep(0.01) for _ in range(1000)), "it does not begin"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ADDRESS not in os.environ


def test_what_the_server_imports_starts_no_thread_that_a_fork_would_lack(as_the_server):
    """OpenBLAS, told here to need none, and the allocator of pyarrow start theirs again after a fork."""
    [name] = as_the_server[0]
    assert name.startswith("python")


def test_storing_models_imports_neither_pytorch_nor_dask_and_hides_them_from_nobody(as_the_server):
    """Tickets import PyTorch after it, and heavy tables Dask."""
    assert as_the_server[1:] == [["dask", "pytest", "torch"], 3]
