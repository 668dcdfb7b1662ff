"""Tables of tickets as help desks export them: words for states, forms of times, layouts of JSON, rows that
come twice."""

import json
import re
from functools import partial

import numpy as np
import pandas as pd

# -------------------------------------------------------------------------------------------------------
# ----------- States

OPEN = """
    open; opened; new; incoming; registered; submitted; unassigned; assigned; accepted;
    acknowledged; active; to do; todo; backlog; planned; queued; selected for development; in
    progress; in work; in review; in testing; under review; work in progress; processing; processing
    assigned; processing planned; pending; pending reminder; pending close; pending auto close;
    stalled; on hold; hold; held; blocked; paused; suspended; feedback; escalated; waiting;
    reopened; re opened; unresolved; not resolved; not closed; approval; triage; overdue; offen;
    neu; wieder geöffnet; wiedereröffnet; in bearbeitung; in arbeit; zugewiesen; angenommen;
    zurückgestellt; warten; wartend; rückfrage; ausstehend; ungelöst; ouvert; nouveau; en cours; en
    attente; rouvert; assigné; abierto; nuevo; en curso; en progreso; en espera; pendiente;
    reabierto; aperto; nuovo; in corso; in attesa; riaperto; geopend; nieuw; in behandeling;
    wachtend; heropend; aberto; novo; em andamento; em espera; pendente; reaberto
"""
CLOSED = """
    closed; resolved; solved; done; complete; completed; finished; fixed; implemented; released;
    verified; rejected; declined; denied; refused; cancelled; canceled; withdrawn; abandoned;
    expired; obsolete; invalid; duplicate; won't fix; wont fix; wontfix; won't do; cannot reproduce;
    works for me; answered and closed; archived; successful; unsuccessful; closed successful; closed
    unsuccessful; closed with workaround; geschlossen; gelöst; erledigt; abgeschlossen; beendet;
    behoben; fertig; abgelehnt; zurückgewiesen; verworfen; storniert; archiviert; erfolgreich
    geschlossen; erfolglos geschlossen; fermé; clos; clôturé; résolu; terminé; rejeté; annulé;
    archivé; cerrado; resuelto; finalizado; rechazado; cancelado; chiuso; risolto; completato;
    respinto; annullato; gesloten; opgelost; afgewezen; geannuleerd; fechado; resolvido; encerrado;
    concluído; rejeitado
"""
DELETED = """
    deleted; removed; trashed; trash; spam; junk; gelöscht; entfernt; papierkorb; supprimé;
    eliminado; eliminato; verwijderd; excluído
"""
MERGED = """
    merged; merged into another; zusammengeführt; zusammengefasst; fusionné; fusionado; unito;
    samengevoegd; mesclado
"""
FIRST_WORDS = {  # of a state that is none of the above, such as "Waiting for customer" or "Closed incomplete"
    **dict.fromkeys(
        ["pending", "waiting", "awaiting", "waits", "wartet", "warte", "warten", "reopened", "open", "offen"],
        "open",
    ),
    **dict.fromkeys(
        ["closed", "resolved", "solved", "completed", "geschlossen", "gelöst", "erledigt", "abgeschlossen"],
        "closed",
    ),
}


def plain_state(word):
    """A state without case and signs, words parted by one blank: "Pending-Reminder" and "pending
    reminder" are one."""
    return " ".join(re.sub(r"[^\w']+|_", " ", str(word).casefold().replace("\u2019", "'")).split())


STATES = {
    plain_state(word): meaning
    for meaning, words in {"open": OPEN, "closed": CLOSED, "deleted": DELETED, "merged": MERGED}.items()
    for word in words.split(";")
} | {"archived": "closed"}


def state_meaning(word, more=None):
    """What a state of a help desk means: "open", "closed", "deleted", "merged", or "" where `word` is
    missing or unknown.

    The words are those of osTicket, Zammad, OTRS, RT, Jira, GLPI, ServiceNow, Zendesk, Freshdesk and
    Redmine, in seven languages. A state that is
    none of them goes by its first word ("Closed incomplete"). Numbers mean something else in every
    desk, so that they are unknown here.
    more : {state: meaning}, which comes before the table.
    """
    if not isinstance(word, str) or not (plain := plain_state(word)):
        return ""
    if more and plain in more:
        return more[plain]
    return STATES.get(plain) or FIRST_WORDS.get(plain.split()[0], "")


