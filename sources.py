"""What lies outside: files and servers as their sources wrote them, into `data/raw`.

    files      whatever matches a pattern, records, pages of CSV        read_files, read_records, read_csv_pages, read_optional
    servers    Elasticsearch and Slurm: retries, one-line errors        connect_elastic, ask_slurm
    records    what did not parse, and how the source was               write_bad_lines, write_status

Entry rule: that of helpers.py. What is particular to one source stays in the `1_extract` of its study.
"""

import csv
import glob
import gzip
import hashlib
import itertools
import json
import os
import re
import subprocess
import zlib
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from helpers import atomic, resolve, write_json


def read_files(pattern, read):
    """Call `read(path)` for every file that matches `pattern` (relative to the repository root), in the order of their names.

    FileNotFoundError when there is none; what goes wrong in reading one becomes a ValueError of one line that names the file.
    """
    files = sorted(filter(os.path.isfile, glob.glob(str(resolve(pattern)), recursive=True)))
    if not files:
        raise FileNotFoundError(f"no file matches {pattern}")
    for path in tqdm(files, desc="files", unit="file"):
        try:
            read(path)
        except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:        # a damaged archive raises any of them
            raise ValueError(f"{path} cannot be read: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from None


def open_text(path):
    """The text file `path`, plain or .gz, open for reading; bytes that are no UTF-8 become U+FFFD."""
    return (gzip.open if str(path).endswith(".gz") else open)(path, "rt", encoding="utf-8", errors="replace")


def read_records(path, chunk_rows=100_000):
    """Yield (records, bad) from a JSON-lines or CSV file, plain or .gz, at most `chunk_rows` rows at a time.

    records : list of dict. bad : list of (line number, reason, text) for lines that do not parse; an empty file yields nothing.
    OSError, and its gzip kind for a damaged archive, pass through: a file that cannot be read is no empty file.
    """
    if ".csv" in Path(path).name:
        for chunk in pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], chunksize=chunk_rows):
            yield chunk.astype(object).where(chunk.notna(), None).to_dict("records"), []
        return
    with open_text(path) as lines:
        numbered = enumerate(lines, 1)
        while chunk := list(itertools.islice(numbered, chunk_rows)):
            records, bad = [], []
            for number, line in chunk:
                try:
                    record = json.loads(line) if line.strip() else None
                    records.append(record) if isinstance(record, dict) else bad.append((number, "no JSON object", line))
                except (ValueError, RecursionError) as error:
                    bad.append((number, str(error), line))
            yield records, [b for b in bad if b[2].strip()]


