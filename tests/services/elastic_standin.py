"""A local HTTP server that answers like an Elasticsearch where 1_extract asks it, and misbehaves on request.

It is no Elasticsearch: it knows point in time, search_after paging, one login and the error bodies, nothing else.
"""

import base64
import json
import ssl
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StandIn(ThreadingHTTPServer):
    """What the server holds: the documents per index, the faults still to come, the login it asks for, the log of requests."""

    daemon_threads = True

    def __init__(self, port, indices, faults, login, stall_s):
        super().__init__(("127.0.0.1", port), Answers)
        self.indices, self.faults, self.stall_s, self.log = indices, list(faults), stall_s, []
        self.login = "Basic " + base64.b64encode(":".join(login).encode()).decode() if login else None


class Answers(BaseHTTPRequestHandler):
    """One connection: every request is logged, then answered by its path."""

    protocol_version = "HTTP/1.1"

    def handle_request_body(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = json.loads(body) if body else None
        self.server.log.append((self.command, self.path, asked))
        if self.server.login and self.headers.get("Authorization") != self.server.login:
            self.refuse(401, "security_exception", "unable to authenticate")
        elif self.path.split("?")[0].endswith("/_pit") and self.command == "POST":
            self.open_point_in_time(self.path.split("/")[1])
        elif self.path.startswith("/_search"):
            self.search(asked)
        else:
            self.answer(200, {"succeeded": True})

    do_GET = do_POST = do_DELETE = do_HEAD = handle_request_body

    def open_point_in_time(self, index):
        if index in self.server.indices:
            self.answer(200, {"id": index})
        else:
            self.refuse(404, "index_not_found_exception", f"no such index [{index}]")

    def search(self, asked):
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "stall":
            time.sleep(self.server.stall_s)
            self.connection.close()
        elif fault in (429, 503):
            self.refuse(fault, "too_busy", "later")
        else:
            first = (asked.get("search_after") or [-1])[0] + 1
            documents = self.server.indices[asked["pit"]["id"]][first : first + asked["size"]]
            hits = [{"_source": document, "sort": [first + i]} for i, document in enumerate(documents)]
            shards = {"failed": 1 if fault == "shard" else 0}
            page = {"pit_id": asked["pit"]["id"], "timed_out": False, "_shards": shards, "hits": {"hits": hits}}
            self.answer(200, page, cut=fault == "cut")

    def refuse(self, status, kind, reason):
        self.answer(status, {"error": {"type": kind, "reason": reason}, "status": status})

    def answer(self, status, body, *, cut=False):
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload[: len(payload) // 2] if cut else payload)
        if cut:
            self.wfile.flush()
            self.connection.close()

    def log_message(self, *_):
        pass


@contextmanager
def standin(indices, *, faults=(), login=None, certificate=None, stall_s=3.0, port=0):
    """Serve `indices` {name: [document, ...]} on loopback (`port` 0: a free one); yields (url, log of requests).

    faults : consumed one per search: 429 or 503 (that status), "cut" (half a body), "stall" (no answer for `stall_s`),
    "shard" (one shard fails), None (an answer). login : (user, password). certificate : (file, key file) for https.
    """
    server = StandIn(port, indices, faults, login, stall_s)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}", server.log
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
