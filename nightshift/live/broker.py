"""Messages of a broker that speaks STOMP 1.2, such as ActiveMQ and RabbitMQ, each acknowledged once it is
kept.

    Subscription    where to, as whom, how many at a time       read_address, login
    receive         deliver to a function until it is to stop, whatever happens to the broker

Login from STOMP_USER and STOMP_PASSWORD, or the certificate of a client from STOMP_CERT and STOMP_KEY;
servers are verified by STOMP_CA, else by SSL_CERT_FILE and what this machine trusts.
"""

import contextlib
import logging
import os
import queue
import ssl
import threading
import time
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import stomp
import tenacity

SCHEMES = {"stomp://": 61613, "stomp+ssl://": 61612}  # and the ports at which ActiveMQ offers them
LINGER_S = 0.05  # longest wait of a batch, at most a tenth of it per message: one fsync then serves many
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0  # between two tries to reach a broker
CONNECT_S = 10.0
log = logging.getLogger(__name__)


class Refused(ConnectionError):
    """A broker cannot be had at present: one line that says why."""


@dataclass(frozen=True)
class Subscription:
    """One subscription at one broker.

    host, port, is_tls, vhost : of the broker; "" is the virtual host /. destination : such as
    /queue/Consumer.nightshift.rucio or /topic/rucio. name : of the subscriber, by which a broker keeps for it
    what comes while it is away. prefetch : messages that the broker sends before one of them is acknowledged.
    heartbeat_s : after one and a half of these without a sign of the other side the connection counts as
    lost; with TLS, stomp.py has no other way to notice that the other side has gone.
    """

    host: str
    port: int
    is_tls: bool
    vhost: str
    destination: str
    name: str = "nightshift"
    prefetch: int = 2000
    heartbeat_s: float = 5.0

    def __str__(self):
        return f"{self.host}:{self.port}"


def read_address(address):
    """Read the address of a broker, such as stomp+ssl://mq.example.org:61612/vhost: {host, port, is_tls,
    vhost}. ValueError of one line for any other, and for a password in it.
    """
    parts = urlsplit(address)
    scheme = f"{parts.scheme}://"
    if scheme not in SCHEMES or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(
            f"{address.rpartition('@')[2]!r} is no broker, such as stomp+ssl://mq.example.org:61612"
        )
    if parts.username or parts.password:
        raise ValueError(
            f"the address of {parts.hostname} holds a login: it belongs into STOMP_USER and STOMP_PASSWORD"
        )
    try:
        port = parts.port or SCHEMES[scheme]
    except ValueError:
        raise ValueError(f"the port of {parts.hostname} is no number up to 65535") from None
    vhost = unquote(parts.path.removeprefix("/"))
    return {"host": parts.hostname, "port": port, "is_tls": scheme == "stomp+ssl://", "vhost": vhost}


def login(environment=os.environ):
    """Read how to log in: (user, password), each None without. ValueError where only one of them is set."""
    user, password = (environment.get(name) or None for name in ("STOMP_USER", "STOMP_PASSWORD"))
    if (user is None) != (password is None):
        raise ValueError("STOMP_USER and STOMP_PASSWORD must both be set, or neither")
    return user, password


def check_files(environment=os.environ):
    """Make sure that the files of certificates and keys that are named can be read; ValueError of one line
    where one cannot: stomp.py would say so to its log alone.
    """
    for name in ("STOMP_CA", "STOMP_CERT", "STOMP_KEY"):
        path = environment.get(name)
        if path and not (os.path.isfile(path) and os.access(path, os.R_OK)):
            raise ValueError(f"{name} is {path!r}, which is no file that can be read")


class Inbox(stomp.ConnectionListener):
    """What has arrived and is not yet kept, (id to acknowledge, body) each; full, it lets the connection
    wait.

    lost : set when the connection has ended; reason : why, "" where that is not known. subscribed : set when
    the broker has the subscription: what is published to a topic before that is not for us.
    """

    def __init__(self, size):
        self.messages, self.lost, self.reason = queue.Queue(size), threading.Event(), ""
        self.subscribed = threading.Event()

    def on_receipt(self, frame):
        """Note that the broker has the subscription, the only thing for which it is asked for a receipt."""
        self.subscribed.set()

    def on_message(self, frame):
        """Take in a message, unless nobody waits for it any more."""
        while not self.lost.is_set():
            try:
                return self.messages.put((frame.headers["ack"], frame.body), timeout=0.2)
            except queue.Full:
                continue

    def on_error(self, frame):
        """Note what the broker says before it hangs up."""
        body = frame.body.decode(errors="replace") if isinstance(frame.body, bytes) else frame.body or ""
        self.reason = " ".join((frame.headers.get("message") or body).split())[:200]

    def on_disconnected(self):
        """Note that the connection has ended."""
        self.lost.set()

    def on_heartbeat_timeout(self):
        """Note that the other side is silent."""
        self.reason = "no sign of life"
        self.lost.set()

    def take(self, most):
        """Return the messages that are there, up to `most`, after a short wait for the first, and for more
        within LINGER_S; [] for none.
        """
        taken = []
        try:
            taken.append(self.messages.get(timeout=0.2))
            end = time.monotonic() + LINGER_S
            while len(taken) < most:  # beyond the end, only what is there already
                left = max(end - time.monotonic(), 0)
                taken.append(self.messages.get(timeout=min(left, LINGER_S / 10)))
        except queue.Empty:
            pass
        return taken


