"""What simulated tickets say: a grammar of phrases, synonyms, and the mistakes of people.

Writer            draws staff, and composes every message and reply
write_messages    subject, body and format of each ticket; one that is sent twice has the same text twice
"""

import html
import re

from nightshift.simulate.tickets_desk import invent_name
from nightshift.simulate.timeline import SITE_NAMES

CHOICE = re.compile(r"\(([^()]*)\)|\{(\w+)\}")  # (this|that) or {word}
# spaces around what was left out; "-- " opens a signature
LEFT_OVER = re.compile(r" +(?=[ .,?\n])(?<!\n-- )|(?<=\n) +")
WORD = re.compile(r"(?<![\w/.@-])[a-z]+(?![\w/@-])")  # but within addresses, names of hosts and paths
OWN_WORDS = ("package", "library", "commercial", "course")  # the same in all that a ticket says
HOSTS = ["login1", "login2", "n014", "n103", "gpu07"]
ROOTS, FOLDERS = ["home", "scratch", "project"], ["run3", "data", "results", "new", "input.d"]
N_STAFF = 8


class Writer:
    """Compose what users, machines and staff write. All names, hosts and paths are invented.

    phrases : of `read_phrases`. site_names : of `read_site_names`. Draws the names of the staff at once.
    """

    def __init__(self, rng, phrases, *, users, intents, site_names):
        self.rng, self.phrases, self.site_names = rng, phrases, site_names
        self.people, self.same_queue = list(users.itertuples(index=False)), intents.groupby("queue").groups
        self.staff = [invent_name(rng, 2) for _ in range(N_STAFF)]

    def pick(self, options):
        """Return one of `options`, each as likely as the others."""
        return options[self.rng.integers(len(options))]  # 180,000 calls: not by way of tickets_desk.pick

    def fill(self, text, own):
        """Return `text` with one of each (this|that), and each {word} replaced: by `own`, or by a common
        word.
        """
        words = self.phrases["words"]
        while found := CHOICE.search(text):
            choice, word = found.groups()
            if choice is not None:
                options = choice.split("|")
            elif word in own:
                options = [own[word]]
            else:
                options = words[word]
            text = text[: found.start()] + self.pick(options) + text[found.end() :]
        return LEFT_OVER.sub("", text).strip()

    def reword(self, text):
        """Return `text` with other words for the same."""
        also = self.phrases["also"]
        return WORD.sub(lambda found: self.pick(also[found[0]]) if found[0] in also else found[0], text)

    def mistype(self, text):
        """Return `text` with two letters of one longer word exchanged."""
        words = text.split(" ")
        longer = [i for i, word in enumerate(words) if len(word) > 4 and word.isalpha()]
        if longer:
            i = self.pick(longer)
            k = self.rng.integers(1, len(words[i]) - 2)
            words[i] = words[i][:k] + words[i][k + 1] + words[i][k] + words[i][k + 2 :]
        return " ".join(words)

    def particulars(self, ticket):
        """Draw what only this ticket can say: {name: text}."""
        who, other = self.people[ticket.user % len(self.people)], self.pick(self.people)
        site = ticket.site if isinstance(ticket.site, str) else f"{SITE_NAMES[0]}-T1"
        return {
            "first": who.first,
            "name": who.name,
            "user": who.user,
            "address": who.address,
            "phone": who.phone,
            "department": who.department.title(),
            "person": f"{other.first} {other.last}",
            "colleague": other.address,
            "site": self.pick(self.site_names[site]),
            "service": ticket.service or "fts-north.example",
            "host": f"{self.pick(HOSTS)}.{site.lower()}.example",
            "path": f"/{self.pick(ROOTS)}/{who.user}/{self.pick(FOLDERS)}",
            "job": str(self.rng.integers(10**6, 10**7)),
            "staff": self.pick(self.staff),
            **{name: self.pick(self.phrases["words"][name]) for name in OWN_WORDS},
        }

    def machine(self, ticket):
        """Return what phrases.yaml says of the machine that sent an automatic ticket."""
        return self.phrases["automatic"][ticket.user - len(self.people)]

    def message(self, ticket):
        """Compose the first message of a ticket: (subject, body, format).

        Each habit has its chance: to say more, to ask a second thing, to say nothing in the subject, to
        answer an old mail with a subject of something else, to mistype, to write all small, to send HTML.
        """
        own, chance = self.particulars(ticket), self.rng.uniform(size=8)
        if ticket.kind == "automatic":
            machine = self.machine(ticket)
            subject = self.fill(self.pick(machine["subject"]), own)
            return subject, self.fill(self.pick(machine["body"]), own), "text"
        intents = self.phrases["intents"]
        intent = intents[ticket.intent]
        other = intents[self.pick(self.same_queue[intent["about"]["queue"]])]
        more = [intent] * int(chance[0] < 0.3) + [other] * int(chance[1] < 0.1)
        core = " ".join(self.fill(self.pick(one["body"]), own) for one in [intent, *more])
        own["core"] = self.reword(core)
        subject = self.compose_subject(intent, own, other=other, chance=chance)
        body = self.fill("{letter}", own)
        body += "\n\n" + self.fill("{quote}", own) if chance[3] < 0.1 else ""
        subject = (self.pick(["Re: ", "RE: ", "Fw: ", "AW: "]) if chance[3] < 0.09 else "") + subject
        return self.spoil(subject, body, chance=chance)

    def compose_subject(self, intent, own, *, other, chance):
        """Compose a subject: vague, of another intent where an old mail is answered, or of the intent."""
        source = other if chance[3] < 0.06 else intent
        text = "{vague}" if chance[2] < 0.15 else self.pick(source["subject"])
        return self.reword(self.fill(text, own))

    def spoil(self, subject, body, *, chance):
        """Mistype, write all small, or send HTML, as `chance` (8,) says: (subject, body, format)."""
        subject = self.mistype(subject) if chance[4] < 0.12 else subject
        body = self.mistype(body) if chance[5] < 0.3 else body
        if chance[6] < 0.1:
            subject, body = subject.lower(), body.lower()
        else:
            subject, body = subject[:1].upper() + subject[1:], body[:1].upper() + body[1:]
        if chance[7] >= 0.35:
            return subject, body, "text"
        markup = html.escape(body, quote=False).replace("\n\n", "</p><p>").replace("\n", "<br />")
        return subject, f"<p>{markup}</p>", "html"


def write_messages(writer, tickets):
    """Return `tickets`, of `draw_tickets`, with subject, body and format of their first messages."""
    keys = tickets.original.where(tickets.original >= 0, -tickets.ticket_id).to_list()
    messages = {}
    for key, ticket in zip(keys, tickets.itertuples(), strict=True):
        messages[key] = messages.get(key) or writer.message(ticket)
    tickets = tickets.copy()
    tickets[["subject", "body", "format"]] = [messages[key] for key in keys]
    return tickets
