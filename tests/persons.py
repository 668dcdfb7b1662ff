"""Made-up persons whose data are planted where people write them, and the search for whatever of them is left."""

import random
import re
from types import SimpleNamespace

from nightshift.privacy import fold

PARTS = ["ka", "lo", "mi", "zu", "te", "ru", "vo", "ni", "ge", "bri", "dro", "fla"]
ENDS = ["ben", "rin", "dal", "sot", "kel", "mur", "nov", "gast"]
# the same person in the words of a ticket; none of these names stands in any list
IN_TICKETS = [
    "Dear {name}, my job fails.",
    "Hi {given}, it does not start",
    "I am {name} and cannot log in.",
    "My name is {name}.",
    "the job of {name} is stuck",
    "my colleague {name} has no access",
    "ask Dr. {family} about the quota",
    "Frau {family} kann sich nicht anmelden",
    "Thanks, {given}",
    "username: {login}",
    "user {login1} cannot write",
    "mail me at {email} please",
    "write to {at_email}",
    "call {phone} in the morning",
    "my office is at {street}, {town}",
    "from {ipv4} and {ipv4}:8888",
    "ping of {ipv6} fails, [{ipv6}]:443 too",
    "see {home}/run/out.log",
    "my laptop {laptop} has no network",
    "the certificate {subject} has expired",
    "my certificate is {dn}",
    "my password is {password}",
    "password: {password}",
    "I use token={token}",
    "Authorization: Bearer {token}",
    "git clone https://{login}:{password}@git.x.example/{login}.git",
    "my matriculation number {number}",
    "Passwort: {password} geht nicht",
    "the new password {password} does not work",
    "pwd={password} in the script",
    "squeue -u {login} shows nothing",
    "ssh {login}@{laptop} hangs",
    "scp x {ipv4}:{home}/x hangs",
    "account name: {login}",
    "as user '{login}' it works",
    "I live at {street}",
    "ssh-ed25519 AAAA{token} {login}@{laptop}",
    "0351 {extension} is my number",
    "C:\\Users\\{login}\\run.py fails",
    "{dn} has expired",
]
# in sentences where nothing but the name itself says that it is one: only a list or enough others who write it can tell
UNTOLD = [
    "we saw {family} at the machine",
    "{given} has the same problem",
    "please tell {family} about it",
    "as {given} said, it is slow",
    "please give {name} access",
    "{name} would like to start jobs",
    "my login is {login}",
]
# what programs write of them
BY_PROGRAMS = [
    "[13] user {name} has no permission on {home}/x.root",
    "SOURCE access of user '{login}' denied",
    "Permission denied: owner={login}",
    "authentication failed for {email}",
    "{subject} is not authorized",
    "subject=\"{dn}\" not mapped",
    "no route to {ipv4}, tried [{ipv6}]:1094",
    "password={password} rejected",
    "HTTP 401: Bearer {token}",
    "https://{login}:{password}@se.x.example/path?authz={token}",
    "DESTINATION OVERWRITE /store/user/{login}/f.root",
    "user.{login}:user.{login}.data.root not found",
    "file:///home/{login}/x not found",
    "cannot stat C:\\Users\\{login}\\x.root",
    "/afs/x.example/user/k/{login}/x: no such file",
    "open(~{login}/x): No such file",
    "https://se.x.example/f?X-Signature={token}&user={login}",
]  # fmt: skip


def people(n=300, seed=1):
    """`n` persons with all that is planted of them, no two alike in any of it."""
    rng = random.Random(seed)
    found, used = [], set()
    while len(found) < n:
        first, last = ("".join([*rng.sample(PARTS, rng.choice([1, 2])), rng.choice(ENDS)]).capitalize() for _ in range(2))
        if {first, last} & used or first == last:
            continue
        used |= {first, last}
        found.append(person(first, last, len(found), rng))
    return found


def person(first, last, i, rng):
    letters, hexes = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ", "0123456789abcdef"
    login = f"{first[0]}{last}".lower()
    name, host = f"{first} {last}", f"{rng.choice(['physik', 'chem', 'lab'])}.x.example"
    token = "".join(rng.choices(letters + "0123456789", k=32))
    password = "".join(rng.choices(letters, k=7)) + rng.choice("!?$%") + str(rng.randrange(10, 99))
    ipv6 = "2001:db8:" + ":".join("".join(rng.choices(hexes[1:], k=4)) for _ in range(6))
    number = str(4_000_000 + 7919 * i)
    return SimpleNamespace(
        given=first,
        family=last,
        name=name,
        login=login,
        login1=f"{login}{i % 9 + 1}",
        email=f"{first.lower()}.{last.lower()}@{host}",
        at_email=f"{first.lower()}.{last.lower()} (at) {host.replace('.', ' (dot) ')}",
        phone=f"+49 351 {4000 + i}-{rng.randrange(1000, 9999)}",
        extension=f"{4000 + i}-{i % 9}123",
        street=f"{rng.choice(ENDS).capitalize()}{rng.choice(['straße', 'str.', 'weg', 'allee'])} {i + 1}",
        town=f"{10_000 + i * 17} {rng.choice(PARTS).capitalize()}stadt",
        ipv4=f"10.{i // 250 + 1}.{i % 250 + 1}.{rng.randrange(2, 250)}",
        ipv6=ipv6,
        home=f"/home/{login}",
        laptop=f"{login}-laptop.x.example",
        subject=f"/DC=org/DC=grid/O=Uni/CN={name} {number}",
        dn=f"CN={name}, OU=Physics, O=Uni, C=DE",
        password=password,
        token=token,
        number=number,
    )


def planted(template, one):
    return template.format(**vars(one))


# what of a person is searched for; the rest holds one of these
WORDS = re.compile(r"[^\W_]+")
SOUGHT = ["given", "family", "login", "phone", "street", "town", "ipv4", "ipv6", "password", "token", "number"]


class Search:
    """Finds what of `persons` a text holds, in any case and spelling; digits may follow."""

    def __init__(self, persons):
        self.of = {fold(getattr(one, what)): what for one in persons for what in SOUGHT}
        # of telephone numbers the part that nobody else has
        self.of |= {part: "phone" for one in persons for part in (one.phone.partition("351 ")[2], one.extension)}
        self.words = {value: set(WORDS.findall(value)) for value in self.of}

    def __call__(self, text):
        """[(what it is, the value)] of all that is found, each once."""
        text = fold(text)
        there = set(WORDS.findall(text))
        there |= {word.rstrip("0123456789") for word in there}
        likely = [value for value, words in self.words.items() if words <= there]
        return sorted((self.of[one], one) for one in likely if re.search(rf"(?<![^\W_]){re.escape(one)}(?![^\W\d_])", text))
