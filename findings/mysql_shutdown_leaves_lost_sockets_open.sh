#!/bin/bash
# shutdown() of mysql-connector-python 26.10.0 is said to close the connection of the client. Where the server is gone, the system refuses to shut the
# socket down, and the line that would close it is skipped with the error: it stays open until it is collected. close() closes it, and after
# shutdown() does not wait for the server.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq mysql-connector-python==26.10.0; } ||
  { echo "cannot install mysql-connector-python 26.10.0"; exit 2; }
seen=$("$work/venv/bin/python" - <<'P'
import socket, struct
from importlib.metadata import version
from mysql.connector.network import MySQLTCPSocket

print("mysql-connector-python", version("mysql-connector-python"))
with socket.create_server(("127.0.0.1", 0)) as server:
    for gone in (False, True):
        client = MySQLTCPSocket("127.0.0.1", server.getsockname()[1])
        client.open_connection()
        peer = server.accept()[0]
        if gone:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # as a killed server does: a reset
            peer.close()
            try:
                client.recv()
            except Exception as error:
                print("the server is gone:", type(error).__name__)
        client.shutdown()
        print("after shutdown(): open" if client.sock.fileno() >= 0 else "after shutdown(): closed")
        client.close_connection()
        print("after close_connection(): open" if client.sock.fileno() >= 0 else "after close_connection(): closed")
        peer.close()
P
)
echo "$seen"
[[ $seen == *"python 26.10.0"*"after shutdown(): closed"*"server is gone"*"after shutdown(): open"*"after close_connection(): closed"* ]]
