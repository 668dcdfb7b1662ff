"""A private MariaDB for tests: on loopback, as the user who runs it, in a folder of its own; no service of the machine is touched."""

import getpass
import subprocess
from contextlib import contextmanager
from types import SimpleNamespace

from daemons import PATH, free_ports, lacking, running

PROGRAMS = ["mariadbd", "mariadb-install-db", "mariadb"]


def missing():
    """Programs that a server needs and this machine lacks."""
    return lacking(PROGRAMS)


@contextmanager
def mariadb(folder, *options, port=None):
    """Run a server in `folder` (short: sockets have long names) with more `options` of mariadbd; a folder that had one keeps its data.

    Yields a namespace: port, process, and sql(statements, database="") -> what the client prints, as the root of the database. Takes a second or two.
    """
    port, data, user = port or free_ports(1)[0], folder / "sql", getpass.getuser()
    own = ["--no-defaults", f"--datadir={data}", f"--user={user}"]  # --no-defaults keeps /etc/mysql out, and must come first
    env = {"PATH": PATH}
    if not data.exists():
        data.mkdir()
        made = subprocess.run(
            ["mariadb-install-db", *own, "--auth-root-authentication-method=normal", "--skip-test-db"], env=env, capture_output=True, text=True
        )
        if made.returncode:
            raise RuntimeError(f"mariadb-install-db failed: {made.stderr[-500:]}")

    def client(statements, database=""):
        command = ["mariadb", "--no-defaults", f"--socket={folder}/sql.sock", "--user=root", "--default-character-set=utf8mb4", "--batch"]
        command += [database] if database else []
        return subprocess.run(command, input=statements, env=env, capture_output=True, text=True, timeout=60)

    def sql(statements, database=""):
        done = client(statements, database)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    small = ["--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2", "--skip-name-resolve", "--skip-log-bin"]
    listen = [f"--socket={folder}/sql.sock", f"--port={port}", "--bind-address=127.0.0.1", f"--pid-file={folder}/sql.pid"]
    with running(["mariadbd", *own, *listen, *small, *options], folder, ready=lambda: client("SELECT 1").returncode == 0) as process:
        yield SimpleNamespace(port=port, process=process, sql=sql)
