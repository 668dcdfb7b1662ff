"""Tables of tickets as help desks export them: words for states, layouts of JSON, rows that come twice.

    States   what the word of a desk means, what is open   state_meaning, meanings_of, unknown_states, is_open
    JSON     one row per object                            read_json_tickets
    Twice    two desks; the newest row of a ticket         tell_desks, newest_rows

The forms of times are in times.py beside it.
"""

import json
import re

import numpy as np
import pandas as pd

from nightshift.sources.files import as_text

BLANKS = re.compile(r"\s*")
TITLES = ("title", "summary", "short_description", "betreff", "titre")  # what others call a subject

# ----------------------------------------------------------------------------------------------------- States

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
    """Return a state without case and signs: "Pending-Reminder" and "pending reminder" are the same."""
    return " ".join(re.sub(r"[^\w']+|_", " ", str(word).casefold().replace("\u2019", "'")).split())


STATES = {
    plain_state(word): meaning
    for meaning, words in {"open": OPEN, "closed": CLOSED, "deleted": DELETED, "merged": MERGED}.items()
    for word in words.split(";")
}


def state_meaning(word, more=None):
    """Return what a state of a help desk means: "open", "closed", "deleted", "merged", or "" for unknown.

    The words are those of osTicket, Zammad, OTRS, RT, Jira, GLPI, ServiceNow, Zendesk, Freshdesk and Redmine,
    in seven languages. A state that is none of them goes by its first word ("Closed incomplete"), where that
    is one of FIRST_WORDS. Numbers mean something else in every desk, so that they are unknown here. more :
    {plain state: meaning}, which comes before the table.
    """
    if not isinstance(word, str) or not (plain := plain_state(word)):
        return ""
    if more and plain in more:
        return more[plain]
    return STATES.get(plain) or FIRST_WORDS.get(plain.split()[0], "")


def read_states(states):
    """Return the parameter `states` as {plain state: meaning}.

    ValueError of one line for anything but {state: open, closed, deleted or merged}.
    """
    fine = isinstance(states, dict) and all(isinstance(word, str) and plain_state(word) for word in states)
    if not fine or not all(one in ("open", "closed", "deleted", "merged") for one in states.values()):
        raise ValueError(
            "states must say of each state whether it is open, closed, deleted or merged, such as {waiting "
            "for parts: open}"
        )
    return {plain_state(word): meaning for word, meaning in states.items()}


def words_of(tickets):
    """Return the state of each ticket as its desk writes it, object (n,); "" for none.

    It is `state`, or where that is missing `status`.
    """
    words = [
        tickets[name].astype("string").str.strip().fillna("").to_numpy(object)
        for name in ("state", "status")
        if name in tickets
    ]
    return np.where(words[0] == "", words[-1], words[0]).astype(object)


def meanings_of(tickets, more=None):
    """Return the meaning of each ticket's state (see `words_of`), object (n,), as `state_meaning` gives it.

    more : {plain state: meaning}.
    """
    words = words_of(tickets)
    meaning = {word: state_meaning(word, more) for word in set(words)}
    return np.array([meaning[word] for word in words], object)


def unknown_states(tickets, more=None, most=5):
    """Say which states have no known meaning: one sentence without its full stop, or "" where all have one.

    At most `most` of them are named; those of over 30 characters are not shown. more : as in `meanings_of`.
    """
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
    """Say whether tickets are open: object (n,) of True, False or None where the source does not say.

    A state beats a date: "open" is open even with a closing date from before it was reopened, and any other
    known state is not open even without a date. Without a known state the closing date decides, if the source
    has closing dates at all. meaning (n,) as `meanings_of` gives it; closed : Series (n,) of times.
    """
    closed = pd.Series(closed)
    by_date = np.where(closed.notna(), False, True if closed.notna().any() else None)
    return np.where(meaning == "", by_date, np.where(meaning == "open", True, False)).astype(object)


# ------------------------------------------------------------------------------------------------------- JSON


def flat(record, prefix=""):
    """Return `record` (a dict of JSON) as {name: text or None}.

    An object within it gives names such as "state.name"; lists, numbers and the like are their JSON. Half of
    a surrogate pair becomes a question mark, as in `as_text`.
    """
    out = {}
    for name, value in record.items():
        if isinstance(value, dict) and value:
            out |= flat(value, f"{prefix}{name}.")
        else:
            is_text = value is None or isinstance(value, str)
            out[f"{prefix}{name}"] = as_text(value if is_text else json.dumps(value, ensure_ascii=False))
    return out


def read_arrays(text):
    """Return the objects of all JSON arrays in `text` that follow one another, and of the arrays within them,
    as `gh api --paginate` prints pages, with --slurp and without; None where it is anything else.
    """
    decoder, found, at = json.JSONDecoder(), [], 0
    while text.startswith("[", at):
        try:
            array, at = decoder.raw_decode(text, at)
        except ValueError:
            return None
        found += [one for page in array for one in (page if isinstance(page, list) else [page])]
        at = BLANKS.match(text, at).end()
    return found if at == len(text) else None


