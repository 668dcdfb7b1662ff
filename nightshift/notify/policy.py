"""Who is told of a night: a digest for those who may see its incidents, a message about failed studies for
those who mend them.

There are several channels, each with a section of the configuration: `mail`, `webhooks` (chats) and
`alertmanager`. Each tells what digest.json of the night says, and keeps in mail.json (webhooks.json,
alertmanager.json) beside it what became of each recipient's message, before and after it is handed over. A
channel is a module that writes messages and hands them over; the rules are the same for all:

- At most one mail a night for each recipient. It is sent when something that they may see is new (it may
  have ended), escalated or resolved, or goes on and was never in a mail to them, as after a mail that was
  lost; with `only_changes: false`, every night. Whoever is told of failures too finds them in the digest.
- What hinders all mail (no connection, no valid certificate, no login, a sender that is refused), a lost
  connection and an answer 4xx: tried again at the next runs, for RETRY_NIGHTS nights, earlier nights first.
  An answer 5xx to a recipient or to the message: not tried again for this night.
- No answer after the last byte: the server may have delivered it (RFC 5321, 4.5.3.2.6), so it is reported
  and not sent again; the next night tells what goes on. Better one mail too few than one too many.
- A night that is rendered again after a later one was published and mailed sends nothing; a night after
  today is refused, and none counts as later. A mail.json that cannot be read is put aside: what became of
  that night's mail is not known then, and none of it is sent again. One run mails at a time.
- On the night after nights of which nothing was sent, what was new or escalated on them and is ongoing counts
  as such. What was resolved on them, or had ended when it was new or escalated, and is listed as closed
  counts as resolved.
- An Alertmanager is told of all that is open every night, and of the latest night only (alertmanager.py).
"""

import contextlib
import fcntl
import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from functools import partial

from helpers import atomic, write_json
from nightshift import former_names
from nightshift.notify import alertmanager, mail, webhook
from nightshift.notify.carried import carry_news, silent_nights
from nightshift.notify.message import read_night
from nightshift.notify.smtp import NoWay
from nightshift.reporting.products import refuse_future
from nightshift.wording import one_line

RETRY_NIGHTS = 3  # a mail older than this is no news
CHANNELS = (mail, webhook, alertmanager)
MAX_STATES = 30  # how many nights are read to find out what a recipient knows
MEANS = {
    "waiting": "tried again at the next run",
    "refused": "not tried again for this night",
    "unclear": "may have been delivered and is not sent again",
    "given up": f"given up after {RETRY_NIGHTS} nights",
}

# ------------------------------------------------------------------------------------------ who knows of what


def tell_night(root, day, config, dry_run=False):
    """Tell of the night of `day` through all channels that the configuration has, one after the other;
    returns a line for each thing that went wrong, which begins with the name of its section.
    """
    more = {"dry_run": True} if dry_run else {}
    return [
        f"{channel.SECTION}: {line}"
        for channel in CHANNELS
        if config.get(channel.SECTION)
        for line in send_night(root, day, config, channel, **more)
    ]