def read_states(states):
    """The parameter `states` as {plain state: meaning}; ValueError of one line for anything but {state:
    open, closed, deleted or merged}."""
    fine = isinstance(states, dict) and all(isinstance(word, str) and plain_state(word) for word in states)
    if not fine or not set(states.values()) <= {"open", "closed", "deleted", "merged"}:
        raise ValueError(
            "states must say of each state whether it is open, closed, deleted or merged, such as {waiting "
            "for parts: open}"
        )
    return {plain_state(word): meaning for word, meaning in states.items()}


def words_of(tickets):
    """The state of each ticket as its desk writes it, object (n,): `state`, or where that is missing
    `status`; "" for none."""
    words = [
        tickets[name].astype("string").str.strip().fillna("").to_numpy(object)
        for name in ("state", "status")
        if name in tickets
    ]
    return np.where(words[0] == "", words[-1], words[0]).astype(object)


def meanings_of(tickets, more=None):
    """The meaning of each ticket's state, object (n,), as `state_meaning` gives it: of `state`, or
    where that is missing of `status`."""
    words = words_of(tickets)
    meaning = {word: state_meaning(word, more) for word in set(words)}
    return np.array([meaning[word] for word in words], object)


def unknown_states(tickets, more=None, most=5):
    """What to say of states that nobody knows: one sentence, or "" where all are known. Words of over
    30 characters are not shown."""
    words = words_of(tickets)
    strange = pd.Series(
        words[(words != "") & (meanings_of(tickets, more) == "")], dtype=object
    ).value_counts()
    if not len(strange):
        return ""
    shown = [
        f"“{word}” {n:,}" if len(word) <= 30 else f"a longer text {n:,}"
        for word, n in strange.head(most).items()
    ]
    rest = f" and {len(strange) - most} more" if len(strange) > most else ""
    return (
        f"{int(strange.sum()):,} of {len(tickets):,} tickets have a state of unknown meaning "
        f"({', '.join(shown)}{rest}): of these the closing date "
        "alone decides. The parameter states says what a state means"
    )


def is_open(meaning, closed):
    """Whether tickets are open: object (n,) of True, False or None where the source does not say.

    A state beats a date: "open" is open whatever closing date an earlier round has left, and "closed"
    is closed though nobody knows when. Without
    a state the closing date decides, if the source has closing dates at all.
    meaning (n,) as `meanings_of` gives it; closed : Series (n,) of times.
    """
    closed = pd.Series(closed)
    by_date = np.where(closed.notna(), False, True if closed.notna().any() else None)
    return np.where(meaning == "", by_date, np.where(meaning == "open", True, False)).astype(object)


# -------------------------------------------------------------------------------------------------------
# ------------ Times

MONTH_NAMES = [
    "jan",
    "feb",
    "mar mär mrz",
    "apr",
    "may mai",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct okt",
    "nov",
    "dec dez",
]
MONTHS = {name: number for number, names in enumerate(MONTH_NAMES, 1) for name in names.split()}
CLOCK = (
    r"(?:(?:,|T)?\s*(?P<h>\d{1,2}):(?P<min>\d{2})(?::(?P<s>\d{2}(?:[.,]\d+)?))?\s*(?P<half>[ap]\.?m\.?)?)?"
    r"\s*(?:uhr)?"
)
ZONE = r"\s*(?P<zone>z|utc|gmt|cest|cet|mesz|mez|[+-]\d{2}:?\d{2})?"
WEEKDAY = r"(?:[^\W\d_]{2,10}\.?,?\s+)?"
FORMS = [
    re.compile(rf"(?P<y>\d{{4}})[./](?P<m>\d{{1,2}})[./](?P<d>\d{{1,2}}){CLOCK}{ZONE}", re.I),
    re.compile(rf"(?P<y>\d{{4}})-(?P<m>\d{{1,2}})-(?P<d>\d{{1,2}}){CLOCK}{ZONE}", re.I),
    re.compile(
        rf"{WEEKDAY}(?P<a>\d{{1,2}})(?P<sign>[./-])\s?(?P<b>\d{{1,2}})(?P=sign)\s?(?P<y>\d{{4}}|\d\d)(?!\d)"
        rf"{CLOCK}{ZONE}",
        re.I,
    ),
    re.compile(
        rf"{WEEKDAY}(?P<d>\d{{1,2}})[ ./-]+(?P<name>[^\W\d_]{{3,9}})\.?[ ./,-]+(?P<y>\d{{4}}|\d\d)(?!\d)"
        rf"{CLOCK}{ZONE}",
        re.I,
    ),
    re.compile(
        rf"{WEEKDAY}(?P<name>[^\W\d_]{{3,9}})\.?\s+(?P<d>\d{{1,2}}),?\s+(?P<y>\d{{4}}){CLOCK}{ZONE}", re.I
    ),
    re.compile(
        r"(?:[^\W\d_]{2,10}\s+)(?P<name>[^\W\d_]{3,9})\s+(?P<d>\d{1,2})\s+"
        r"(?P<h>\d{1,2}):(?P<min>\d{2}):(?P<s>\d{2})\s+(?P<y>\d{4})"
    ),
]
EPOCH = {9: 1, 10: 1, 13: 1e3, 16: 1e6}  # digits: units in a second; 9 and 10 digits are 1973 to 2286
ZONES = {
    "z": "Z",
    "utc": "Z",
    "gmt": "Z",
    "cet": "+01:00",
    "mez": "+01:00",
    "cest": "+02:00",
    "mesz": "+02:00",
}
ORDERS = ("auto", "day first", "month first")
NOTHING = {"", "0", "-", "n/a", "null", "none", "never", "not set", "nan", "nat"}


