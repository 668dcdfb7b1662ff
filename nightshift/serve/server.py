"""The server: published files as they are, front pages with forms, and the replies that forms send.

Files      anything below reports/ that is not hidden and no mail    Files
Fronts     the front page of a night, with forms                     Front
Replies    a POST of feedback or of a silence                        Reply

A reply is accepted from a page of this server only: the host must be one by which it is reached, which keeps
out names that an attacker points here, the origin must be the same, and the form must hold the token of its
cookie, which no other site is sent or can read.
"""

import asyncio
import logging
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError
from tornado import httputil
from tornado.web import Application, HTTPError, RequestHandler, StaticFileHandler, stream_request_body

from nightshift.products import TOLD, TOLD_BY
from nightshift.remediation.feedback import UnknownIncident
from nightshift.reporting.pages import bare_page
from nightshift.serve.forms import HEAD, NOTHING, policy_of, with_forms
from nightshift.serve.replies import replies, say_outcome, say_silence
from nightshift.wording import one_line

# of a night: who was told of what, also in a record that was damaged and put aside
UNSEEN = {"mail", *TOLD, *(f"{name}.damaged.json" for name in TOLD_BY)}
MAX_BODY = 16_384  # bytes; the longest form has a reason of 200 characters
TYPES = {".ipynb": "application/json", ".log": "text/plain", ".parquet": "application/vnd.apache.parquet"}
LINES = {404: "There is no such page.", 405: "This address takes no such request.", 500: "The server failed."}
WRITERS = {"feedback": say_outcome, "silence": say_silence}
audit = logging.getLogger("nightshift.serve")


class Site(NamedTuple):
    """What is served, and to whom. root : the folder of products. hosts : names by which it is reached.
    origin : that of `site_url`, "" unknown. user_header : name of the header with the reader; "" is `user`,
    who runs the server.
    """

    root: Path
    hosts: frozenset
    origin: str
    user_header: str
    user: str


class Refused(HTTPError):
    """A request that is refused for the reason that `line` says."""

    def __init__(self, status, line):
        super().__init__(status)
        self.line = line


def application(site):
    """The application of a `site`, a Site."""
    night = r"/(\d{4}-\d\d-\d\d)/"
    is_secure = bool(site.user_header) and site.origin.startswith("https:")
    routes = [
        (rf"{night}(feedback|silence)", Reply),
        (rf"{night}(?:index\.html)?", Front),
        (r"/(.*)", Files, {"path": str(site.root / "reports"), "default_filename": "index.html"}),
    ]
    return Application(
        routes,
        site=site,
        # not the name that JupyterLab uses, since all ports of a host share its cookies
        xsrf_cookie_name="nightshift_xsrf",
        xsrf_cookie_kwargs={"httponly": True, "samesite": "Strict", "secure": is_secure},
        log_function=lambda handler: None,  # replies have their own lines, and pages need none
    )


class Handler(RequestHandler):
    """What all requests have in common: the check of the host, headers, and the line of a refusal."""

    line = ""

    @property
    def site(self):
        return self.settings["site"]

    def set_default_headers(self):
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_policy(NOTHING)

    def set_policy(self, policy):
        """Send a content security policy; no page of another site may frame what is sent."""
        self.set_header("Content-Security-Policy", f"{policy}; frame-ancestors 'none'")

    def prepare(self):
        self.check_host()

    def check_host(self):
        """Refuse a name by which this server is not reached."""
        name = re.sub(r":\d+$", "", self.request.host).lower()
        if name not in self.site.hosts:
            hint = "name it as `site_url` in the configuration, if it is the address of this site"
            raise Refused(403, f"{one_line(name, 80)} is not a name of this server; {hint}.")

    def write_error(self, status_code, **about):
        error = about.get("exc_info", (None, None))[1]
        self.line = getattr(error, "line", "") or LINES.get(status_code, f"{status_code} {self._reason}.")
        self.answer(status_code)

    def wants_json(self):
        """Whether the answer is for a script."""
        return "application/json" in self.request.headers.get("Accept", "")

    def answer(self, status):
        """Send the line of this request, as JSON or as a page."""
        self.set_status(status)
        if self.wants_json():
            self.finish({"line": self.line})
        else:
            heading = "This was not noted." if self.request.method == "POST" else "There is nothing to show."
            page = bare_page("broken.html.j2", title="Nightshift", heading=heading, line=self.line)
            self.set_policy(policy_of(page))
            self.finish(page)


def in_utf8(text):
    """The text of a header, which tornado reads as Latin-1, in the UTF-8 that proxies send."""
    try:
        return text.encode("latin1").decode()
    except UnicodeError:
        return text


def is_public(path):
    """Whether a path below reports/ may be sent: not what is hidden, nor drafts of mails and records of who
    was told of what, nor a path with a null byte, which no file has.
    """
    parts = path.split("/")
    is_hidden = any(part.startswith(".") for part in parts) or "\0" in path
    return not is_hidden and not UNSEEN & set(parts)


