"""Pictures made small enough for a page: with few colours, still sharp, each a file that the pages of a night
share.
"""

import base64
import functools
import hashlib
import io
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageChops, ImageStat

from helpers import atomic

# tried one after the other: lines, letters and their soft edges; 68 pictures of a night take 0.9 of 5.7 MB
COLOURS = (12, 16, 24, 32)
FARTHEST = 48  # of 255: what the colour of a pixel may be off, so that no rare red turns brown
MEAN = 1  # of 255: what it may be off on average, so that a scale of colours keeps its steps
WIDEST, HIGHEST = 1600, 4000  # pixels; no page shows wider ones
FOLDER = "pictures"


def small_picture(path, widest=WIDEST):
    """Reduce the picture at `path`, a path or a file, to the fewest of COLOURS that come close to its own,
    and to `widest` pixels across and HIGHEST down: a seventh of its size. None where it is no picture.

    The colours come from an octree, which keeps a rare red that the default, median cut, turns brown. A
    picture that is small enough is not scaled, since that would add colours, bytes and blur.
    """
    try:
        picture = Image.open(path).convert("RGB")
    except (OSError, Image.DecompressionBombError):
        return None
    picture.thumbnail((widest, HIGHEST), Image.Resampling.LANCZOS)
    for colours in COLOURS:
        small = quantised(picture, colours)
        off = ImageStat.Stat(ImageChops.difference(picture, small.convert("RGB")))
        if max(most for _, most in off.extrema) <= FARTHEST and max(off.mean) <= MEAN:
            break
    return small


def quantised(picture, colours):
    """Give a picture a palette of at most `colours`, in which nearly white ones are white: the mean of their
    shades would be grey, and look like a frame around the picture.
    """
    small = picture.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    shades = triples_of(small.getpalette())
    palette = [255 if min(shade) >= 249 else one for shade in shades for one in shade]
    small.putpalette(palette)
    return small


def triples_of(palette):
    """Yield the colours of a palette, a flat list of numbers, as triples."""
    return zip(*[iter(palette)] * 3, strict=True)


class Shown(NamedTuple):
    """A picture as a page shows it. address : a Future of its address, seen from the page; width, height :
    pixels.
    """

    address: Future
    width: int
    height: int


@functools.cache
def encoders():
    """Threads that encode pictures, a fifth of the work on a page, while the rest of it is made."""
    return ThreadPoolExecutor(2)


@functools.cache
def drawn_by():
    """This code, of which the name of each picture holds a hash: pictures of other code are made again."""
    return Path(__file__).read_bytes()


class Album(NamedTuple):
    """The folder of pictures that pages share. path : of the folder; href : the same, seen from the page."""

    path: Path
    href: str

    @classmethod
    def of(cls, page, home):
        """The album of `page`; home : what leads from there to the folder of the night, "" or "../"."""
        return cls(page.parent / home / FOLDER, f"{home}{FOLDER}/")

    def add(self, content):
        """Put the picture `content`, bytes, reduced into the album, as lossless WebP, which takes four fifths
        of a PNG; returns it as Shown, None where it is no picture. One that is there already stays, and one
        of the night before, as most of a training are, is the same file in both nights.
        """
        name = f"{hashlib.sha256(drawn_by() + content).hexdigest()[:20]}.webp"
        path, address = self.path / name, self.href + name
        if path.exists() or linked(album_before(self.path) / name, path):
            with Image.open(path) as there:
                return Shown(encoders().submit(str, address), *there.size)
        if (picture := small_picture(io.BytesIO(content))) is None:
            return None
        return Shown(encoders().submit(write_webp, picture, path, address), *picture.size)

    def add_png(self, text):
        """Put a PNG, `text` in base64, into the album, as `add` does; binascii.Error where it is none."""
        return self.add(base64.b64decode(text))

    def add_files(self, paths):
        """Put the pictures at `paths` into the album: {path: address}. A file that is no picture is left
        out.
        """
        added = {path: self.add(path.read_bytes()) for path in dict.fromkeys(paths) if path.is_file()}
        return {path: shown.address.result() for path, shown in added.items() if shown}


@functools.cache
def album_before(folder):
    """The album of the latest night before that of the album at `folder`; a folder that does not exist where
    there is none.
    """
    night = folder.resolve().parent
    earlier = (path.name for path in night.parent.glob("????-??-??") if path.name < night.name)
    return night.with_name(max(earlier, default=night.name)) / folder.name


def linked(source, path):
    """Make `path` a hard link to the file at `source`, which is never changed in place; returns whether it
    could be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(source)
    except OSError:  # there is none, or it lies on another disk, or belongs to another account
        return False
    return True


def write_webp(picture, path, address):
    """Write a picture to `path`, and return its `address`."""
    with atomic(path) as temporary:
        picture.convert("RGB").save(temporary, "WEBP", lossless=True, quality=50, method=2)
    return address