def day_order(texts):
    """Which comes first in dates such as 31/01/2026: "day first" or "month first", None where no value
    tells, "both" where values disagree.

    texts : iterable of str. Dates with dots are written with the day first everywhere, and tell nothing
    of those with slashes.
    """
    dates = [found for text in texts if (found := FORMS[2].fullmatch(text.strip())) and found["sign"] != "."]
    day, month = (any(int(found[part]) > 12 for found in dates) for part in "ab")
    return "both" if day and month else "day first" if day else "month first" if month else None


def as_iso(text, order=None):
    """One time as ISO 8601, or "" where it is none; the zone stays away where the text names none.

    order : "day first" or "month first", for dates such as 01/02/2026; None reads no such date, unless
    both orders give the same day.
    """
    text = " ".join(text.split())
    if re.fullmatch(r"\d+(?:\.\d+)?", text) and (digits := len(text.partition(".")[0])) in EPOCH:
        return pd.Timestamp(round(float(text) * 1e6 / EPOCH[digits]), unit="us", tz="UTC").isoformat()
    if re.fullmatch(r"(?:19|20)\d{12}", text):
        return f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[8:10]}:{text[10:12]}:{text[12:]}"
    found = next((match for form in FORMS if (match := form.fullmatch(text))), None)
    if not found:
        return ""
    part = {"d": None, "m": None, "half": None, "zone": None} | found.groupdict()
    if "a" in part:
        first = order if part["sign"] != "." else "day first"
        if first is None and part["a"].zfill(2) != part["b"].zfill(2):
            return ""
        part["d"], part["m"] = (part["b"], part["a"]) if first == "month first" else (part["a"], part["b"])
    month = int(part["m"]) if part["m"] else MONTHS.get(part["name"][:3].lower(), 0)
    hour, year = int(part["h"] or 0), int(part["y"])
    if part["half"]:
        if not 1 <= hour <= 12:
            return ""
        hour = hour % 12 + 12 * (part["half"][0] in "pP")
    year += 2000 * (year < 70) + 1900 * (70 <= year < 100)
    zone = ZONES.get((part["zone"] or "").lower(), part["zone"] or "")
    second = (part["s"] or "00").replace(",", ".")
    return f"{year:04d}-{month:02d}-{int(part['d']):02d}T{hour:02d}:{part['min'] or '00'}:{second}{zone}"


