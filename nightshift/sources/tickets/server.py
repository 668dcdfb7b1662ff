"""The server behind an osTicket, MySQL or MariaDB: login, connection, tries, and faults as one line.

login, read_option_file   user and password, from the environment or an option file
address_of, connect       a connection that cannot write; abandon closes one that failed
may_pass, explained       which errors are tried again; what the others say
open_server               `ask`, as of a SQLite file
"""

import configparser
import math
import os
import re
from contextlib import closing, contextmanager
from pathlib import Path

import mysql.connector
import tenacity

from nightshift.sources.tickets.osticket import TABLE, lacking

# gone, lost, lost in the middle, too many connections, waited for a lock, deadlock
TRANSIENT = {2006, 2013, 2055, 1040, 1205, 1213}
NO_ANSWER = mysql.connector.errors.ReadTimeoutError, mysql.connector.errors.ConnectionTimeoutError
LOGIN_ADVICE = "refuses this login: check OSTICKET_USER and OSTICKET_PASSWORD, or the option file"


def read_option_file(file):
    """Return the options of the group [client] as a dict, {} without such a file.

    ValueError when it is damaged. FileNotFoundError where OSTICKET_OPTION_FILE names a file that is not
    there.
    """
    options = configparser.ConfigParser(interpolation=None, allow_no_value=True, strict=False)
    try:
        lines = [line.strip() for line in file.read_text().splitlines() if not line.startswith("!")]
        options.read_string("\n".join(lines))
    except (configparser.Error, UnicodeDecodeError) as error:
        # its words would repeat the line, and with it the password
        raise ValueError(f"the option file {file} cannot be read: {type(error).__name__}") from None
    except FileNotFoundError:
        if os.environ.get("OSTICKET_OPTION_FILE"):
            raise
    if "client" not in options:
        return {}
    return {name.replace("-", "_"): (value or "").strip("\"'") for name, value in options.items("client")}


def login():
    """Return user, password and certificate authority for the connector, a dict; the environment comes first.

    ValueError of one line where nobody says who logs in.
    """
    file = os.environ.get("OSTICKET_OPTION_FILE") or "~/.my.cnf"
    file = Path(os.path.expanduser(file))  # that of pathlib raises for an account without a home
    client = read_option_file(file)
    if os.environ.get("OSTICKET_USER"):
        client |= {"user": os.environ["OSTICKET_USER"], "password": os.environ.get("OSTICKET_PASSWORD", "")}
    if "user" not in client:
        raise ValueError(
            "no login: set OSTICKET_USER and OSTICKET_PASSWORD, or write user and password into the group "
            f"[client] of {file}"
        )
    account = {"user": client["user"], "password": client.get("password", "")}
    if not client.get("ssl_ca"):
        return account
    return account | {"ssl_ca": client["ssl_ca"], "ssl_verify_cert": True, "ssl_verify_identity": True}


def address_of(url):
    """Return (host, port, database) of a source; ValueError when it is something else."""
    parts = re.fullmatch(r"(?:mysql|mariadb)://(\[[^]/]+\]|[^:/?#\[\]]+)(?::(\d{1,5}))?/([^/?#]+)", url)
    if not parts:
        raise ValueError("the source is no address of a database such as mysql://host:3306/osticket")
    return parts[1].strip("[]"), int(parts[2] or 3306), parts[3]


def connect(address, *, timeout_s):
    """Open a connection to `address` (host, port, database) that cannot write.

    It is the pure one, since the compiled one does not load everywhere. timeout_s : for each answer, seconds.
    """
    host, port, database = address
    seconds = math.ceil(timeout_s)
    connection = mysql.connector.connect(
        host=host,
        port=port,
        database=database,
        use_pure=True,
        charset="utf8mb4",
        collation="utf8mb4_general_ci",
        autocommit=True,
        allow_local_infile=False,
        connection_timeout=seconds,
        read_timeout=seconds,
        write_timeout=seconds,
        **login(),
    )
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
    except mysql.connector.Error:
        abandon(connection)
        raise
    return connection


