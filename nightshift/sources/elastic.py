"""Elasticsearch from 7 on, and OpenSearch: one way to ask them, with retries and one-line errors.

The client of Elasticsearch 8 names a media type that OpenSearch and Elasticsearch 7 refuse (406), and
refuses servers that do not call themselves Elasticsearch. The calls that are needed here are the same on
all of them, in plain JSON; so the transport below that client is used.
"""

import contextlib
import json
import os
from dataclasses import dataclass

from nightshift.sources.base import LiveSource
from nightshift.sources.retries import patient
from nightshift.wording import one_line

CALLS = {  # name of a call of the client: method, path, parameters that go into the address
    "search": ("POST", "/{index}/_search", ("scroll",)),
    "field_caps": ("POST", "/{index}/_field_caps", ("fields",)),
    "open_point_in_time": ("POST", "/{index}/_pit", ("keep_alive",)),
    "close_point_in_time": ("DELETE", "/_pit", ()),
    "scroll": ("POST", "/_search/scroll", ()),
    "clear_scroll": ("DELETE", "/_search/scroll", ()),
}


@dataclass
class DocumentServer(LiveSource):
    """An Elasticsearch or OpenSearch of a study.

    index : its name or a pattern. page_rows : documents or totals per answer. timeout_s, retry_wait_s : as
    for `connect_elastic`.
    """

    addresses = ("http://", "https://")

    index: str
    page_rows: int
    timeout_s: float
    retry_wait_s: float

    def connect(self, address):
        """Return the function `ask` of `connect_elastic` for this address."""
        return connect_elastic(address, timeout_s=self.timeout_s, retry_wait_s=self.retry_wait_s)


class UnsupportedCall(ConnectionError):
    """The server does not know a call: it is OpenSearch, or older than the call."""


