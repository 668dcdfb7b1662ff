"""A local HTTP server that answers like an Elasticsearch where 1_extract asks it, and misbehaves on request.

It is no Elasticsearch: it knows point in time, search_after paging, scrolls, composite and plain aggregations with the queries that go with them, one
login and the error bodies, nothing else. It can also play OpenSearch, Elasticsearch 7.9, and the proxy.
"""

import base64
import json
import select
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StandIn(ThreadingHTTPServer):
    """What the server holds: the documents per index, the faults still to come, the login it asks for, the log of requests."""

    daemon_threads = True

    def __init__(self, port, indices, faults, login, stall_s, text_fields, product):
        super().__init__(("127.0.0.1", port), Answers)
        self.product, self.scrolls = product, {}
        self.indices, self.faults, self.stall_s, self.log, self.text_fields = indices, list(faults), stall_s, [], text_fields
        self.login = "Basic " + base64.b64encode(":".join(login).encode()).decode() if login else None


class Answers(BaseHTTPRequestHandler):
    """One connection: every request is logged, then answered by its path."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each body waits 40 ms for the client to acknowledge its headers

    def handle_request_body(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = json.loads(body) if body else None
        self.server.log.append((self.command, self.path, asked))
        self.path = "/" + self.path.split("://", 1)[-1].split("/", 1)[1]  # a proxy is asked for whole addresses
        media = self.headers.get("Content-Type") or ""
        if self.server.product == "web page":
            return self.answer(200, "<html>")
        if self.server.login and self.headers.get("Authorization") != self.server.login:
            self.refuse(401, "security_exception", "unable to authenticate")
        elif self.server.product != "elasticsearch" and "vnd.elasticsearch" in media:  # that of the client of Elasticsearch 8
            self.answer(406, {"error": f"Content-Type header [{media}] is not supported", "status": 406})
        elif self.server.product != "elasticsearch" and "/_pit" in self.path:
            self.answer(400, {"error": f"no handler found for uri [{self.path}] and method [{self.command}]"})
        elif self.path.startswith("/_search/scroll"):
            self.scroll(asked) if self.command == "POST" else self.answer(200, {"succeeded": bool(self.server.scrolls.pop(asked["scroll_id"]))})
        elif self.path.split("?")[0].endswith("/_pit") and self.command == "POST":
            self.open_point_in_time(self.path.split("/")[1])
        elif self.path.startswith("/_search"):
            self.search(asked)
        elif self.path.split("?")[0].endswith(("/_search", "/_field_caps")):
            self.ask_index(self.path.split("/")[1], asked)
        else:
            self.answer(200, {"succeeded": True})

    do_GET = do_POST = do_DELETE = do_HEAD = handle_request_body

    def do_CONNECT(self):
        """Be a proxy: join the caller to the host that it names, until one of them hangs up."""
        self.server.log.append((self.command, self.path, None))
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        host, port = self.path.split(":")
        with socket.create_connection((host, int(port))) as there:
            ways = {self.connection: there, there: self.connection}
            while all(data and (ways[one].sendall(data) or True) for one in select.select([*ways], [], [])[0] for data in [one.recv(65536)]):
                pass
        self.close_connection = True

    def open_point_in_time(self, index):
        if index in self.server.indices:
            self.answer(200, {"id": index})
        else:
            self.refuse(404, "index_not_found_exception", f"no such index [{index}]")

    def ask_index(self, index, asked):
        if index not in self.server.indices:
            self.refuse(404, "index_not_found_exception", f"no such index [{index}]")
        elif "_field_caps" in self.path:
            self.answer(200, {"fields": field_caps(self.server.indices[index], self.server.text_fields)})
        elif "scroll=" in self.path:
            key, found = f"scroll-of-{index}", [d for d in self.server.indices[index] if matches(d, asked["query"])]
            self.server.scrolls[key] = found, asked["size"], len(found)
            self.scroll({"scroll_id": key})
        else:
            documents = [d for d in self.server.indices[index] if matches(d, asked["query"])]
            hits = [{"_source": document} for document in documents[: asked["size"]]]
            found = {"hits": {"total": {"value": len(documents)}, "hits": hits}}
            for name, aggregation in (asked.get("aggs") or {}).items():
                if "composite" in aggregation:
                    answered = composite(documents, aggregation["composite"], aggregation["aggs"])
                else:
                    answered = {"value": measure(documents, aggregation)}
                found.setdefault("aggregations", {})[name] = answered
            self.page(found)

    def search(self, asked):
        first = (asked.get("search_after") or [-1])[0] + 1
        found = [d for d in self.server.indices[asked["pit"]["id"]] if matches(d, asked["query"])]
        documents = found[first : first + asked["size"]]
        hits = [{"_source": document, "sort": [first + i]} for i, document in enumerate(documents)]
        self.page({"pit_id": asked["pit"]["id"], "hits": {"hits": hits}})

    def scroll(self, asked):
        """The next page of a scroll; a page that does not arrive is not given again, as with the real one."""
        left, size, total = self.server.scrolls[asked["scroll_id"]]
        hits = [{"_source": left.pop(0)} for _ in range(min(size, len(left)))]
        self.page({"_scroll_id": asked["scroll_id"], "hits": {"total": {"value": total}, "hits": hits}})

    def page(self, found):
        """Answer a search with what was found, or with the next fault."""
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "stall":
            time.sleep(self.server.stall_s)
            self.connection.close()
        elif fault in (429, 503):
            self.refuse(fault, "too_busy", "later")
        else:
            self.answer(200, {"timed_out": False, "_shards": {"failed": 1 if fault == "shard" else 0}} | found, cut=fault == "cut")

    def refuse(self, status, kind, reason):
        self.answer(status, {"error": {"type": kind, "reason": reason}, "status": status})

    def answer(self, status, body, *, cut=False):
        payload = json.dumps(body).encode()
        self.send_response(status)
        if self.server.product == "elasticsearch":
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


def instant(text):
    """The time of a document or query; without zone it is UTC."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def value_of(document, field):
    return document.get(field.removesuffix(".keyword"))