def abandon(connection):
    """Close a `connection` that failed, without waiting for its server."""
    connection.shutdown()  # without a farewell, which a hanging server would not take
    connection.close()  # where the server is gone, the first call fails silently and leaves the socket open


def may_pass(error):
    """Whether another try may help; a connection that was lost while nobody asked has no number.

    A wrong certificate stays wrong. Neither a wrong password nor a server that gives no answer is tried
    again: some servers lock an account after a few, and the other may be busy with the first question still.
    """
    lost = isinstance(error, mysql.connector.Error)
    lost = lost and (error.errno in TRANSIENT or "not available" in str(error.msg))
    return lost and "SSL" not in str(error.msg)


def explained(error, address, *, timeout_s):
    """Say in one line what to do about an `error` of the connector; it never includes a password.

    address : (host, port, database). timeout_s : how long an answer was waited for, seconds.
    """
    host, port, database = address
    code, text = error.errno, " ".join(str(error.msg).split())
    tables = [word for word in re.findall(r"\w+_\w+", text) if TABLE.fullmatch(word)]
    table = tables[-1] if tables else "a table"
    column = (re.findall(r"column '([^']+)'", text) or ["?"])[0]
    lines = {
        **dict.fromkeys((1045, 1698, 1130), LOGIN_ADVICE),
        **dict.fromkeys(
            (1044, 1049),
            f"has no database {database} for this login: check the name in the source, and the rights of the "
            "account",
        ),
        **dict.fromkeys(
            (1142, 1143), f"does not let this account read {table}: GRANT SELECT ON {database}.{table}"
        ),
        **dict.fromkeys(
            (2003, 2005),
            "cannot be reached: check host and port of the source, and whether the database is up",
        ),
        1146: f"has {lacking(table)}",
        1054: f"has {lacking(column)}",
        **dict.fromkeys(TRANSIENT, "does not stay: check whether the database is up, and its log"),
    }
    if isinstance(error, NO_ANSWER) or "timed out" in text:
        return (
            f"{host}:{port} gave no answer within {timeout_s:g} s: check whether the database is busy, "
            "or set timeout_s"
        )
    if re.search("SSL|Certificate", text):
        return f"{host}:{port} has no certificate that is trusted: check ssl-ca in the option file ({code})"
    return f"{host}:{port} {lines.get(code, 'fails: ' + text[:200])} ({code})"


@contextmanager
def open_server(url, *, timeout_s, retry_wait_s):
    """Yield `ask`, as `osticket.open_sqlite` does, of the database at `url`.

    What may pass is tried six times on a new connection, and once where `retry_wait_s` is None. The waits
    between the tries grow up to `retry_wait_s` seconds, with some chance in them, so that a server that comes
    back is not met by everybody at the same moment. What is left after the tries is a ConnectionError of one
    line that names the host and says what to check.
    """
    address, connections = address_of(url), []
    tries = tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_pass),
        stop=tenacity.stop_after_attempt(1 if retry_wait_s is None else 6),
        reraise=True,
        wait=tenacity.wait_random_exponential(1.0, max=retry_wait_s or 0),
    )

    def ask_once(query, *values):
        try:
            if not connections:
                connections.append(connect(address, timeout_s=timeout_s))
            with closing(connections[0].cursor()) as cursor:
                cursor.execute(query.replace("?", "%s"), values)
                return cursor.column_names, cursor.fetchall()
        except mysql.connector.errors.ProgrammingError:
            raise  # a question that has no answer: the connection is as good as before
        except mysql.connector.Error:
            # what it still holds of the last answer would be read as the beginning of the next
            while connections:
                abandon(connections.pop())
            raise

    try:
        yield tries.wraps(ask_once)
    except mysql.connector.Error as error:
        raise ConnectionError(explained(error, address, timeout_s=timeout_s)) from None
    finally:
        for connection in connections:
            connection.close()
