"""A published page with forms in the place of the commands that it prints.

The page on the disk stays as it is: it needs no server, and prints commands. What is served has the forms, a
script that sends them without leaving the page, and a policy that allows both, for this page alone.
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
    """The content security policy of a page, that which allows nothing where it has none."""
    named = POLICY.search(page, 0, HEAD)
    return html.unescape(named[1]) if named else NOTHING


def with_forms(page, messages, *, token, opened=""):
    """Put forms in the place of the commands of a page.

    messages : {incident: [sentence]}, as of `replies`. token : hidden field of each form, as HTML. opened :
    the incident whose row is open.
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
    """Let the forms of a page be sent: its policy, style and script.

    A page that names no referrer sends none with a form, and then no origin either, by which a form of
    another site is told apart.
    """
    small = script("tell.js")
    policy = policy_of(page).replace("form-action 'none'", "form-action 'self'; connect-src 'self'")
    policy = policy.replace("script-src ", f"script-src {small.source} ")
    page = POLICY.sub(lambda _: f'<meta http-equiv="Content-Security-Policy" content="{policy}">', page, 1)
    page = page.replace('name="referrer" content="no-referrer"', 'name="referrer" content="same-origin"', 1)
    page = page.replace("</head>", f"<style>{style_of('tell')}</style>\n</head>", 1)
    before, end, after = page.rpartition("</body>")
    return f"{before}<script>{small.text}</script>\n{end}{after}"