def matches(document, query):
    """Whether a document matches a query of the kinds bool, range (of times), exists, terms, prefix and match_all."""
    [(kind, of)] = query.items()
    if kind == "bool":
        assert of.keys() <= {"filter", "must_not", "should", "minimum_should_match"}, of
        if "should" in of and not any(matches(document, q) for q in of["should"]):
            return False
        return all(matches(document, q) for q in of.get("filter", [])) and not any(matches(document, q) for q in of.get("must_not", []))
    if kind == "match_all":
        return True
    if kind == "exists":
        return value_of(document, of["field"]) is not None
    [(field, wanted)] = of.items()
    value = value_of(document, field)
    if kind == "prefix":
        return str(value).startswith(wanted)
    if kind == "terms":
        return value in wanted
    assert kind == "range", kind
    return value is not None and instant(wanted["gte"]) <= instant(value) < instant(wanted["lt"])


def field_caps(documents, text_fields):
    """What can be aggregated: every field of the documents, those of `text_fields` only as their .keyword."""
    fields = {}
    for name in {name for document in documents for name in document}:
        fields[name] = {"any": {"aggregatable": name not in text_fields}}
        if name in text_fields:
            fields[f"{name}.keyword"] = {"keyword": {"aggregatable": True}}
    return fields


def monday(at):
    """Midnight UTC of the Monday of a week, in milliseconds since 1970, as calendar_interval week has it."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((day - timedelta(days=day.weekday())).timestamp() * 1000)


def part_of(document, kind, of):
    """What a document contributes to its key: the Monday of its time, or a term."""
    value = value_of(document, of["field"])
    assert kind == "terms" or of["calendar_interval"] == "week"
    return value if kind == "terms" else monday(instant(value))


def rank(key):
    """Where a key stands among others: a missing part comes first."""
    return tuple((0,) if part is None else (1, part) for part in key)


def composite(documents, asked, metrics):
    """One page of a composite aggregation: buckets in the order of their keys, a missing value before all others, after the key `after`."""
    groups = [(kind, of) for source in asked["sources"] for way in source.values() for kind, of in way.items()]
    buckets = {}
    for document in documents:
        key = tuple(part_of(document, kind, of) for kind, of in groups)
        if all(part is not None or of.get("missing_bucket") for part, (_, of) in zip(key, groups, strict=True)):
            buckets.setdefault(key, []).append(document)
    names = [next(iter(source)) for source in asked["sources"]]
    begun = rank(asked["after"].values()) if "after" in asked else ()
    keys = sorted((key for key in buckets if rank(key) > begun), key=rank)[: asked["size"]]
    page = [
        {"key": dict(zip(names, key, strict=True)), "doc_count": len(buckets[key])}
        | {m: {"value": measure(buckets[key], of)} for m, of in metrics.items()}
        for key in keys
    ]
    return {"buckets": page} | ({"after_key": page[-1]["key"]} if page else {})


def measure(documents, of):
    """A sum, or the oldest or newest time in milliseconds since 1970."""
    [(kind, field)] = ((kind, value["field"]) for kind, value in of.items())
    values = [d[field] for d in documents if d.get(field) is not None]
    ends = {"min": min, "max": max}
    return ends[kind](instant(v).timestamp() * 1000 for v in values) if kind in ends else sum(values)


@contextmanager
def standin(indices, *, faults=(), login=None, certificate=None, stall_s=3.0, port=0, text_fields=(), product="elasticsearch"):
    """Serve `indices` {name: [document, ...]} on loopback (`port` 0: a free one); yields (url, log of requests).

    faults : consumed one per search: 429 or 503 (that status), "cut" (half a body), "stall" (no answer for `stall_s`),
    "shard" (one shard fails), None (an answer). login : (user, password). certificate : (file, key file) for https.
    text_fields : names that can be grouped by only as NAME.keyword. product : "elasticsearch", or what has no point in time and refuses
    the media type of its client: "opensearch", "elasticsearch 7.9".
    """
    server = StandIn(port, indices, faults, login, stall_s, text_fields, product)
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