def read_times(texts, timezone, counts, order=None):
    """UTC times (Series, microseconds) of a Series of text in any form that `as_iso` knows; what cannot
    be read is missing.

    A time that names no zone is of `timezone`; in the hour that autumn shows twice it is the first, in
    the one that spring leaves out the end of
    the gap. counts : a Counter, which gets "doubled", "skipped" and "unreadable". `0000-00-00`, `0`,
    `-` and the like say that nothing happened.
    """
    texts = texts.astype("string").str.strip()
    written = texts.notna() & ~texts.str.lower().isin(NOTHING) & ~texts.str.startswith("0000-00-00", na=False)
    zoned = texts.str.contains(r"\d\d:\d\d.*(?:Z|[+-]\d\d(?::?\d\d)?)$", na=False)
    iso = texts.str.fullmatch(
        r"\d{4}-\d\d-\d\d(?:[T ]\d\d(?::?\d\d){0,2}(?:[.,]\d+)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?|(?:19|20)\d{6}",
        na=False,
    )
    if (odd := written & ~iso).any():
        texts = texts.mask(odd, texts[odd].map({text: as_iso(text, order) for text in texts[odd].unique()}))
        zoned = zoned.mask(
            odd, texts.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", na=False) & texts.str.contains("T", na=False)
        )
    utc = pd.to_datetime(texts.where(written & zoned), utc=True, format="ISO8601", errors="coerce").astype(
        "datetime64[us, UTC]"
    )
    local = pd.to_datetime(texts.where(written & ~zoned), format="ISO8601", errors="coerce").astype(
        "datetime64[us]"
    )
    localize, first_of_two = partial(local.dt.tz_localize, timezone), np.ones(len(local), bool)
    counts["doubled"] += int(
        localize(ambiguous="NaT", nonexistent="shift_forward").isna().sum() - local.isna().sum()
    )
    counts["skipped"] += int(
        localize(ambiguous=first_of_two, nonexistent="NaT").isna().sum() - local.isna().sum()
    )
    counts["unreadable"] += int((written & utc.isna() & local.isna()).sum())
    on_server = localize(ambiguous=first_of_two, nonexistent="shift_forward").dt.tz_convert("UTC")
    return utc.fillna(on_server.astype(utc.dtype))


def shown_value(text):
    """`text` for a message: a date as it is; of anything else the form alone, letters as x and digits
    as 9, since it may be a person's words."""
    text = " ".join(str(text).split())[:40]
    words = re.findall(r"[^\W\d_]+", text)
    dated = all(
        word.lower() in {"am", "pm", "t", "z", "utc", "gmt"} or word[:3].lower() in MONTHS for word in words
    )
    if dated and re.match(r"\d", text) and len(text) <= 30:
        return repr(text)
    return repr(re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "9", text)))


def is_time_column(name, values):
    """Whether all of the `values` (iterable of str, some of them enough) are times; mere numbers count
    where the `name` speaks of a time, too."""
    some = [
        value.strip()
        for value in values
        if value.strip().lower() not in NOTHING and not value.startswith("0000-00-00")
    ]
    if not some or not all(as_iso(value, "day first") or as_iso(value, "month first") for value in some):
        return False
    speaks = re.search(
        r"creat|open|clos|resol|solv|updat|time|date|answer|respon|"
        r"erstell|geöffnet|gelöst|geschl|datum|zeit|_at$",
        name,
        re.I,
    )
    return bool(speaks) or not all(re.fullmatch(r"[\d.]+", value) for value in some)


def time_reader(rows, names, timezone, counts, order="auto"):
    """{our name: function of a text column that gives UTC times} for the time columns of one file.

    rows : DataFrame of text with some of our time columns; names : {our name: the file's name}.
    ValueError of one line, with column and example:
    dates of which nobody can tell day and month, or a column in which no time at all can be read.
    """
    values = {ours: rows[ours].dropna().astype(str).str.strip() for ours in names if ours in rows}
    if order == "auto":
        order = day_order([value for column in values.values() for value in column.unique()])
        every = [
            (ours, text, FORMS[2].fullmatch(text))
            for ours, column in values.items()
            for text in column.unique()
        ]
        slashed = [(ours, text) for ours, text, found in every if found and found["sign"] != "."]
        unsure = [(ours, text) for ours, text in slashed if order == "both" or not as_iso(text, order)]
        if unsure and order in ("both", None):
            ours, example = unsure[0]
            raise ValueError(
                f"column {names[ours]!r} holds dates such as {shown_value(example)}, and the file does not "
                "tell whether the day or the month comes "
                "first: set dates to day first or month first"
            )

    def read(ours, text):
        before = counts["unreadable"]
        times = read_times(text, timezone, counts, order)
        bad = counts["unreadable"] - before
        if bad and not times.notna().any():
            unread = text[text.notna() & ~text.str.strip().str.lower().isin(NOTHING)].iloc[0]
            raise ValueError(
                f"column {names[ours]!r} holds no time that can be read, such as {shown_value(unread)}: it "
                "needs 2026-01-31 10:00, "
                "31.01.2026 10:00, 01/31/2026 10:00 AM, or seconds or milliseconds since 1970"
            )
        return times

    return {ours: partial(read, ours) for ours in values}


