"""The command `nightshift live transfers`: which brokers, by which settings of the configuration, and how
it ends.
"""

import logging
import sys
from typing import NamedTuple

from nightshift import night
from nightshift.live.broker import Subscription, check_files, login, read_address
from nightshift.live.configured import all_parameters, night_of_study
from nightshift.live.transfers import FORM, Settings, run
from nightshift.status import keep_private

STUDY = "transfers"


class Options(NamedTuple):
    """What is followed. config : path of the configuration. brokers : addresses. destination, name,
    prefetch : as for Subscription.
    """

    config: object
    brokers: list
    destination: str
    name: str = "nightshift"
    prefetch: int = 2000


def settings_of(config):
    """Read what the configuration at a path says of how transfers are judged: Settings. ValueError, with a
    line for each mistake, where that is wrong.
    """
    of_night = night_of_study(config, STUDY)
    analyse = all_parameters(of_night, STUDY, "4_analyse")
    rates = {name: analyse[name] for name in ("alarm_rate", "false_discovery_rate", "site_pattern")}
    return Settings(str(of_night.config.get("products") or ""), **rates)


def subscriptions_of(options):
    """The subscriptions that the options name: list of Subscription; ValueError of one line where one is
    wrong.
    """
    if not options.brokers:
        raise ValueError(
            "no broker is named: give --broker stomp+ssl://mq.example.org:61612, or STOMP_BROKERS"
        )
    if not options.destination.startswith("/"):
        raise ValueError(f"--destination is {options.destination!r}: it must be such as /topic/rucio.events")
    login()
    check_files()
    more = {"destination": options.destination, "name": options.name, "prefetch": options.prefetch}
    return [Subscription(**read_address(one), **more) for one in options.brokers]


def follow(options):
    """Follow the stream until a signal ends it; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format=FORM, stream=sys.stderr)
    # broker.py says in one line why a broker cannot be reached
    logging.getLogger("stomp.py").setLevel(logging.CRITICAL)
    try:
        settings, subscriptions = settings_of(options.config), subscriptions_of(options)
        keep_private(settings.folder)  # messages as they came
        with night.held(settings.folder):
            return night.WELL if run(settings, subscriptions) else night.FAILED
    except ValueError as error:
        return night.refuse(error)
    except night.Busy as error:
        night.print_line(error)
        return night.LOCKED
    except OSError as error:
        night.print_line(f"the products cannot be read or written: {error}")
        return night.FAILED