def connect(subscription):
    """Connect and subscribe: (connection, Inbox). Refused, one line, where that is not to be had."""
    one, inbox = subscription, Inbox(2 * subscription.prefetch)
    beat = int(1000 * one.heartbeat_s)
    connection = stomp.Connection12(
        [(one.host, one.port)],
        heartbeats=(beat, beat),
        reconnect_attempts_max=1,
        timeout=CONNECT_S,
        vhost=one.vhost or "/",
        auto_decode=False,  # of a body that is no text stomp.py would lose the frames read with it
    )
    if one.is_tls:
        connection.set_ssl(
            for_hosts=[(one.host, one.port)],
            ca_certs=os.environ.get("STOMP_CA"),
            cert_file=os.environ.get("STOMP_CERT"),
            key_file=os.environ.get("STOMP_KEY"),
            ssl_version=ssl.PROTOCOL_TLS_CLIENT,  # which verifies the certificate and its host
        )
    connection.set_listener("inbox", inbox)
    try:
        connection.connect(*login(), wait=True, headers={"client-id": one.name})
        connection.subscribe(
            one.destination,
            id=one.name,
            ack="client-individual",
            headers=subscription_headers(one),
        )
        if not inbox.subscribed.wait(CONNECT_S):
            raise stomp.exception.StompException
    except (stomp.exception.StompException, OSError):
        why = inbox.reason or why_not(one) or "no answer to the subscription"
        hang_up(connection)
        raise Refused(f"{one} cannot be had: {why}") from None
    return connection, inbox


def subscription_headers(subscription):
    """How a broker is asked for a destination: for so many messages at a time, and to keep those of a topic
    while we are away. A queue keeps its messages by itself, and ActiveMQ subscribes to none durably.
    """
    most = str(subscription.prefetch)
    headers = {"activemq.prefetchSize": most, "prefetch-count": most, "receipt": subscription.name}
    if subscription.destination.startswith("/queue/"):
        return headers
    of_activemq = {"activemq.subscriptionName": subscription.name}
    return headers | of_activemq | {"durable": "true", "auto-delete": "false"}  # these two in RabbitMQ


def why_not(subscription):
    """Say why a broker cannot be reached, which stomp.py tells its log alone; "" where it can."""
    import socket

    try:
        with socket.create_connection((subscription.host, subscription.port), CONNECT_S) as plain:
            if subscription.is_tls:
                context = ssl.create_default_context(cafile=os.environ.get("STOMP_CA"))
                with context.wrap_socket(plain, server_hostname=subscription.host):
                    pass
    except ssl.SSLCertVerificationError as error:
        why = f"its certificate is not trusted ({error.verify_message})"
        return f"{why}: name the file of its authority in STOMP_CA"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def hang_up(connection):
    """End a connection, whatever state it is in."""
    with contextlib.suppress(stomp.exception.StompException, OSError, AttributeError):
        connection.disconnect()
    connection.transport.disconnect_socket()


def receive(subscription, keep, stopped, *, most=2000):
    """Deliver messages to `keep` until `stopped`, a threading.Event, is set.

    keep : a function of a list of bytes, which returns when they are on disk; they are acknowledged after
    that. What it raises ends all and leaves them to the broker. A broker that goes away is tried again, after
    waits drawn at random up to a limit that doubles from half a second to a minute. most : messages kept at
    once.
    """
    wait = tenacity.wait_random_exponential(FIRST_WAIT_S, max=LONGEST_WAIT_S)
    tries = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Refused),
        wait=wait,
        sleep=stopped.wait,
        stop=tenacity.stop_when_event_set(stopped),
        before_sleep=lambda state: log.warning("%s; trying again", state.outcome.exception()),
    )
    while not stopped.is_set():
        try:
            connection, inbox = tries(connect, subscription)
        except tenacity.RetryError:  # it was stopped meanwhile
            return
        log.info("receiving from %s", subscription)
        try:
            deliver(connection, inbox, keep, stopped, most)
        finally:
            inbox.lost.set()
            hang_up(connection)
        if not stopped.is_set():
            log.warning("%s has gone away: %s", subscription, inbox.reason or "the connection has ended")


def deliver(connection, inbox, keep, stopped, most):
    """Deliver what arrives over one connection, until it is lost or all is to stop."""
    while not (stopped.is_set() or inbox.lost.is_set()):
        taken = inbox.take(most)
        if not taken:
            continue
        keep([body if isinstance(body, bytes) else (body or "").encode() for _, body in taken])
        try:
            for ack, _ in taken:
                connection.ack(ack)
        except (stomp.exception.StompException, OSError, AttributeError):
            return  # what was not acknowledged comes again, and is known by its request then
