"""Python objects in HDF5 files: those of numbers, texts and times are read, any other is refused.

pandas and PyTables keep time zones, frequencies and columns of mixed values by pickle, which calls whatever
a file names.
"""

import io
import pickle
from types import SimpleNamespace
from zoneinfo import ZoneInfo

from pandas.tseries import offsets

OF_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
READ = {  # what may be named, by module
    "_codecs": ["encode"],  # bytes, as text that any protocol can hold
    "builtins": ["bytearray", "complex", "frozenset", "set"],
    "datetime": ["date", "datetime", "time", "timedelta", "timezone"],
    "dateutil.tz.tz": ["tzoffset", "tzutc"],
    "decimal": ["Decimal"],
    "numpy": ["dtype", "ndarray"],
    **{f"numpy.{core}.multiarray": ["_reconstruct", "scalar"] for core in ("core", "_core")},
    **{f"numpy.{core}.numeric": ["_frombuffer"] for core in ("core", "_core")},
    "pandas._libs.tslibs.nattype": ["_nat_unpickle"],
    "pandas._libs.tslibs.offsets": offsets.__all__,
    "pandas._libs.tslibs.timedeltas": ["_timedelta_unpickle"],
    "pandas._libs.tslibs.timestamps": ["_unpickle_timestamp"],
    "pandas.tseries.offsets": offsets.__all__,
    "pytz": ["FixedOffset", "_UTC", "_p"],
    "zoneinfo": ["ZoneInfo"],
}


class RefusedError(BaseException):
    """An object that is not read; PyTables takes any Exception for a sign that an attribute is plain text."""


class Objects(pickle.Unpickler):
    """Objects of the classes and functions of READ. RefusedError names any other, which is not imported."""

    def find_class(self, module, name):
        """Return what pickle asks for by its name."""
        module = OF_PYTHON_2.get(module, module)
        if (module, name) == ("builtins", "getattr"):
            return part_of_zone
        if name not in READ.get(module, ()):
            raise RefusedError(f"{module}.{name}")
        return super().find_class(module, name)


def part_of_zone(owner, name):
    """Return ZoneInfo's function that restores a time zone; RefusedError for any other part of an object."""
    if owner is not ZoneInfo or name != "_unpickle":
        raise RefusedError(f"getattr of {name}")
    return getattr(owner, name)


def loads(content, **how):
    """Read one object, as `pickle.loads`; RefusedError where it is made of others than those of READ."""
    return Objects(io.BytesIO(content), **how).load()


def guard():
    """Let PyTables read objects by `loads` alone, in this process from now on."""
    # importing it takes a third of a second, and only files of HDF5 need it
    import tables.atom
    import tables.attributeset

    guarded = SimpleNamespace(loads=loads, dumps=pickle.dumps, HIGHEST_PROTOCOL=pickle.HIGHEST_PROTOCOL)
    tables.atom.pickle = tables.attributeset.pickle = guarded