def connect_elastic(url, *, timeout_s, retry_wait_s):
    """A function `ask` of the Elasticsearch or OpenSearch at `url`: ask("search", index="x", ...) is the
    whole answer to that call of CALLS.

    The login comes from ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD, else netrc; proxies from the
    environment. Certificates are always verified, by ELASTIC_CA, else REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE,
    SSL_CERT_FILE. timeout_s : longest wait for one answer. What may pass (time-outs, 429, 5xx, an answer of
    some shards only) is tried six times, with waits of up to `retry_wait_s`. What then remains is one line:
    TimeoutError, ConnectionError (UnsupportedCall for a call that the server does not know), or the client's
    NotFoundError for an index that is not there.
    """
    from elastic_transport import RequestsHttpNode, Transport
    from elastic_transport.client_utils import basic_auth_to_header, url_to_node_config

    env, host = os.environ, url.split("://")[-1].split("@")[-1]
    login = f"ApiKey {env['ELASTIC_API_KEY']}" if env.get("ELASTIC_API_KEY") else None
    if env.get("ELASTIC_USER"):
        login = basic_auth_to_header((env["ELASTIC_USER"], env.get("ELASTIC_PASSWORD", "")))
    trust = next(
        (
            env[name]
            for name in ("ELASTIC_CA", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
            if env.get(name)
        ),
        True,
    )

    class Node(RequestsHttpNode):  # the default one, of urllib3, reads no proxy from the environment
        def __init__(self, config):
            super().__init__(config)
            settings = self.session.merge_environment_settings
            self.session.merge_environment_settings = lambda *asked: (
                settings(*asked) | {"verify": trust}
            )  # otherwise ELASTIC_CA comes last
            self.session.auth = (
                (lambda request: request) if login else None
            )  # otherwise a netrc entry replaces the login

    config = url_to_node_config(url, use_default_ports_for_scheme=True)
    transport = Transport([config.replace(request_timeout=timeout_s)], node_class=Node, max_retries=0)
    headers = {"accept": "application/json", "content-type": "application/json"} | (
        {"authorization": login} if login else {}
    )

    def ask(call, **request):
        answer = read_answer(host, *send(transport, headers, host, call, request))
        if answer.get("timed_out") or answer.get("_shards", {}).get("failed"):
            raise TimeoutError(f"{host} answered for some of its shards only")
        return answer

    return patient(ask, retry_wait_s)


def send(transport, headers, host, call, request):
    """(meta: status and headers, body) of one call; TimeoutError when there is no answer, ConnectionError
    when its certificate is not trusted or it is no JSON.
    """
    from urllib.parse import quote, urlencode

    import elastic_transport

    method, path, in_address = CALLS[call]
    body = {
        name: value
        for name, value in request.items()
        if name not in (*in_address, "index") and value is not None
    }
    asked = {
        name: ",".join(value) if isinstance(value, list) else value
        for name, value in request.items()
        if name in in_address
    }
    address = path.format(index=quote(request.get("index", ""), safe="*,<>-_.")).replace("//", "/") + (
        f"?{urlencode(asked)}" if asked else ""
    )
    try:
        return transport.perform_request(method, address, headers=headers, body=body or None)
    except elastic_transport.TlsError:
        raise ConnectionError(
            f"the certificate of {host} is not trusted: name the file of its authority in ELASTIC_CA"
        ) from None
    except elastic_transport.SerializationError as error:
        if getattr(error, "errors", None):
            raise TimeoutError(f"{host} does not answer: {one_line(error, 200)}") from None
        raise ConnectionError(
            f"{host} answers no JSON: is it the address of an Elasticsearch or OpenSearch?"
        ) from None
    except elastic_transport.TransportError as error:
        raise TimeoutError(
            f"{host} does not answer: {type(error).__name__}: {one_line(error, 200)}"
        ) from None


def read_answer(host, meta, body):
    """The `body` of an answer, a dict; an error of one line where the status in `meta` is one."""
    import elasticsearch

    status = meta.status
    error = body.get("error") if isinstance(body, dict) else None
    kind = error.get("type", "") if isinstance(error, dict) else ""
    reason = error.get("reason") if isinstance(error, dict) else error
    words = one_line(json.dumps(body) if reason is None else f"{kind}: {reason}" if kind else reason, 200)
    if 200 <= status < 300 and isinstance(body, dict):
        return body
    if status == 404 and kind.startswith("index_not_found"):
        raise elasticsearch.NotFoundError(words, meta, body)
    if status in (401, 403):
        raise ConnectionError(
            f"{host} refuses these credentials ({status}): "
            "check ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD"
        )
    if status == 429 or status >= 500:
        raise TimeoutError(f"{host} does not answer: {status}: {words}")
    if 200 <= status < 300:
        raise ConnectionError(f"{host} answers no JSON: is it the address of an Elasticsearch or OpenSearch?")
    unsupported = (
        status in (404, 405)
        or "no handler found" in words
        or "unrecognized parameter" in words
        or "Incorrect HTTP method" in words
    )
    raise (UnsupportedCall if unsupported else ConnectionError)(f"{host} refuses this: {status}: {words}")


def read_pages(ask, index, query, page_rows):
    """Yield pages, lists of documents, of everything in `index` that matches `query`, each document once.

    A point in time freezes the set while search_after gives page after page; a server without the points in
    time of Elasticsearch is asked by a scroll, which OpenSearch and Elasticsearch from 5 on know. Either is
    closed at the end, or expires by itself.
    """
    import elasticsearch

    try:
        opened = ask("open_point_in_time", index=index, keep_alive="5m")["id"]
    except (UnsupportedCall, KeyError):
        yield from scroll_pages(ask, index, query, page_rows)
        return
    after = None
    while True:
        answer = ask(
            "search",
            pit={"id": opened, "keep_alive": "5m"},
            query=query,
            size=page_rows,
            sort=[{"_shard_doc": "asc"}],
            search_after=after,
            track_total_hits=False,
        )
        hits, opened = answer["hits"]["hits"], answer.get("pit_id", opened)
        if not hits:
            break
        yield [hit["_source"] for hit in hits]
        after = hits[-1]["sort"]
    with contextlib.suppress(elasticsearch.NotFoundError, OSError):  # it expires by itself
        ask("close_point_in_time", id=opened)


def scroll_pages(ask, index, query, page_rows):
    """Yield pages of everything in `index` that matches `query`, by a scroll; ConnectionError when a page
    was lost.

    A scroll moves on with every request, so that an answer that did not arrive is gone: the documents that
    came are counted against the total.
    """
    import elasticsearch

    answer, n = (
        ask(
            "search",
            index=index,
            scroll="5m",
            query=query,
            size=page_rows,
            sort=["_doc"],
            track_total_hits=True,
        ),
        0,
    )
    total = answer["hits"].get("total", {"value": 0})
    total = total["value"] if isinstance(total, dict) else total  # a number in Elasticsearch 6
    while answer["hits"]["hits"]:
        yield [hit["_source"] for hit in answer["hits"]["hits"]]
        n += len(answer["hits"]["hits"])
        answer = ask("scroll", scroll="5m", scroll_id=answer["_scroll_id"])
    if answer.get("_scroll_id"):
        with contextlib.suppress(elasticsearch.NotFoundError, OSError):  # it expires by itself
            ask("clear_scroll", scroll_id=answer["_scroll_id"])
    if n != total:
        raise ConnectionError(
            f"{n:,} of {total:,} documents of {index} came, an answer of its scroll was lost: run again"
        )


def first_documents(ask, index):
    """Any one document of `index`, in a list; an empty list when it holds none."""
    return [
        hit["_source"] for hit in ask("search", index=index, query={"match_all": {}}, size=1)["hits"]["hits"]
    ]
