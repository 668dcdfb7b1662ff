"""Pictures small enough to stand in a page: few colours, no loss of sharpness, inline as data URLs."""

import base64
import functools
import io
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from PIL import Image

COLOURS = 32  # of a picture: lines, letters and their soft edges; 68 pictures of a night take 1.4 of 7.6 MB
WIDEST = 1600  # pixels; no page shows more


def small_picture(path, widest=WIDEST):
    """The picture at `path`, a path or a file, with at most 32 colours and `widest` pixels across, a
    fifth of its size; None where it is none.

    By octree, which keeps a rare red that the default, median cut, turns brown. Not made smaller where it
    need not be: that would add colours, weight and blur.
    """
    try:
        picture = Image.open(path).convert("RGB")
    except (OSError, Image.DecompressionBombError):
        return None
    picture.thumbnail((widest, 4000), Image.Resampling.LANCZOS)
    small = picture.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # the mean of what is nearly white is grey, and would show as a card around the picture
    palette = [255 if min(colour) >= 249 else one for colour in batches(small.getpalette()) for one in colour]
    small.putpalette(palette)
    return small


def batches(palette):
    """The colours of a palette, three numbers each."""
    return zip(*[iter(palette)] * 3, strict=True)


def address_of(picture):
    """The data URL of a picture as WebP without loss, which takes four fifths of a PNG."""
    small = io.BytesIO()
    picture.convert("RGB").save(small, "WEBP", lossless=True, quality=50, method=2)
    return "data:image/webp;base64," + base64.b64encode(small.getvalue()).decode()


class Inline(NamedTuple):
    """A picture in a page. address : a Future of its data URL; width, height : pixels, 0 where it is no
    picture.
    """

    address: Future
    width: int
    height: int


@functools.cache
def encoders():
    """Threads that encode pictures, a fifth of the work on a page, while the rest of it is made."""
    return ThreadPoolExecutor(2)


def inline_png(text):
    """Make the PNG `text`, in base64, a small Inline; what cannot be read as a picture stays as it is."""
    text = text.replace("\n", "")
    picture = small_picture(io.BytesIO(base64.b64decode(text)))
    if picture is None:
        return Inline(encoders().submit(str, f"data:image/png;base64,{text}"), 0, 0)
    return Inline(encoders().submit(address_of, picture), *picture.size)


def small_pictures(paths, room):
    """{path: data URL} of the pictures at `paths`, in their order and small, as long as they take at most
    `room` characters together.

    A file that is no picture is left out.
    """
    taken = {}
    for path in dict.fromkeys(paths):
        if not (picture := small_picture(path)):
            continue
        if len(url := address_of(picture)) <= room:
            taken[path], room = url, room - len(url)
    return taken
