"""Series of a Prometheus: asking for them, and one series of a node however often it is scraped."""

import os
import re
from contextlib import suppress
from ipaddress import IPv6Address

import numpy as np
import requests

from nightshift.sources.retries import patient

# Labels that say who scraped a series and where its copy lies, and nothing of what was measured:
# prometheus-operator, federation, Thanos, Cortex.
SCRAPE_LABELS = [
    "job",
    "exported_job",
    "replica",
    "__replica__",
    "prometheus",
    "prometheus_replica",
    "thanos_replica",
    "receive_replica",
    "rule_replica",
    "monitor",
    "cluster",
    "endpoint",
    "service",
    "namespace",
    "pod",
    "container",
]


def summed(query, identity):
    """PromQL that adds up `query` over what is measured (modes, devices), separately for each value of the
    labels `identity` and each way in which a series is scraped.
    """
    labels = [*identity, *(name for name in SCRAPE_LABELS if name not in identity)]
    return f"sum by ({', '.join(labels)}) ({query})"


def merge_scrapes(series, key_of):
    """Merge the series to which `key_of` gives the same key into one: the largest value at each moment, so
    that counters never fall.

    series : iterable of (labels, positions int (k,), values float (k,)); key_of : function of labels. Returns
    {key: (positions, values)}, and {key: [labels that differ]} for keys with several series at one moment.
    """
    groups, twice, merged = {}, {}, {}
    for labels, at, values in series:
        groups.setdefault(key_of(labels), []).append((labels, at, values))
    for key, members in groups.items():
        positions, where = np.unique(np.concatenate([at for _, at, _ in members]), return_inverse=True)
        largest = np.full(len(positions), np.nan)
        np.fmax.at(largest, where, np.concatenate([values for _, _, values in members]))
        merged[key] = positions, largest
        if sum(len(at) for _, at, _ in members) > len(positions):
            names = sorted({name for labels, _, _ in members for name in labels if name != "__name__"})
            twice[key] = [name for name in names if len({labels.get(name) for labels, _, _ in members}) > 1]
    return merged, twice


def scraped_twice_sentence(twice):
    """One sentence on nodes that are scraped more than once, {node: [labels that differ]}; "" where there
    is none.
    """
    if not twice:
        return ""
    names = sorted({name for labels in twice.values() for name in labels})
    return (
        f"{len(twice)} node{'s are' if len(twice) > 1 else ' is'} scraped more than once "
        f"({', '.join(sorted(twice)[:3])}{' and others' if len(twice) > 3 else ''}; the series differ in "
        f"{', '.join(names) or 'nothing'}): they are not added, the largest value of each moment is taken."
    )


def connect(url, *, step_s, timeout_s, retry_wait_s, warned):
    """A function ask(query, begin, n) of the Prometheus at `url`: values at n moments from `begin` (seconds
    since 1970) on, `step_s` apart, as [(labels, positions int (k,), values float (k,))].

    What may pass (time-outs, connections that are refused or lost, 429, 5xx) is tried six times, with waits
    of up to `retry_wait_s`; what then remains is one line, TimeoutError or ConnectionError. Credentials come
    from PROMETHEUS_TOKEN, or PROMETHEUS_USER and PROMETHEUS_PASSWORD, else netrc. Warnings of the answers are
    added to the set `warned`.
    """
    session, host, env = requests.Session(), url.split("://")[-1].split("@")[-1], os.environ
    if token := env.get("PROMETHEUS_TOKEN"):
        # a header alone gives way to netrc
        session.auth = lambda request: request.headers.update(Authorization=f"Bearer {token}") or request
    elif env.get("PROMETHEUS_USER"):
        session.auth = env["PROMETHEUS_USER"], env.get("PROMETHEUS_PASSWORD", "")

    def ask(query, begin, n):
        wanted = {"query": query, "start": begin, "end": begin + (n - 1) * step_s, "step": step_s}
        try:
            answer = session.post(f"{url.rstrip('/')}/api/v1/query_range", data=wanted, timeout=timeout_s)
        except requests.exceptions.SSLError:
            raise ConnectionError(
                f"the certificate of {host} is not trusted: name the file of its authority in "
                "REQUESTS_CA_BUNDLE"
            ) from None
        except requests.Timeout:
            raise TimeoutError(f"{host} gives no answer within {timeout_s:g} s") from None
        except requests.ConnectionError as error:
            raise TimeoutError(f"{host} does not answer: {str(error).rpartition(': ')[2][:150]}") from None
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
            raise TimeoutError(f"{host} does not answer: its answer was cut off") from None
        found = series_of(answer, host, warned)
        return [
            (labels, np.rint((v[:, 0].astype(float) - begin) / step_s).astype(int), v[:, 1].astype(float))
            for labels, v in found
        ]

    return patient(ask, retry_wait_s)