def send_night(root, day, config, channel=mail, *, dry_run=False):
    """Tell of the night of `day`, and of what waits of earlier nights, through one channel, if the
    configuration says to whom; returns a line for each thing that went wrong.

    dry_run : nothing is sent or remembered; the messages, as if none had been sent for this night, are
    written to data/mail/<day>/.
    """
    try:
        if not (settings := channel.read_settings(config)):
            return []
        settings.channel = channel
        refuse_future(day)
        if not (digest := root / "reports" / day / "digest.json").exists():
            return [f"the night of {day} has not been published: there is no {digest}"]
        with (root / f"reports/.{channel.SECTION}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return write_drafts(root, day, settings) if dry_run else send_all(root, day, settings)
    except BlockingIOError:
        return ["another run is sending mail, and this one leaves it to that"]
    except Exception as error:
        # whatever it is, the site is published, and that must not end with a traceback
        return [one_line(error if isinstance(error, ValueError) else f"{type(error).__name__}: {error}")]


def send_all(root, day, settings):
    """Tell of all that is due up to the night of `day`; returns lines of what went wrong."""
    states, lines = read_states(root, settings)
    today = str(datetime.now(UTC).date())
    if any(
        day < night <= today and state and (root / "reports" / night / "digest.json").exists()
        for night, state in states.items()
    ):
        return lines
    states = {night: state for night, state in states.items() if night <= day}
    since = str(date.fromisoformat(day) - timedelta(RETRY_NIGHTS))
    silent = silent_nights(root, day, states)
    troubles, way = end_old(root, states, since, settings), ""  # way: why nothing can be sent any more
    due = {
        night: [key for key, entry in state.items() if entry["outcome"] == "waiting"]
        for night, state in states.items()
    } | {day: None}
    for night_day in sorted(due):
        if night_day < day and not (
            due[night_day] and (root / "reports" / night_day / "digest.json").exists()
        ):
            continue
        try:
            night = read_night(root, night_day)
        except ValueError as error:  # it must not cost the other nights their mail
            lines.append(str(error))
            continue
        if night_day == day:
            carry_news(root, night, silent)
        for view, to in views_of(night, settings, states, due[night_day]):
            if not view:
                record(root, states, night, view, dict.fromkeys(to, ("quiet", "")), settings)
                continue
            outcomes, way = hand_over(root, states, night, view, to, settings, way)
            for address, (outcome, words) in outcomes.items():
                if outcome != "sent":
                    troubles.setdefault((night_day, outcome, words), []).append(address)
    return lines + [line_of(*what, to) for what, to in troubles.items()]


def hand_over(root, states, night, view, to, settings, way):
    """Hand one message to its recipients `to`, and write down what became of it: ({address: (outcome, why)},
    why nothing can be sent any more, "" if it can). way : the same from before.
    """
    message = settings.channel.compose(root, view, settings, to)
    keep = partial(record, root, states, night, view, settings=settings, message=message)
    outcomes = dict.fromkeys(to, ("waiting", way))
    keep(outcomes)
    try:
        outcomes = outcomes if way else settings.channel.deliver(message, to, settings, keep)
    except NoWay as error:
        way = str(error)
        outcomes = dict.fromkeys(to, ("waiting", way))
    keep(outcomes)
    return outcomes, way


def end_old(root, states, since, settings):
    """Give up what has waited since before the night `since`, and settle what a run that was killed left
    open: {(night, outcome, why): recipients}.

    A recipient whom the configuration no longer names is named by the hash that stands in mail.json.
    """
    if settings.channel.LATEST_ONLY:
        supersede(root, states, settings)
        return {}
    address_of = {key_of(address): address for address in {*settings.people, *settings.failures}}
    troubles = {}
    for night, state in states.items():
        for key, entry in state.items():
            if entry["outcome"] == "sending":
                entry |= {"outcome": "unclear", "reason": "the run ended while it was on its way"}
            elif entry["outcome"] == "waiting" and night < since:
                entry["outcome"] = "given up"
            else:
                continue
            troubles.setdefault((night, entry["outcome"], entry["reason"]), []).append(
                address_of.get(key, f"recipient {key}")
            )
            write_state(root, night, state, settings.channel.SECTION)
    return troubles


def supersede(root, states, settings):
    """Mark messages that still wait as superseded, in a channel for which only the latest night counts."""
    for night, state in states.items():
        waiting = [entry for entry in state.values() if entry["outcome"] in ("waiting", "sending")]
        for entry in waiting:
            entry["outcome"] = "superseded"
        if waiting:
            write_state(root, night, state, settings.channel.SECTION)


def line_of(night, outcome, words, to):
    """Say in one line what became of a night's message to the recipients `to`: `words`, and what follows."""
    return (
        f"{night} to {', '.join(to[:3])}{f' and {len(to) - 3} more' if len(to) > 3 else ''}: {words}; "
        f"{MEANS[outcome]}"
    )


def views_of(night, settings, states, due=None):
    """[(view, recipients)] of those whose mail of this night is not settled: who may see the same gets one
    message, the channel's MAX_TO at a time.

    A view that is None: no mail is due. due : keys of the only recipients that count, None for all.
    """
    groups, state, channel = {}, states.get(night.day, {}), settings.channel
    settled = {key for key, entry in state.items() if entry["outcome"] not in ("waiting", "quiet")}
    for address in sorted({*settings.people, *settings.failures}):
        key = key_of(address)
        if (channel.LATEST_ONLY or key not in settled) and (due is None or key in due):
            entry = {"notified": notified_before(states, night.day, key)}
            entry["memory"] = memory_of(states, night.day, key)
            view = channel.view_for(night, settings, address, entry)
            groups.setdefault(json.dumps(view, default=str), (view, []))[1].append(address)
    most = channel.MAX_TO
    return [(view, to[at : at + most]) for view, to in groups.values() for at in range(0, len(to), most)]


def notified_before(states, day, key):
    """Ids of the incidents and concerns that a recipient knew of before the night of `day`."""
    return set(
        next(
            (
                states[night][key]["notified"]
                for night in sorted(states, reverse=True)
                if night < day and key in states[night]
            ),
            [],
        )
    )


def memory_of(states, day, key):
    """What the channel remembers of a recipient on the night of `day` or the last one before it; None where
    that is nothing.
    """
    entries = [states[night][key] for night in sorted(states) if night <= day and key in states[night]]
    return entries[-1].get("memory") if entries else None


def record(root, states, night, view, outcomes, settings, message=None):
    """Write down what became of a night's message to the recipients of `outcomes` {address: (outcome, why)},
    and what they know of now.
    """
    state, concerns = states.setdefault(night.day, {}), {one["id"] for one in night.concerns}
    for address, (outcome, words) in outcomes.items():
        knew = notified_before(states, night.day, key_of(address))
        # what is past is forgotten
        knew &= concerns | (knew if night.incidents is None else {one["id"] for one in night.incidents})
        knew |= {*view["seen"]} if view and outcome == "sent" else set()
        before = memory_of(states, night.day, key_of(address))
        state[key_of(address)] = {
            "outcome": outcome,
            "reason": words,
            "message_id": message.id if message else "",
            "notified": sorted(knew),
        }
        memory = remembered(before, message, outcome)
        state[key_of(address)] |= {"memory": memory} if memory else {}
    write_state(root, night.day, state, settings.channel.SECTION)


def remembered(before, message, outcome):
    """What the channel remembers of a recipient after a message, a list: what it said, and unless it is sure
    to have arrived, what was remembered `before` as well.
    """
    if message is None or message.memory is None:
        return before
    if outcome == "sent":
        return message.memory
    return [*(before or []), *(one for one in message.memory if one not in (before or []))]


def key_of(address):
    """How mail.json names a recipient: the folder reports/ may be shown to others."""
    return hashlib.sha256(address.encode()).hexdigest()[:16]


def read_states(root, settings):
    """({night: {recipient: what became of their mail}} of the latest MAX_STATES nights, a line for each
    mail.json that cannot be read).

    Nobody knows who got what of such a night, so nothing of it is sent again: better one mail too few than
    one too many. The file is put aside as mail.damaged.json, and another takes its place.
    """
    states, lines, today = {}, [], str(datetime.now(UTC).date())
    section = settings.channel.SECTION
    there = sorted(root.glob(f"reports/????-??-??/{section}.json"))
    paths = [path for path in there if path.parent.name <= today]
    for path in paths[-MAX_STATES:]:
        night = path.parent.name
        try:
            states[night] = recipients_of(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            lines.append(
                f"reports/{night}/{section}.json cannot be read ({type(error).__name__}): "
                "who has got the mail of that night is not known, and none of it is sent again"
            )
            unclear = {
                "outcome": "unclear",
                "reason": "the record of the night's mail was damaged",
                "message_id": "",
            }
            keys = sorted(map(key_of, {*settings.people, *settings.failures}))
            states[night] = {
                key: unclear | {"notified": sorted(notified_before(states, night, key))} for key in keys
            }
            with contextlib.suppress(OSError):
                path.replace(path.with_name(f"{section}.damaged.json"))
                write_state(root, night, states[night], section)
    return states, lines


def recipients_of(path):
    """What mail.json at `path` says became of each recipient's mail; OSError, ValueError, KeyError or
    TypeError where that cannot be read.
    """
    state = json.loads(path.read_text(encoding="utf-8"))["recipients"]
    if isinstance(state, dict):
        state = {
            key: former_names.rename_keys(entry, former_names.RECIPIENT_KEYS) for key, entry in state.items()
        }
    return checked_state(state)


def checked_state(state):
    """`state`, what became of a night's mail, unless it is none: then TypeError."""
    kinds = {"outcome": str, "reason": str, "notified": list}
    entries = (
        [entry if isinstance(entry, dict) else {} for entry in state.values()]
        if isinstance(state, dict)
        else [{}]
    )
    if not all(isinstance(entry.get(name), kind) for entry in entries for name, kind in kinds.items()):
        raise TypeError("it is no state of recipients")
    return state


def write_state(root, night, state, section="mail"):
    """Write what became of a night's messages beside its digest."""
    write_json(
        {
            "version": 2,
            "night": night,
            "written": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "recipients": state,
        },
        root / "reports" / night / f"{section}.json",
    )


def read_quietly(path):
    """The recipients of a mail.json, none where it cannot be read: a dry run changes nothing."""
    try:
        return recipients_of(path)
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_drafts(root, day, settings):
    """Write the messages of a night, as if none had been sent for it, to data/mail/<day>/.

    They hold addresses: nobody but the owner may look into that folder.
    """
    channel, folder, night = settings.channel, root / "data/mail" / day, read_night(root, day)
    folder.mkdir(parents=True, exist_ok=True)
    folder.parent.chmod(0o700)
    for old in folder.glob(f"*.{channel.DRAFT}"):
        if channel.DRAFT == "eml" or old.name.startswith(f"{channel.SECTION}-"):
            old.unlink()
    sent = {
        path.parent.name: read_quietly(path)
        for path in sorted(root.glob(f"reports/????-??-??/{channel.SECTION}.json"))[-MAX_STATES:]
    }
    carry_news(root, night, silent_nights(root, day, sent))
    for n, (view, to) in enumerate([one for one in views_of(night, settings, sent | {day: {}}) if one[0]], 1):
        content = channel.compose(root, view, settings, to).content
        kind = "digest" if view.get("digest", True) else "failures"
        name = f"{n}-{kind}" if channel is mail else f"{channel.SECTION}-{n}"
        text = content.as_bytes() if channel is mail else json.dumps(content, indent=1).encode()
        path = folder / f"{name}.{channel.DRAFT}"
        with atomic(path) as temporary:
            temporary.touch(0o600)
            temporary.write_bytes(text)
        print(f"{path}: to {', '.join(to)}")
    return []
