"""A published page with forms instead of the commands that it shows.

The page on disk stays as it is: it needs no server, and shows commands. The page that is served has the
forms, a script that sends them without leaving the page, and a content security policy that allows both.
"""

import html
import re

from markupsafe import Markup

from nightshift.reporting.pages import script, style_of, templates

COMMANDS = re.compile(
    r'(?s)<details class="tell" data-incident="([^"]*)" data-remediations="([^"]*)" data-until="([^"]*)">'
    r".*?</details>"
)
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')
HEAD = 4_000  # characters of a page in which its policy stands
NOTHING = "default-src 'none'; sandbox"  # of files that have no policy


def policy_of(page):
    """Return the content security policy of a page; where it has none, one that allows nothing."""
    named = POLICY.search(page, 0, HEAD)
    return html.unescape(named[1]) if named else NOTHING


def with_forms(page, messages, *, token, opened=""):
    """Replace the commands of a page, text of HTML, by forms.

    messages : {incident: [sentence]}, as `replies` gives them. token : the hidden field of each form, HTML.
    opened : id of the incident whose row is open, "" for none.
    """

    def form(commands):
        incident, remediations, until = map(html.unescape, commands.groups())
        values = {"incident": incident, "remediations": remediations.split(), "until": until}
        values |= {
            "messages": messages.get(incident, []),
            "token": Markup(token),
            "is_open": incident == opened,
        }
        return templates().get_template("tell.html.j2").render(values)

    page, n_forms = COMMANDS.subn(form, page)
    if not n_forms:
        return page
    row = f'id="{html.escape(opened)}">'
    page = page.replace(row, f"{row[:-1]} open>", 1) if opened else page
    return with_script(page)


def with_script(page):
    """Add to a page the policy, the style and the script by which its forms can be sent.

    The referrer of the same origin is allowed: without it, browsers send no origin with a form either, by
    which the server recognises the forms of other sites.
    """
    small = script("tell.js")
    policy = policy_of(page).replace("form-action 'none'", "form-action 'self'; connect-src 'self'")
    policy = policy.replace("script-src ", f"script-src {small.source} ")
    page = POLICY.sub(lambda _: f'<meta http-equiv="Content-Security-Policy" content="{policy}">', page, 1)
    page = page.replace('name="referrer" content="no-referrer"', 'name="referrer" content="same-origin"', 1)
    page = page.replace("</head>", f"<style>{style_of('tell')}</style>\n</head>", 1)
    before, end, after = page.rpartition("</body>")
    return f"{before}<script>{small.text}</script>\n{end}{after}"