def series_of(answer, host, warned):
    """[(labels, array (k, 2) of times and values)] of an `answer` of Prometheus; warnings go to the set
    `warned`. TimeoutError or ConnectionError, one line, for what is no answer.
    """
    try:
        content = answer.json()
        why = f"{content.get('errorType', answer.status_code)}: {content.get('error', '')}"
    except (ValueError, AttributeError):
        content, why = {}, f"{answer.status_code}: {answer.text}"
    why = " ".join(why.split())[:250]
    if answer.status_code in (401, 403):
        raise ConnectionError(
            f"{host} refuses these credentials ({answer.status_code}): check PROMETHEUS_TOKEN, or "
            "PROMETHEUS_USER and _PASSWORD"
        )
    if answer.status_code == 429 or answer.status_code >= 500:
        raise TimeoutError(f"{host} does not answer: {why}")
    if content.get("status") != "success":
        raise ConnectionError(f"{host} {'refuses this' if content else 'is no Prometheus'}: {why}")
    warned.update(content.get("warnings") or [])
    found = numbers_of_series(content["data"]["result"], warned)
    return [(labels, np.array(values, dtype=object)) for labels, values in found]


def numbers_of_series(result, warned):
    """[(labels, [(time, value)])] of the result of an answer for a range or one moment; native histograms,
    which are no numbers, are left out and named in the set `warned`.
    """
    warned.update(histograms_left_out({name_of(one) for one in result if has_histograms(one)}))
    return [(one["metric"], values) for one in result if (values := values_of(one))]


def values_of(series):
    """[(time, value)] of a series of an answer for a range or one moment."""
    return series.get("values") or ([series["value"]] if "value" in series else [])


def name_of(series):
    """The name of the metric of a series, "" where it has none."""
    return str(series["metric"].get("__name__", ""))


def histograms_left_out(names):
    """What to say of native histograms of the metrics `names`: a list of one line, empty without any name."""
    if not names:
        return []
    return [
        f"{', '.join(filter(None, sorted(names))) or 'an expression'} gives native histograms, which are no "
        "numbers: ask for histogram_count, histogram_sum or histogram_quantile of it"
    ]


def has_histograms(series):
    """Whether a series of an answer for a range or one moment holds native histograms (Prometheus 2.40 and
    later).
    """
    return bool(series.get("histograms") or series.get("histogram"))


def node_of(labels, node_label):
    """The node that a series belongs to: its label without a port; LookupError of one line where it has no
    such label.
    """
    if not labels.get(node_label):
        raise LookupError(
            f"a series has no label {node_label!r} but {', '.join(labels) or 'none'}: check the parameter "
            "node_label"
        )
    return without_port(labels[node_label])


def without_port(name):
    """The name or address of a host without the port at its end; an address of IPv6 that stands alone has
    none.
    """
    if name.count(":") > 1:
        with suppress(ValueError):
            IPv6Address(name)
            return name
    return re.sub(r":\d+$", "", name)