def read_csv_pages(path, bad_lines, *, prose=False):
    """(names of the columns, pages) of a CSV file, plain or .gz, separated by commas, semicolons or tabs; memory holds one page of 8 MB.

    A page is (number of its first row, Arrow table with every cell as text); rows count from 1 after the header. A row with too few or too many
    columns is left out, and added to the list `bad_lines` as (file, row, reason, text) after the last page; what the caller has added by then to
    that list is counted on over such rows. prose : cells are what people wrote: line breaks within quotes belong to them, and only an
    empty cell is missing, no `NA` or `null`. ValueError of one line from the pages of a file that is not in UTF-8.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    with open_text(path) as lines:
        header = next(lines, "").lstrip("\ufeff")
    separator = max(",;\t", key=header.count)
    names, skipped = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])], []

    def pages():
        first_row, known = 1, len(bad_lines)
        try:
            for batch in pa_csv.open_csv(
                    path, pa_csv.ReadOptions(use_threads=False, block_size=2**23, column_names=names, skip_rows=1),
                    pa_csv.ParseOptions(delimiter=separator, newlines_in_values=prose, invalid_row_handler=lambda row: skipped.append(row) or "skip"),
                    pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True,
                                          null_values=[""] if prose else None)):
                yield first_row, pa.Table.from_batches([batch])
                first_row += len(batch)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
            raise ValueError("it is no text in UTF-8: save it as such") from None
        for number in sorted(row.number - 1 for row in skipped):      # what was put aside moves all later rows on by one
            bad_lines[known:] = [(file, line + (line >= number), *more) for file, line, *more in bad_lines[known:]]
        bad_lines.extend((path, row.number - 1, f"{row.actual_columns} columns, not {row.expected_columns}", row.text[:500]) for row in skipped)

    return names, pages()


def as_text(value):
    """The JSON `value` as the source wrote it; missing stays missing."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def connect_elastic(url, *, timeout_s, retry_wait_s):
    """A function `ask` of the Elasticsearch at `url`: ask("search", index="x", ...) is the whole answer to that call of its client.

    Login from ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD, else netrc; proxies are followed; certificates are always verified, by
    ELASTIC_CA, else REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE. What may pass (time-outs, 429, 5xx, an answer of some shards only) is tried
    six times, with waits of up to `retry_wait_s`. What is left is one line, TimeoutError or ConnectionError, or the client's NotFoundError.
    """
    import elasticsearch
    import tenacity
    from elastic_transport import RequestsHttpNode

    host, env = url.split("://")[-1].split("@")[-1], os.environ
    login = {"api_key": env["ELASTIC_API_KEY"]} if env.get("ELASTIC_API_KEY") else {}
    if env.get("ELASTIC_USER"):
        login = {"basic_auth": (env["ELASTIC_USER"], env.get("ELASTIC_PASSWORD", ""))}
    trust = next((env[name] for name in ("ELASTIC_CA", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE") if env.get(name)), True)

    class Node(RequestsHttpNode):       # the default one, of urllib3, reads no proxy from the environment
        def __init__(self, config):
            super().__init__(config)
            settings = self.session.merge_environment_settings
            self.session.merge_environment_settings = lambda *given: settings(*given) | {"verify": trust}      # else ELASTIC_CA comes last
            self.session.auth = (lambda request: request) if login else None        # else a netrc entry replaces the login

    client = elasticsearch.Elasticsearch(url, node_class=Node, request_timeout=timeout_s, max_retries=0, **login)

    def ask(method, **request):
        try:
            answer = getattr(client, method)(**request)
        except elasticsearch.NotFoundError:
            raise
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            status, kind = getattr(error, "status_code", 503), type(error).__name__
            may_pass = kind != "TlsError" and (status == 429 or status >= 500)
            line = f"{host} {'does not answer' if may_pass else 'refuses this'}: {kind}: {' '.join(str(error).split())[:200]}"
            if kind == "TlsError":
                line = f"the certificate of {host} is not trusted: name the file of its authority in ELASTIC_CA"
            elif status in (401, 403):
                line = f"{host} refuses these credentials ({status}): check ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD"
            raise (TimeoutError if may_pass else ConnectionError)(line) from None
        if answer.get("timed_out") or answer.get("_shards", {}).get("failed"):
            raise TimeoutError(f"{host} answered for some of its shards only")
        return answer

    return tenacity.Retrying(retry=tenacity.retry_if_exception_type(TimeoutError), stop=tenacity.stop_after_attempt(6), reraise=True,
                             wait=tenacity.wait_random_exponential(1.0, max=retry_wait_s)).wraps(ask)


def ask_slurm(command, path, *, timeout_s, parameter):
    """Save what the list `command`, a client of Slurm, prints to the file `path`, its times in UTC and in seconds since 1970.

    FileNotFoundError where there is no Slurm (it names `parameter`, which takes a saved file instead), TimeoutError after `timeout_s`,
    ConnectionError with the client's own words: one line each.
    """
    name = command[0]
    try:
        with open(path, "wb") as out:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, timeout=timeout_s,
                                  env={**os.environ, "TZ": "UTC", "SLURM_TIME_FORMAT": "%s"})
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {name} on this machine: save its output where Slurm is, and name that file as {parameter}") from None
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{name} gave no answer within {timeout_s:g} s: is slurmdbd up?") from None
    if done.returncode:
        raise ConnectionError(f"{name} failed ({done.returncode}): {' '.join(done.stderr.decode(errors='replace').split())[:300]}")


def read_optional(path, sample, columns):
    """The table at `path` (CSV or Parquet; FileNotFoundError), or `sample`, a path or None, for "sample"; `columns` without a row for "" or None;
    ValueError of one line names the columns that the table lacks, or says why it cannot be read."""
    path = sample if path == "sample" else resolve(path) if path else None
    if path is None:
        return pd.DataFrame(columns=columns)
    try:
        frame = pd.read_parquet(path) if str(path).endswith(".parquet") else pd.read_csv(path)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8: save it as such") from None
    except ValueError as error:      # an empty file, a row with too many cells, a Parquet file that is none
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())[:300]}") from None
    if lacking := [column for column in columns if column not in frame]:
        raise ValueError(f"{path} has no column {', '.join(lacking)}; it needs {', '.join(columns)}")
    return frame


def write_bad_lines(raw, bad_lines):
    """Write `raw`/bad_lines.csv, atomically: what did not parse, as (file, line number, reason, text); no bad line leaves the header."""
    with atomic(raw / "bad_lines.csv") as temporary:
        pd.DataFrame(bad_lines, columns=["file", "line", "reason", "text"]).to_csv(temporary, index=False)


def write_status(raw, *, state, rows, newest, source, window, **more):
    """Write `raw`/status.json: state (ok, partial, stale, empty, failed), rows, newest timestamp, source without secrets,
    window (first day, last day) and a sha256 over those of the Parquet files below `raw`, by name."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in sorted(raw.rglob("*.parquet"))))
    source = re.sub(r"://(?:[^/@]*@)?([^?#]*).*", r"://\1", source)
    status = dict(state=state, rows=int(rows), newest=newest if rows else None, source=source, window=list(window), sha256=digest.hexdigest(), **more)
    write_json(status, raw / "status.json")
    return status
