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


@contextmanager
def standin(indices, *, faults=(), login=None, certificate=None, stall_s=3.0):
    """Serve `indices` {name: [document, ...]} on a free loopback port; yields (url, log of requests).

    faults : consumed one per search: 429 or 503 (that status), "cut" (half a body), "stall" (no answer for `stall_s`), None (answer).
    """
    faults, log = list(faults), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status, body, cut=False):
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

        def handle_one(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            log.append((self.command, self.path, json.loads(body) if body else None))
            if login and self.headers.get("Authorization") != "Basic " + base64.b64encode(":".join(login).encode()).decode():
                return self.answer(401, {"error": {"type": "security_exception", "reason": "unable to authenticate"}, "status": 401})
            if self.path.split("?")[0].endswith("/_pit") and self.command == "POST":
                index = self.path.split("/")[1]
                if index not in indices:
                    return self.answer(404, {"error": {"type": "index_not_found_exception", "reason": f"no such index [{index}]"}, "status": 404})
                return self.answer(200, {"id": index})
            if self.path.startswith("/_search"):
                return self.search(json.loads(body))
            return self.answer(200, {"succeeded": True})

        def search(self, asked):
            fault = faults.pop(0) if faults else None
            if fault == "stall":
                time.sleep(stall_s)
                return self.connection.close()
            if fault in (429, 503):
                return self.answer(fault, {"error": {"type": "too_busy", "reason": "later"}, "status": fault})
            documents = indices[asked["pit"]["id"]]
            first = (asked.get("search_after") or [-1])[0] + 1
            hits = [{"_source": d, "sort": [first + i]} for i, d in enumerate(documents[first : first + asked["size"]])]
            failed = 1 if fault == "shard" else 0
            return self.answer(
                200, {"pit_id": asked["pit"]["id"], "timed_out": False, "_shards": {"failed": failed}, "hits": {"hits": hits}}, fault == "cut"
            )

        do_GET = do_POST = do_DELETE = do_HEAD = handle_one

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}", log
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
