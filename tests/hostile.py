r"""A hundred texts that somebody may write into a name, an error or a ticket, for all tests that pass foreign text on. All are harmless.

Markup sets `window.hit`, which a browser shows when it ran; templates compute 1787569, which nobody writes; sequences of a terminal would clear it or
change its title.
"""

MARKUP = [
    "<script>window.hit=1</script>", "</script><script>window.hit=1</script>", "<img src=x onerror=window.hit=1>", "<svg onload=window.hit=1>",
    "<svg><script>window.hit=1</script></svg>", "<body onload=window.hit=1>", "<details open ontoggle=window.hit=1>",
    "<a href=javascript:window.hit=1>x</a>", "<iframe srcdoc='<script>parent.hit=1</script>'>", "<style>*{display:none}</style>", "<!-- open",
    "--><script>window.hit=1</script>", "]]><script>window.hit=1</script>", "</title><script>window.hit=1</script>",
    "</textarea><script>window.hit=1</script>", "</pre></code></td></table>", "\"><script>window.hit=1</script>", "' onmouseover='window.hit=1",
    "\" autofocus onfocus=\"window.hit=1", "<math><mtext><script>window.hit=1</script></mtext></math>",
    "<template><script>window.hit=1</script></template>", "<base href=https://hit.example/>",
    "<meta http-equiv=refresh content=0;url=https://hit.example/>", "<link rel=stylesheet href=https://hit.example/x.css>",
    "<form action=https://hit.example/><input>", "<object data=https://hit.example/x>", "<b>bold", "&lt;script&gt;", "&#60;script&#62;",
    "&amp;amp;", "<ScRiPt>window.hit=1</sCrIpT >", "<img/src=x/onerror=window.hit=1>",
]  # fmt: skip
MARKDOWN = [
    "[x](javascript:window.hit=1)", "![x](https://hit.example/x.png)", "# heading", "| a | b |", "`code` *b* _i_ **s**", "1. one", "> quoted",
    "<https://hit.example/>", "[x]: https://hit.example/", "***", "~~~", "@all <!channel>",
]  # fmt: skip
TEMPLATES = [
    "{{ 1337 * 1337 }}", "{% raw %}", "{# note", "${1337*1337}", "#{1337*1337}", "<%= 1337*1337 %>", "{0} {} {x!r}", "%s %d %(x)s %n", "$(id) `id`",
    "{",
]  # fmt: skip
MATHEMATICS = [
    "$a_{ {x} $$", r"\frac{1}{2}", r"$\frac{", r"\$ _^% #~&", "$x$", r"$\mathdefault{1}$", "a_b^c", "_nolegend_", "$$", r"\n\t\\",
]  # fmt: skip
TERMINAL = [
    "\x1b[2J\x1b[Hgone", "\x1b]0;title\x07x", "\x1b[31mred", "\x1b[?1049h", "a\rb", "a\x08\x08b", "\x07bell", "\x9b2Jx", "\x1bc", "\x1b[6n",
    "\x1b]8;;https://hit.example/\x07x\x1b]8;;\x07", "a\x00b",
]  # fmt: skip
FORMULAS = [
    "=1+1", "+1+1", "-1+1", "@SUM(1)", "=HYPERLINK(\"https://hit.example/\")", "\t=1+1", "\r=1+1", "=1+1\",\"x",
]  # fmt: skip
HEADERS = [
    "a\r\nBcc: hit@example.org", "a\nSubject: hit", "=?utf-8?b?aGl0?=", "a\r\n\r\nbody", "a\u2028b\u2029c", ".\r\n.\r\n",
]  # fmt: skip
PATHS = [
    "../../hit", "/hit/hit", "..", "C:\\hit", "con", "a/b\\c:d", "%2e%2e%2fhit", "~hit",
]  # fmt: skip
LETTERS = [
    "\u202etxt.exe", "\u200b\u2066", "é🙂", "\ufeffx", "N" * 300, "ﷺ", " ", "null", "NaN", "a\ud7ffb",
]  # fmt: skip

TEXTS = MARKUP + MARKDOWN + TEMPLATES + MATHEMATICS + TERMINAL + FORMULAS + HEADERS + PATHS + LETTERS
assert len(TEXTS) == len(set(TEXTS)) >= 100
COMPUTED = "1787569"  # 1337 * 1337
