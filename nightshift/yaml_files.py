"""Files of YAML: those of the repository, which `load_yaml` reads, and the configuration of a user, which is
read by a loader of its own (`Loader`).

That one makes numbers, text, truth values, days, lists and mappings, and nothing else: a tag, by which YAML
names a type that it shall make, is refused, and so is what a reader of the file could not see.
"""

import re
import unicodedata
from pathlib import Path

import yaml

DEPTH = 40  # levels of lists and mappings in a file, of which ours have 6
NODES = 100_000  # values in a file with all its aliases written out, of which ours have 300
# what nobody can see, and terminals, pages and mail may act on: control characters but ends of lines, halves
# of letters (surrogates), marks that turn the direction of writing
UNSEEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def load_yaml(path, name=""):
    """Read the YAML file at `path`; an empty one is None.

    ValueError of one line for what is no YAML in UTF-8, in which the file is called `name`, by default its
    path. FileNotFoundError where there is none.
    """
    try:
        # the loader in C takes a tenth of the time of the other
        return yaml.load(Path(path).read_text(encoding="utf-8"), yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{name or path} is no YAML: {' '.join(str(error).split())}") from None


class Loader(yaml.SafeLoader):
    """YAML whose numbers are those of version 1.2: `1e-3` and `5e-05` are numbers, `010` is ten, `12:30` is
    text.

    Each node that it composes has `written`, the tag that stands in the file, None for none.
    """

    depth = 0

    def compose_node(self, parent, index):
        """Compose a node, and keep its tag; ComposerError for more than DEPTH levels."""
        written, mark = getattr(self.peek_event(), "tag", None), self.peek_event().start_mark
        self.depth += 1
        if self.depth > DEPTH:
            raise yaml.composer.ComposerError(
                None, None, f"more than {DEPTH} lists or mappings in each other", mark
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        node.written = getattr(node, "written", None) or written
        return node


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":int", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
INT = re.compile(r"[-+]?[0-9][0-9_]*$|0o[0-7]+$|0x[0-9a-fA-F]+$")
FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
)
Loader.add_implicit_resolver("tag:yaml.org,2002:int", INT, list("-+0123456789"))
Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))


def construct_int(loader, node):
    """A whole number, decimal unless it begins with 0o or 0x."""
    text = node.value.replace("_", "")
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text, 10)


def construct_float(loader, node):
    """A number; .inf and .nan are read, so that they can be refused with their path."""
    return float(node.value.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))


def construct_date(loader, node):
    """A day or moment; what only looks like one, such as 2026-02-31, is text, so that it is refused with its
    path.
    """
    try:
        return loader.construct_yaml_timestamp(node)
    except ValueError:
        return node.value


Loader.add_constructor("tag:yaml.org,2002:timestamp", construct_date)
Loader.add_constructor("tag:yaml.org,2002:int", construct_int)
Loader.add_constructor("tag:yaml.org,2002:float", construct_float)


def read_safely(text):
    """Read the YAML `text`: (its content, None where there is any line; one line for each thing in it that
    is refused, with its path).

    yaml.YAMLError or ValueError where it is no YAML.
    """
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        lines = [] if node is None else [*too_large(node), *refused_in(node)]
        return (None if lines or node is None else loader.construct_document(node)), lines
    finally:
        loader.dispose()


def children(node):
    """Return the nodes in a `node`, keys included."""
    if isinstance(node, yaml.MappingNode):
        return [one for pair in node.value for one in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def too_large(root):
    """Yield a line where aliases make a document without an end, or one of more than NODES values."""
    sizes, inside = {}, set()

    def size(node):  # of DEPTH levels at most, unless a node is in itself
        if id(node) not in sizes:
            inside.add(id(node))
            if any(id(one) in inside for one in children(node)):
                raise ValueError(f"an alias on line {node.start_mark.line + 1} refers to what it is in")
            sizes[id(node)] = 1 + sum(map(size, children(node)))
            inside.remove(id(node))
        return sizes[id(node)]

    try:
        if (n := size(root)) > NODES:
            yield f"the aliases of the file make {n:,} values of it, more than the {NODES:,} that may be"
    except ValueError as error:
        yield str(error)


def refused_in(root):
    """Yield a line for each name and value in the document of the node `root` that is refused, with its path:
    tags, what cannot be seen, names that are no text or are given twice. What has aliases is looked at once.
    """
    waiting, seen = [(root, "")], set()
    while waiting:
        node, where = waiting.pop(0)
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.written:
            yield f"{where or 'the configuration'} has the tag {node.written!r}: plain values alone are read"
        if isinstance(node, yaml.ScalarNode) and (found := UNSEEN.search(node.value)):
            yield f"{where} holds {in_words(found[0])} at character {found.start() + 1}, which nobody can see"
        if isinstance(node, yaml.SequenceNode):
            waiting += [(one, f"{where}[{n}]") for n, one in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            lines, within = names_in(node, where)
            yield from lines
            waiting += within


def names_in(node, where):
    """Return (lines about names of a mapping that are refused, [(node of a value, its path)])."""
    first, lines, within, here = {}, [], [], where or "the configuration"
    for key, value in node.value:
        line = key.start_mark.line + 1
        path = f"{where}.{key.value}".lstrip(".") if isinstance(key, yaml.ScalarNode) else where
        if not isinstance(key, yaml.ScalarNode):
            lines.append(f"{here}: a name on line {line} is no text")
        elif key.written or UNSEEN.search(key.value):
            lines.append(f"{here}: the name {key.value!r} on line {line} has a tag or what nobody can see")
        elif key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
            read = Loader("").construct_object(key, deep=True)
            lines.append(
                f'{here}: the name {key.value} is read as {read} by YAML: write "{key.value}" (line {line})'
            )
        elif key.value in first:
            lines.append(f"{path} is given twice, on line {first[key.value]} and on line {line}")
        else:
            first[key.value] = line
        within.append((value, path))
    return lines, within


def in_words(character):
    """Name a character that cannot be seen, such as "U+001B" or "U+200E (left-to-right mark)"."""
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + (f" ({name.lower()})" if name else "")