class Files(Handler, StaticFileHandler):
    """Published files."""

    async def get(self, path, include_body=True):
        if not is_public(path):
            raise HTTPError(404)
        try:
            await super().get(path, include_body)
        except HTTPError as error:
            # tornado answers 403 for what lies elsewhere or is no file, which would tell that it is there
            raise HTTPError(404 if error.status_code == 403 else error.status_code) from None

    def redirect(self, url, **how):
        # from a folder to its page, relative, since a proxy may serve all of this below a path of its own
        super().redirect(f"{url.rstrip('/').rpartition('/')[2]}/", **how)

    def compute_etag(self):
        # tornado would keep the hash of a file for ever, and the next night replaces the file
        stat = Path(self.absolute_path).stat()
        return f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'

    def get_content_type(self):
        # systems know different types, and none says that texts are UTF-8
        kind = TYPES.get(Path(self.absolute_path).suffix) or super().get_content_type()
        return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind

    def set_extra_headers(self, path):
        self.set_header("Cache-Control", "no-cache")  # asked for each time, and sent again only if it changed
        if self.absolute_path.endswith(".html"):
            with open(self.absolute_path, encoding="utf-8", errors="replace") as file:
                self.set_policy(policy_of(file.read(HEAD)))


class Front(Handler):
    """The front page of a night, with forms."""

    async def get(self, day):
        path = self.site.root / "reports" / day / "index.html"
        try:
            page = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            raise HTTPError(404) from None
        sentences = await asyncio.to_thread(replies, self.site.root, day)
        page = with_forms(
            page, sentences, token=self.xsrf_form_html(), opened=self.get_query_argument("opened", "")
        )
        self.set_header("Cache-Control", "no-store")  # it holds the token of one reader
        self.set_policy(policy_of(page))
        self.finish(page)

    head = get


@stream_request_body
class Reply(Handler):
    """Feedback or a silence, as a form or as JSON with the token in the header X-XSRFToken."""

    about = by = ""

    def prepare(self):
        # all else is refused once the body is read: a connection that ends before may lose the answer
        self.body = b""
        if self.request.method == "POST":
            self.check_length()

    def check_origin(self):
        """Refuse what a page of another site sends; programs other than browsers name no origin."""
        origin = self.request.headers.get("Origin")
        host = self.request.host
        if origin in (None, f"http://{host}", f"https://{host}", self.site.origin):
            return
        hint = "name this site as `site_url` in the configuration, if it is the address of it"
        raise Refused(403, f"{one_line(origin, 80)} is not the origin of this server; {hint}.")

    def check_length(self):
        """Refuse a body before it is read."""
        length = self.request.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]+", length):
            raise Refused(411, "The request does not say how long it is.")
        if int(length) > MAX_BODY:
            raise Refused(413, f"The request is longer than {MAX_BODY} bytes.")

    def reader(self):
        """The name of the reader who sends this request."""
        header = self.site.user_header
        if not header:
            return self.site.user
        names = [one_line(in_utf8(name)) for name in self.request.headers.get_list(header)]
        if len(names) != 1 or not names[0]:
            raise Refused(403, f"The proxy must name one reader, in the header {header}.")
        return names[0]

    def data_received(self, chunk):
        self.body += chunk

    async def post(self, day, kind):
        self.check_host()
        self.check_origin()
        self.by = self.reader()
        fields = self.fields()
        self.about = one_line(" ".join(fields.values()))
        try:
            self.check_xsrf_cookie()
        except HTTPError:
            line = "The form does not belong to the cookie: reload the page and try again."
            raise Refused(403, line) from None
        self.line = await asyncio.to_thread(self.write_reply, kind, fields)
        if self.wants_json():
            self.answer(200)
        else:
            name = quote(fields["incident"])
            self.redirect(f"index.html?opened={name}#{name}", status=303)

    def fields(self):
        """What the request says, {name: text}, without its token."""
        kind = self.request.headers.get("Content-Type", "")
        try:
            if kind.partition(";")[0].strip() == "application/json":
                fields = TypeAdapter(dict[str, str]).validate_json(self.body)
            else:
                httputil.parse_body_arguments(kind, self.body, self.request.body_arguments, {})
                self.request.arguments |= self.request.body_arguments
                fields = {name: self.get_body_argument(name) for name in self.request.body_arguments}
        except (ValidationError, httputil.HTTPInputError):
            raise Refused(400, "The request is neither a form nor a JSON object of texts.") from None
        return {name: text for name, text in fields.items() if name != "_xsrf"}

    def write_reply(self, kind, fields):
        """Write a reply; returns what to say of it."""
        try:
            return WRITERS[kind](self.site.root, fields, by=self.by)
        except UnknownIncident as error:
            raise Refused(404, one_line(error)) from None
        except ValueError as error:
            raise Refused(400, one_line(error)) from None
        except OSError as error:
            raise Refused(507, one_line(error)) from None

    def finish(self, chunk=None):
        # the line is there before the answer is
        if self.request.method == "POST":
            asked = one_line(f"{self.request.path} {self.about}".strip())
            answer = f"{self.get_status()} {one_line(self.line)}"
            audit.info("%s from %s: %s: %s", self.by or "nobody", self.request.remote_ip, asked, answer)
        return super().finish(chunk)
