"""A private MariaDB for tests: on loopback, as the user who runs it, in a folder of its own; no service of the machine is touched."""

import getpass
import subprocess
from contextlib import contextmanager
from types import SimpleNamespace

from daemons import PATH, free_ports, lacking, running

PROGRAMS = ["mariadbd", "mariadb-install-db", "mariadb"]
# A log of 8 MB instead of 96, and no waiting for the disk: what is killed here is the server, never the machine.
SMALL = ["--innodb-buffer-pool-size=64M", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync"]


def missing():
    """Programs that a server needs and this machine lacks."""
    return lacking(PROGRAMS)


def install(data):
    """Make the folder `data` of a server that nobody has used yet; it may be copied, which takes no time."""
    data.mkdir()
    made = subprocess.run(
        ["mariadb-install-db", *own(data), *SMALL, "--auth-root-authentication-method=normal", "--skip-test-db"],
        env={"PATH": PATH},
        capture_output=True,
        text=True,
    )
    if made.returncode:
        raise RuntimeError(f"mariadb-install-db failed: {made.stderr[-500:]}")


def own(data):
    """Options that keep /etc/mysql out; they must come first."""
    return ["--no-defaults", f"--datadir={data}", f"--user={getpass.getuser()}"]


@contextmanager
def mariadb(folder, *options, port=None):
    """Run a server in `folder` (short: sockets have long names) with more `options` of mariadbd; a folder that had one keeps its data.

    Yields a namespace: port, process, and sql(statements, database="") -> what the client prints, as the root of the database. Takes a second or two.
    """
    port, data, env = port or free_ports(1)[0], folder / "sql", {"PATH": PATH}
    if not data.exists():
        install(data)

    def client(statements, database=""):
        command = ["mariadb", "--no-defaults", f"--socket={folder}/sql.sock", "--user=root", "--default-character-set=utf8mb4", "--batch"]
        command += [database] if database else []
        return subprocess.run(command, input=statements, env=env, capture_output=True, text=True, timeout=60)

    def sql(statements, database=""):
        done = client(statements, database)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    listen = [f"--socket={folder}/sql.sock", f"--port={port}", "--bind-address=127.0.0.1", f"--pid-file={folder}/sql.pid"]
    command = ["mariadbd", *own(data), *SMALL, *listen, "--skip-name-resolve", "--skip-log-bin", *options]
    with running(command, folder, ready=lambda: client("SELECT 1").returncode == 0) as process:
        yield SimpleNamespace(port=port, process=process, sql=sql)
