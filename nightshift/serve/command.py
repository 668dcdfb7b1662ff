"""The command `nightshift serve`: whether the server may start, and how it ends."""

import asyncio
import contextlib
import ipaddress
import logging
import signal
import time
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from nightshift import night
from nightshift.reporting.settings import site_settings
from nightshift.serve.server import Site, application, audit

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
PATIENCE_S = 20  # for a request to arrive, and for a connection to send its next one
LOG = "feedback/serve.log"  # below the products folder


def serve(path, host, port, user_header=""):
    """Serve the site of the configuration at `path` until SIGTERM or SIGINT; returns the exit code.

    host, port : where it listens. user_header : as in Site. Whatever prevents the start is one line on
    stderr.
    """
    try:
        site = site_of(path, host, user_header)
        keep_log(site.root / LOG)
        sockets = bind_sockets(port, host)
    except (ValueError, RuntimeError) as error:
        return night.refuse(error)
    except OSError as error:
        return night.refuse(f"{error.filename or f'{host}:{port}'} cannot be used: {error.strerror}")
    asyncio.run(run(site, sockets))
    return night.WELL


def site_of(path, host, user_header):
    """The Site that the options describe; ValueError says in one line what is wrong."""
    if not is_loopback(host) and not user_header:
        raise ValueError(
            f"--host is {host!r}, which others reach: name the header in which a proxy says who reads, "
            "such as --user-header X-Forwarded-User"
        )
    config, _, root = night.night_of(path)
    address = urlsplit(site_settings(config)[1])
    origin = f"{address.scheme}://{address.netloc}" if address.netloc else ""
    name = f"[{host}]" if ":" in host else host.lower()
    hosts = frozenset([*LOOPBACK, name, *([address.hostname] if origin else [])])
    return Site(root, hosts, origin, user_header, night.this_user())


def is_loopback(host):
    """Whether only this machine reaches a host, a name or an address."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def keep_log(path):
    """Append a line to the file at `path` for each reply, whether it was accepted or refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    form = logging.Formatter("%(asctime)sZ %(message)s", "%Y-%m-%dT%H:%M:%S")
    form.converter = time.gmtime
    handler.setFormatter(form)
    audit.addHandler(handler)
    audit.setLevel(logging.INFO)


async def run(site, sockets):
    """Serve a `site`, a Site, on bound sockets until SIGTERM or SIGINT; a reply that has begun is written."""
    server = HTTPServer(
        application(site),
        xheaders=bool(site.user_header),
        idle_connection_timeout=PATIENCE_S,
        body_timeout=PATIENCE_S,
    )
    server.add_sockets(sockets)
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    host, port = sockets[0].getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    print(f"Serving {site.root / 'reports'} at http://{address}:{port}/ until Ctrl-C", flush=True)
    await ended.wait()
    server.stop()
