"""How a message is handed to a mail server: encrypted always, its certificate verified always, and with a
known end for every recipient.

smtplib's own `sendmail` does not tell a connection that was lost before the last byte from one that was lost
after it. Only in the second case may the message have been delivered (RFC 5321, 4.5.3.2.6), so the steps are
taken one by one here.
"""

import contextlib
import re
import smtplib
import socket
import ssl
import threading

from nightshift.wording import one_line

# for one answer, and for all of a message: a server may answer byte by byte for ever
TIMEOUT_S, SESSION_S = 30, 180


class NoWay(Exception):
    """Nothing can be sent to anybody now; its text says why."""


def reason(error, timeout_s=TIMEOUT_S):
    """One line of what went wrong between us and the server, which had `timeout_s` to answer."""
    if isinstance(error, smtplib.SMTPResponseException):
        return answer(error.smtp_code, error.smtp_error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return f"no answer within {timeout_s} s"
    return one_line(error) or type(error).__name__


def answer(code, text):
    """The answer of a server in one line, without addresses: reports/ may be shown to others."""
    text = one_line(text.decode(errors="replace") if isinstance(text, bytes) else text, 200)
    return re.sub(
        r"\S+@\S+", "(address)", f"it says {code} {text}" if code > 0 else f"it speaks no SMTP: {text}"
    )


def expect(code, reply):
    """Make sure that the `reply` of a server, (code, text), has this code; else SMTPResponseException."""
    if reply[0] != code:
        raise smtplib.SMTPResponseException(*reply)


@contextlib.contextmanager
def connected(settings, *, timeout_s=None):
    """A session with the mail server: encrypted, its certificate verified, logged in, our sender accepted;
    NoWay says why there is none. timeout_s : for one answer, by default TIMEOUT_S.
    """
    scheme, host, port = settings.server
    context, timeout_s = ssl.create_default_context(), timeout_s or TIMEOUT_S
    server = (
        smtplib.SMTP_SSL(timeout=timeout_s, context=context)
        if scheme == "smtps"
        else smtplib.SMTP(timeout=timeout_s)
    )
    # the name that the certificate must hold; smtplib sets it only where it connects at once, and then
    # nothing could end that
    server._host = host
    end = threading.Timer(
        SESSION_S, lambda: server.sock and socket.socket.shutdown(server.sock, socket.SHUT_RDWR)
    )
    end.daemon = True
    end.start()
    try:
        try:
            expect(220, server.connect(host, port))
            if scheme == "smtp":
                server.starttls(context=context)  # raises where it is not offered
            if settings.login:
                server.login(*settings.login)
            server.ehlo_or_helo_if_needed()
            expect(250, server.mail(settings.sender))
        except (OSError, ValueError) as error:
            # those of smtplib and ssl are OSErrors, a line that is no text is a ValueError
            raise NoWay(f"{host}:{port}: {reason(error, timeout_s)}") from None
        yield server
        with contextlib.suppress(OSError):  # the mail is delivered, whatever comes of our goodbye
            server.quit()
    finally:
        end.cancel()
        server.close()


def deliver(message, addresses, settings, before):
    """Hand `message` over: {address: (waiting, sent, refused or unclear; what the server said)}. NoWay when
    there is nobody to hand it to.

    before : called with {address: ("sending", "")} of those accepted, just before the content goes; where it
    fails, nothing goes.
    """
    outcomes, accepted, content = {}, [], re.sub(rb"(?m)^\.", b"..", message.as_bytes()) + b".\r\n"
    lost = "waiting"  # what becomes of the rest if the connection is lost
    try:
        with connected(settings) as server:
            for address in addresses:
                code, text = server.rcpt(address)
                if code in (250, 251):
                    accepted.append(address)
                else:
                    outcomes[address] = ("refused" if 500 <= code < 600 else "waiting", answer(code, text))
            if accepted and (reply := server.docmd("DATA"))[0] == 354:
                before(dict.fromkeys(accepted, ("sending", "")))
                # an error here means that its end was not sent, and the server must forget the rest
                server.send(content)
                lost = "unclear"
                reply = server.getreply()
                code = reply[0]
                outcome = (
                    "sent"
                    if code == 250
                    else "waiting"
                    if 400 <= code < 500
                    else "refused"
                    if code >= 500
                    else "unclear"
                )
                outcomes |= dict.fromkeys(accepted, (outcome, "" if outcome == "sent" else answer(*reply)))
            elif accepted:
                outcomes |= dict.fromkeys(
                    accepted, ("refused" if 500 <= reply[0] < 600 else "waiting", answer(*reply))
                )
    except (OSError, ValueError) as error:
        outcomes |= {address: (lost, reason(error)) for address in addresses if address not in outcomes}
    return outcomes
