"""A served night: products with two incidents, published, and a server of them that a test starts and ends."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from typing import NamedTuple

import requests
import yaml
from conftest import REPOSITORY
from incident_tables import DAY, incident, proposal, write_incidents, write_study

from nightshift.reporting import site

LEAK, SLOW = incident("a leak", kinds=["memleak"], studies=["telemetry"]), incident("slow storage", "ongoing")
PROPOSED = {"slow storage": [proposal("Look at free space", remediation="storage-space"), proposal("Fewer", remediation="fewer-streams")]}


def publish_night(root, *rows):
    """Publish a night with incidents, by default LEAK and SLOW, below `root`; returns the path of a configuration of it."""
    write_incidents(root, rows or [LEAK, SLOW], proposals=PROPOSED)
    write_study(root, "transfers")
    executed_digest(root)
    site.render_night(root, DAY, {"transfers": DAY})
    config = {"day": DAY, "products": str(root), "site_url": "https://reports.example.org/nights/", "studies": {"transfers": {}}}
    path = root / "site.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def executed_digest(root):
    """An executed notebook of the digest, without which no incident is shown."""
    import nbformat

    made_of = {"nights": {"transfers": DAY}, "missing": []}
    notebook = nbformat.v4.new_notebook(metadata={"papermill": {"end_time": f"{DAY}T05:00:00", "parameters": made_of}})
    notebook.cells = [nbformat.v4.new_markdown_cell("# A title"), nbformat.v4.new_code_cell("1", execution_count=1)]
    nbformat.write(notebook, root / f"reports/{DAY}/digest.ipynb")


@contextlib.contextmanager
def serving(config, *options):
    """The address of a server of the night at `config`, at a free port, that ends with the block."""
    command = [sys.executable, "-m", "nightshift", "serve", "--config", str(config), "--port", "0", *options]
    server = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        started = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert started, line or server.stderr.read()
        yield started[0]
    finally:
        os.kill(server.pid, signal.SIGTERM)
        _, complaint = server.communicate(timeout=30)
    assert (server.returncode, complaint) == (0, ""), "it ends by itself, and had nothing to complain of"


class Reader(NamedTuple):
    """Somebody with the front page of the night open. session : with the cookie of the page."""

    address: str
    session: requests.Session
    token: str

    def says(self, kind, incident, headers=(), **fields):
        """The answer to a form of the page, or to a changed one."""
        body = {"_xsrf": self.token, "incident": incident} | fields
        headers = {"Accept": "application/json", "Origin": self.address} | dict(headers)
        return self.session.post(f"{self.address}/{DAY}/{kind}", data=body, headers=headers, allow_redirects=False)


def reader(address, **headers):
    """Open the front page of the night; returns its Reader."""
    session = requests.Session()
    session.trust_env = False
    session.headers.update(headers)
    page = session.get(f"{address}/{DAY}/").text
    return Reader(address, session, re.search(r'name="_xsrf" value="([^"]+)"', page)[1])
