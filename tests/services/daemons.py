"""How the tests start real servers: in the foreground, on loopback, in a folder of their own, and stopped by process id."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager

import pytest

PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"


def lacking(programs):
    """Those of `programs` that this machine lacks."""
    return [name for name in programs if not shutil.which(name, path=PATH)]


def certificate(folder, name="certificate", host="IP:127.0.0.1"):
    """(certificate, key), files in `folder`, of a host that nobody but itself has signed."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    signed, key = folder / f"{name}.pem", folder / f"{name}.key"
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName={host}"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, "-keyout", key, "-out", signed]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return signed, key


def free_ports(n):
    """`n` ports of loopback that nothing listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_until(holds, seconds):
    """Whether `holds()` became true within so many seconds."""
    until = time.monotonic() + seconds
    while not (good := holds()) and time.monotonic() < until:
        time.sleep(0.1)
    return bool(good)


@contextmanager
def running(command, folder, *, ready, env=None):
    """Run a daemon with its output in `folder`, from when `ready()` is true until the block ends; yields its process.

    RuntimeError with the last words of its logs when it does not come up within half a minute.
    """
    name = command[0]
    with (folder / f"{name}.out").open("wb") as log:
        daemon = subprocess.Popen(
            command, env=env or {"PATH": PATH}, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        if not wait_until(lambda: daemon.poll() is not None or ready(), 30) or daemon.poll() is not None:
            last = [path.read_text(errors="replace")[-500:] for path in folder.glob(f"{name}.*") if path.suffix in (".log", ".out")]
            raise RuntimeError(f"{name} did not come up: {' '.join(last)}")
        yield daemon
    finally:
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
