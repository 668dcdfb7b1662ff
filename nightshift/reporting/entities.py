"""What incidents name: sites, storages, links, nodes, VOs and whatever else has a page of its own.

The kind of a finding says what its entity names, by `about` in the study.yaml of its study. Names are foreign
text, so the name of a page's file is a short form of the name and a hash of the whole.
"""

import functools
import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from typing import NamedTuple

from nightshift import catalog
from nightshift.wording import one_line

KINDS = {  # of entities, in the order of their index, each with its plural
    "site": "Sites",
    "storage": "Storages",
    "link": "Links",
    "server": "Servers",
    "node": "Nodes",
    "VO": "VOs",
    "run": "Runs",
    "primary dataset": "Primary datasets",
    "department": "Departments",
    "queue": "Queues",
    "topic": "Topics",
    "other": "Others",
}
FURTHER = {"sites": "site", "datasets": "primary dataset"}  # columns of findings that name several, and what
MAX_NAME = 200  # characters


@dataclass(frozen=True)
class Entity:
    """One thing that incidents name. label : what people read, which may change while the name stays."""

    kind: str
    name: str
    label: str = field(default="", compare=False)

    @functools.cached_property
    def page(self):
        """The name of its file in the folder of entities: permanent, and fit for every file system."""
        plain = unicodedata.normalize("NFKD", self.name).encode("ascii", "ignore").decode().lower()
        slug = re.sub("[^a-z0-9]+", "-", plain)[:40].strip("-")
        mark = hashlib.sha256(f"{self.kind}\0{self.name}".encode("utf-8", "replace")).hexdigest()[:10]
        kind = self.kind.lower().replace(" ", "-")
        kind = "" if slug.startswith(kind) else kind
        return "-".join(part for part in (kind, slug, mark) if part) + ".html"

    @property
    def words(self):
        """What people read."""
        return self.label or self.name


class Naming(NamedTuple):
    """What a finding names. entities : the first is what it is about. parts : pairs (whole, part) of them."""

    entities: tuple
    parts: tuple


@functools.lru_cache(20_000)
def naming_of(about, entity, site):
    """Tell what a finding names, a Naming.

    about : one of catalog.About. entity, site : text, "" for none.
    """
    entity, site = one_line(entity, MAX_NAME), one_line(site, MAX_NAME)
    place = (Entity("site", site),) if site else ()
    things = split_entity(about, entity, site) if entity else ()
    lies_there = [one for one in things[-1:] if one.kind in ("storage", "node")]
    parts = [(at, one) for at in place for one in lies_there]
    parts += [(things[0], end) for end in things[1:] if things[0].kind == "link"]
    return Naming(tuple(dict.fromkeys((*things, *place))), tuple(parts))


def split_entity(about, entity, site):
    """Split the entity of a finding into what it names: tuple of Entity, the first is what it is about."""
    if about in ("link", "link or storage") and " -> " in entity:
        ends = entity.split(" -> ", 1)
        return (Entity("link", entity), *(Entity("storage", end) for end in ends))
    if about == "link or storage":
        return (Entity("storage", entity),)
    if about == "VO at site":
        vo, at, place = entity.rpartition(" at ")
        return (Entity("VO", vo), Entity("site", place)) if at and vo and place else (Entity("VO", entity),)
    if about == "site or VO":
        return (Entity("site" if entity == site else "VO", entity),)
    if about == "GPU":
        return (Entity("node", entity.rpartition(" gpu ")[0] or entity),)
    if about == "run":
        return (Entity("run", entity.partition(",")[0]),)
    if about == "topic":
        name, _, words = entity.partition(": ")
        return (Entity("topic", name, f"{words} ({name})" if words else name),)
    return (Entity(about if about in KINDS else "other", entity),)


@functools.lru_cache(1_000)
def about_of(study, kind, _folder):
    """What the entity of a finding of this kind names, cached: the catalog takes 0.2 ms, and a site has
    thousands of findings.
    """
    return catalog.about_of(study, kind)


def namings_of(incident):
    """List what the findings of an incident name: list of (finding, Naming); its site stands last, without a
    finding.

    incident : as digest.json has it. TypeError or AttributeError for one of another form.
    """
    pairs = []
    for one in incident.get("findings") or []:
        study, kind, entity, site = (text(one.get(key)) for key in ("study", "kind", "entity", "site"))
        naming = naming_of(about_of(study, kind, catalog.NOTEBOOKS), entity, site)
        entities = tuple(dict.fromkeys((*naming.entities, *further_entities(one))))
        pairs.append((one, naming._replace(entities=entities)))
    return [*pairs, (None, naming_of("site", text(incident["site"]), ""))]


def further_entities(finding):
    """List what a finding names besides its entity and its site, in the columns FURTHER: list of Entity."""
    return [
        Entity(kind, one_line(name, MAX_NAME))
        for column, kind in FURTHER.items()
        for name in text(finding.get(column)).split(", ")
        if name
    ]


def text(value):
    """A value of digest.json as text; "" for what is none."""
    return value if isinstance(value, str) else ""


def entities_of(incident):
    """List the entities that an incident names, its site first: list of Entity."""
    *pairs, (_, place) = namings_of(incident)
    others = (entity for _, naming in pairs for entity in naming.entities)
    return list(dict.fromkeys((*place.entities, *others)))