def read_json_lines(text):
    """Return (number, value) of each line of `text` that is not empty, the value None where it is no JSON;
    ValueError of one line where no line is an object.
    """
    records = []
    for number, line in enumerate(text.split("\n"), 1):  # not at U+2028, which a text of JSON may hold
        try:
            records += [(number, json.loads(line))] if line.strip() else []
        except ValueError:
            records.append((number, None))
    if not any(isinstance(record, dict) for _, record in records):
        raise ValueError(
            "it begins like JSON and is none: it needs an array of objects, or one object per line"
        )
    return records


def is_titled(record):
    """Whether a JSON object has a subject of its own, under one of its usual names."""
    return any(name.lower() in ("subject", *TITLES) for name in record)


def tickets_within(answer):
    """Return the list of objects that the JSON object `answer` holds, [answer] where it is a ticket itself.

    A ticket alone may have lists of its own, of labels or comments: they have no subject, and it has.
    ValueError of one line where several lists could be that of the tickets.
    """
    lists = [
        value
        for value in answer.values()
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
    ]
    if is_titled(answer):
        lists = [value for value in lists if is_titled(value[0])]
    if len(lists) > 1:
        raise ValueError(
            f"it is a JSON object with {len(lists)} lists of objects: it needs one list of tickets"
        )
    if lists:
        return lists[0]
    return [answer] if is_titled(answer) or [] not in answer.values() else []  # the latter: no ticket today


def records_of(text):
    """Return (number, value) of all that JSON `text` lists: rows of an array or of an object that holds one,
    else lines; ValueError of one line as `read_json_tickets`.
    """
    try:
        content = read_arrays(text)
        content = json.loads(text) if content is None else content
    except ValueError:
        return read_json_lines(text)
    content = tickets_within(content) if isinstance(content, dict) else content
    return list(enumerate(content, 1))


def read_json_tickets(text, bad, ticket_of=None):
    """Read JSON `text` into a DataFrame of text, one row per ticket.

    It is an array of objects, or of arrays of them as pages of an interface come; several such arrays after
    one another; an object that holds one; or one object per line.

    What is no object is added to the list `bad` as (row or line, reason), and so is an object that
    `ticket_of`, where it is there, takes for none: it gives a ticket as it is to be read, or a ValueError
    with the reason. ValueError of one line when there is no ticket in the text.
    """
    rows = []
    for number, record in records_of(text):
        if not isinstance(record, dict):
            bad.append((number, "no JSON object"))
            continue
        try:
            rows.append(flat(ticket_of(record) if ticket_of else record))
        except ValueError as error:
            bad.append((number, str(error)))
    return pd.DataFrame(rows, dtype="string")


# --------------------------------------------------------------------------------------- Rows that come twice


def tell_desks(rows):
    """Return `rows` with ids that no two desks share, and a sentence about it, "" where nothing is changed.

    rows : DataFrame ticket_id, created, file. Files are of two desks when more of the ids that they share
    name tickets created at different times than at the same time. The ids of the first desk, by the names of
    the files, stay; those of the others then begin with d2-, d3-, ...
    """
    one = rows.dropna(subset=["created", "ticket_id"]).drop_duplicates(["file", "ticket_id"])
    if not (alike := shares_alike(one)):
        return rows, ""
    desk = {}
    for file in sorted(rows.file.unique()):
        like = [other for other, share in alike.get(file, ()) if share >= 0.5]
        unlike = any(share < 0.5 for _, share in alike.get(file, ()))
        desk[file] = desk[like[0]] if like else 1 + max(desk.values(), default=0) if unlike or not desk else 1
    number = rows.file.map(desk)
    if number.max() == 1:
        return rows, ""
    renamed = rows.assign(
        ticket_id=rows.ticket_id.where(number == 1, "d" + number.astype(str) + "-" + rows.ticket_id)
    )
    shared = int((one.groupby("ticket_id").created.nunique() > 1).sum())
    return renamed, (
        f"{shared:,} ids of tickets stand in files of {number.max()} desks for different tickets (other "
        "times of creation): the ids of the second "
        f"desk begin with d2- here{', and so on' if number.max() > 2 else ''}"
    )


def shares_alike(rows):
    """Compare files that have ids in common: {file: [(file before it by name, share of the ids in common that
    were created at the same time in both)]}.

    rows : DataFrame file, ticket_id, created, each id once in a file. Products of sparse matrices count what
    files have in common: a table of all pairs of rows would grow with the square of the number of exports.
    """
    files = sorted(rows.file.unique())
    if len(files) < 2:
        return {}
    from scipy import sparse  # here, since most sources of tickets need it not

    number = pd.Index(files).get_indexer(rows.file)

    def in_common(columns):
        of_column = rows.groupby(columns, sort=False).ngroup().to_numpy()
        shape = len(files), int(of_column.max(initial=-1)) + 1
        held = sparse.csr_matrix((np.ones(len(rows), np.int64), (number, of_column)), shape)
        counts = sparse.tril(held @ held.T, -1)
        return dict(zip(zip(counts.row.tolist(), counts.col.tolist(), strict=True), counts.data, strict=True))

    alike, same = {}, in_common(["ticket_id", "created"])
    for (file, other), n in sorted(in_common(["ticket_id"]).items()):
        alike.setdefault(files[file], []).append((files[other], same.get((file, other), 0) / n))
    return alike


def newest_rows(rows, measured):
    """Split `rows` into (one row per ticket_id, the others).

    The row that was changed last (`lastupdate`) stays, and of equals the last one.

    The others get `differs`: the names of those columns of `measured` in which they differ from the row that
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