# -------------------------------------------------------------------------------------------------------
# ------------- JSON


def flat(record, prefix=""):
    """`record` (a dict of JSON) as {name: text or None}; an object within it gives names such as
    "state.name", a list its JSON."""
    out = {}
    for name, value in record.items():
        if isinstance(value, dict) and value:
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[f"{prefix}{name}"] = (
                value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            )
    return out


def read_json_tickets(text, bad):
    """DataFrame of text, one row per ticket, of JSON `text`: an array of objects, an object that holds
    one, or one object per line.

    What is no object is added to the list `bad` as (row or line, reason). ValueError of one line when
    there is no ticket in it.
    """
    try:
        content = json.loads(text)
    except ValueError:
        records = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                records.append(json.loads(line) if line.strip() else ...)
            except ValueError:
                records.append(number)
        if not any(isinstance(record, dict) for record in records):
            raise ValueError(
                "it begins like JSON and is none: it needs an array of objects, or one object per line"
            ) from None
        content = [record for record in records if record is not ...]
    if isinstance(content, dict):
        lists = [
            value
            for value in content.values()
            if isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
        ]
        if len(lists) > 1:
            raise ValueError(
                f"it is a JSON object with {len(lists)} lists of objects: it needs one list of tickets"
            )
        content = lists[0] if lists else [] if any(value == [] for value in content.values()) else [content]
    bad.extend(
        (number, "no JSON object") for number, record in enumerate(content, 1) if not isinstance(record, dict)
    )
    return pd.DataFrame([flat(record) for record in content if isinstance(record, dict)], dtype="string")


# -------------------------------------------------------------------------------------------------------
# --- Rows that come twice


def tell_desks(rows):
    """`rows` with ids that no two desks share, and a sentence about it ("" where there was nothing to do).

    rows : DataFrame ticket_id, created, file. Files are of two desks when more of the ids that they
    share name tickets created at different times
    than at the same time. The ids of the first desk, by the names of the files, stay; those of the
    others begin with d2-, d3-, ... then.
    """
    one = rows.dropna(subset="created").drop_duplicates(["file", "ticket_id"])[
        ["file", "ticket_id", "created"]
    ]
    pairs = one.merge(one, on="ticket_id", suffixes=("", "_2"))
    pairs = pairs[pairs.file < pairs.file_2]
    if not len(pairs):
        return rows, ""
    same = (pairs.created == pairs.created_2).groupby([pairs.file, pairs.file_2]).mean()
    desk = {}
    for file in sorted(rows.file.unique()):
        like = [other for other in desk if same.get((other, file), -1) >= 0.5]
        unlike = any(same.get((other, file), 1) < 0.5 for other in desk)
        desk[file] = desk[like[0]] if like else 1 + max(desk.values(), default=0) if unlike or not desk else 1
    number = rows.file.map(desk)
    if number.max() == 1:
        return rows, ""
    renamed = rows.assign(
        ticket_id=rows.ticket_id.where(number == 1, "d" + number.astype(str) + "-" + rows.ticket_id)
    )
    shared = pairs.ticket_id[pairs.created != pairs.created_2].nunique()
    return renamed, (
        f"{shared:,} ids of tickets stand in files of {number.max()} desks for different tickets (other "
        "times of creation): the ids of the second "
        f"desk begin with d2- here{', and so on' if number.max() > 2 else ''}"
    )


def newest_rows(rows, measured):
    """(one row per ticket_id, the others) of `rows`: the row that was changed last (`lastupdate`), and
    of equals the last one.

    The others get `differs`: the names, of the columns `measured`, in which they are not the row that
    stays; "" for a mere copy.
    """
    order = rows.sort_values("lastupdate", kind="stable", na_position="first")
    again = order.duplicated("ticket_id", keep="last")
    kept, others = order[~again], order[again]
    stays = kept.set_index("ticket_id").loc[others.ticket_id] if len(others) else others
    differs = [""] * len(others)
    for name in [name for name in measured if name != "ticket_id"]:
        a, b = others[name].reset_index(drop=True), stays[name].reset_index(drop=True)
        unequal = ~((a == b).fillna(False).astype(bool) | (a.isna() & b.isna()))
        differs = [
            f"{before}, {name}".strip(", ") if other else before
            for before, other in zip(differs, unequal, strict=True)
        ]
    return kept, others.assign(differs=differs)
