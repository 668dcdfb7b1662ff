r"""What personal data look like in a text: secrets, addresses, hosts, paths, telephone numbers, names.

PATTERNS, in the order in which they are tried, and MASKS, the word that stands for each kind of them; what is
done with these is in nightshift/privacy.py.
"""

import re

# what stands for what nobody may read
MASKS = {"address", "host", "link", "name", "path", "phone", "secret", "user"}

# What a name looks like, which endings are those of hosts and which of files, and how people write the at
# sign to hide it from robots.
UPPER = "".join(letter for letter in map(chr, range(0x530)) if letter.isupper())
# possessive groups lose a character before Python 3.11.5
CAPITAL = rf"[{UPPER}][^\W\d_]*+(?:['-][^\W\d_]{{2,}}+)*(?!['-][^\W\d_]{{2}})"
CALLED = rf"(?:(?:{CAPITAL}|[{UPPER}]\.|von|van|der|den|de|di|da|del|la|le|bin|al|zu|zum|ter)[ ])"
NOBODY = (
    r"(?!(?i:all|team|support|colleagues?|everyone|help ?desk|admins?|sirs?|madam|sysadmins?|folks|zusammen|"
    r"kolleg\w*|damen|prof|dr|mr|mrs|ms|miss|herrn?|frau)\b)"
)
NAME = rf"{NOBODY}{CALLED}{{0,3}}{CAPITAL}"
DOMAINS = (
    "com|org|net|edu|gov|mil|int|info|biz|io|ai|eu|local|lan|intern|internal|cluster|hpc|corp|home|"
    "localdomain|example|test|invalid|localhost|"
    "ac|at|au|be|br|ca|ch|cl|cn|cz|de|dk|ee|es|fi|fr|gr|hk|hr|hu|ie|il|in|ir|is|it|jp|kr|lt|lu|lv|mx|my|nl|"
    "no|nz|pk|pl|pt|ro|rs|ru|se|sg|si|sk|tr|tw|ua|uk|us|za"
)
ENDING = f"(?-i:{DOMAINS}|{DOMAINS.upper()})"  # "job.It" is a full stop without a blank after it
FILES = (
    r"(?:py|sh|so|c|cc|cpp|h|hpp|f90|o|a|r|m|md|txt|log|out|err|csv|tsv|gz|zip|tar|tgz|bz2|xz|h5|nc|dat|data|"
    r"json|ya?ml|toml|xml|html?|pdf|png|jpe?g)\b"
)
NODES = (
    "nodes?|nid|cn|gn|wn|gpu|cpu|login|head|compute|worker|dgx|hgx|srv|server|host|mds|oss|mgmt|storage|fs|"
    "ui|ce|se|vm|ws|pc|laptop|desktop|printer"
)
AT = r"(?:[ ]?[(\[{<][ ]?(?:at|ät|a|@)[ ]?[)\]}>][ ]?|@)"
DOT = r"(?:\.|[ ]?[(\[{<][ ]?(?:dot|punkt|d)[ ]?[)\]}>][ ]?|[ ](?:dot|punkt)[ ])"
LABEL = r"[\w-]+"  # of a host
START = r"(?<![\w.@-])"  # where a host may begin
LOCAL = rf"(?<![\w.+%'-])[\w+%'-]++(?:{DOT}[\w+%'-]++)*"  # what stands before the at sign
STEP = r"[\w.@%+~:$,{}*'()-]+"  # of a path
FOLDER = r"[^\s\\/:*?\"<>|]+"  # of Windows, whose names may hold blanks

# (mask, needs, pattern) in the order in which they are tried: links before the hosts in them, addresses of
# networks before telephone numbers. The needs, separated by bars, say what a text must hold for the pattern
# to be tried at all, in small letters, with # for a number between blanks and 0 for any other, so that most
# patterns cost nothing.
# fmt: off
# A secret follows its name: all that follows a colon or an equals sign, and after "is" anything that is no
# word. A certificate subject is /C=.../CN=... or CN=..., O=...; the last of its values ends with its words in
# capitals and its numbers, or with the second word of a name in small letters.
VALUE = r"(?:\"[^\"\n]{1,80}\"|'[^'\n]{1,80}'|[^\s,;]{2,})"
SECRETS = (r"(?:pass(?:word|wort|wd|phrase|code)|pwd|kennwort"
           r"|(?:access|api|auth|bearer|refresh|id)[ _-]?(?:token|key)|token|secret(?:[ _-]?key)?"
           r"|private[ _-]?key|one[ -]time code|pin)")
PART = r"(?:CN|DC|OU|O|C|L|ST|UID|USERID|SN|GN|E|EMAIL|EMAILADDRESS|SERIALNUMBER)"
ENDLESS = r"(?:(?-i:[A-Z])\.|[^\s/,;\"']*[^\s/,;\"'.:!?])"  # a word without the end of its sentence
SUBJECT = (r"(?:(?-i:[a-z])[^\s/,;\"'()]*[ ][a-z]+"
           rf"|(?![()]){ENDLESS}(?:[ ](?=(?-i:[A-Z0-9(]))(?!(?-i:I)\b){ENDLESS}){{0,5}})")
SECRET_FORMS = [
    # before the secrets: the mask "secret" with a colon after it would take the beginning of a subject
    ("user", "/", rf"(?<![\w/])(?:/{PART}=(?=[^/\n]{{1,90}}/)[^/\n]+)*/{PART}={SUBJECT}"),
    ("user", "=", rf"(?<![\w/])(?:{PART}=[^,;/=\n]{{1,90}},[ ]?)*(?:CN|UID|DC|E|EMAIL|EMAILADDRESS)={SUBJECT}"
     rf"(?:,[ ]?{PART}={SUBJECT})*"),
    ("secret", "authorization|bearer|basic",
     r"(?P<keep>\b(?:authorization[ ]?:[ ]?)?(?:bearer|basic)[ ])[\w.+/=~-]{8,}"),
    ("secret", "pass|pwd|kennwort|token|secret|key|code|pin",
     rf"(?P<keep>\b{SECRETS}\b\"?[ ]?[:=]+[ ]?)(?!secret\b){VALUE}"),
    ("secret", "pass|pwd|kennwort|token|secret|key|code|pin",
     rf"(?P<keep>\b{SECRETS}\b[ ](?:(?:is|was|ist|war|lautet|to)[ ]|))(?!secret\b)"
     r"(?:\"[^\"\n]{1,80}\"|'[^'\n]{1,80}'|(?=[^\s]*[\d!$%&?#*+])(?=[^\s]*[a-z])[^\s,;]{4,}"
     r"|(?<=[Pp][Ii][Nn][ ])\d{4,8}\b)"),
    ("secret", "ghp_|gho_|ghu_|ghs_|ghr_|github_pat_|glpat-|xox|akia|hvs.",
     r"(?<![\w/.-])(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AKIA|hvs\.)[\w-]{10,}"),
    ("secret", "eyj", r"\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"),
    ("secret", "aaaa", r"(?<![\w+/=])AAAA[\w+/=]{20,}"),  # a key of ssh
]
NETWORK = [
    ("link", "://|www.", r"(?<!\w)(?:[a-z][a-z0-9+.-]{1,15}://|www\.)[^\s<>\"]++"),
    ("address", "@|(at|[at|{at|<at| at)| at]|(ät|[ät|(a)|[a]|{a}|<a>",
     rf"\"[^\"\n]{{1,64}}\"@[\w.-]++|{LOCAL}{AT}{LABEL}(?:{DOT}{LABEL})*"),
    ("address", " at | ät | @ ",
     rf"{LOCAL}[ ](?:(?:at|ät|@)[ ]{LABEL}(?:[ ](?:dot|punkt)[ ]{LABEL})+|@[ ]{LABEL}(?:\.{LABEL})+)"),
    ("address", " at | ät ",
     rf"(?<![\w.+%'-])[\w+%'-]++(?:{DOT}[\w+%'-]++)+[ ](?:at|ät)[ ]{LABEL}(?:\.{LABEL})+"),
    ("host", ":|-", r"(?<![\w:-])(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![\w:-])"),
    ("host", ".", r"(?<![\w.])[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}(?![\w.])"),
    ("host", "::",
     r"(?<![\w:.])(?=[0-9a-f:]*::)(?=[a-f:]*\d)(?:[0-9a-f]{0,4}:){2,7}"
     r"(?:(?:\d+\.){3}\d+|[0-9a-f]{0,4})(?:[%/]\w+)?(?![\w:])"),
    ("host", ":", r"(?<![\w:.])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?:[%/]\w+)?(?![\w:])"),
    ("path", "\\\\", r"\\\\[\w.$-]+(?:\\[^\s\\]+)*\\?"),
    ("path", ":\\|:/",
     rf"(?<!\w)[a-z]:(?:\\(?:{FOLDER}(?:[ ]{FOLDER}){{0,3}}\\)*(?:{FOLDER})?|(?:/{STEP})+)/?"),
    ("path", "~", rf"(?<![\w~/])~(?:(?:[^\W\d][\w.-]*)?(?:/{STEP})+/?|[^\W\d][\w.-]*)"),
    ("path", "/", rf"(?<![\w<])(?:\.{{0,2}}(?:/{STEP}){{2,}}|\.{{1,2}}/{STEP}|\$\{{?\w+\}}?(?:/{STEP})+)/?"),
    ("path", "home/|user/|users/|scratch/|work/|project/|projects/",
     rf"(?<![\w/<])(?:home|users?|scratch|work|projects?)(?:/{STEP})+/?"),
    ("host", "0.0", r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?::\d+|/\d+)?(?!\w|\.\d)"),
    ("host", ".", rf"{START}(?=[^\W_]){LABEL}(?:\.{LABEL})*\.{ENDING}(?![\w-]|\.\w)(?::\d+)?"),
    ("host", ".", rf"{START}(?=[^\W\d_]){LABEL}(?:\.{LABEL})+\.[^\W\d_][\w-]+(?::\d+)?"),
    ("host", ".", rf"{START}[^\W\d_][a-z-]*\d+[a-z]?\.(?!{FILES})[^\W\d_][\w-]+"),
    ("host", "0",
     rf"{START}(?=[\w-]*\d)(?:[a-z0-9]+[-_])*(?:(?:{NODES})[-_]?\d{{1,6}}|[a-z]+[-_]?0\d{{1,5}})"
     r"[a-z]?(?![\w-]|\.\d)"),
    ("host", "0",
     rf"{START}(?=[\w-]*[\d\[])(?:[a-z][\w-]*\[\d+(?:[-,]\d+)+\]|"
     r"[a-z]{1,2}\d{1,5}[a-z]{1,2}\d{1,5}(?![\w-]))"),
]

# A telephone number begins with a plus, with a zero and a separator, or after a word such as "call"; a job
# id, a size or a date does none of these. What follows "user:" is a user id, whoever it is.
CALLS = "tel|phone|fon|fax|mobil|handy|durchwahl|call|ext|reach|erreich|dial"
CALL = (r"\b(?:tel|phone|telephone|telefon|fon|fax|mobile|mobil|handy|durchwahl|"
        r"call(?: me)?(?: on| at| under)?|ext|extension|dial|reach(?:able| me| us)?(?: on| at| under)|"
        r"erreich(?:bar|en)(?: sie mich)?(?: unter)?)\b[.:]*[ ]?")
DATE = r"\d{1,4}[./ -]\d{1,2}[./ -]\d{1,4}(?!\d)"
MATRICULATION = (r"\b(?:matr(?:ikel|iculation)?\.?[ -]?(?:no|nr|num(?:mer|ber))?|"
                 r"(?:student|staff|employee|personal|member(?:ship)?)[ -]?(?:id|no|nr|num(?:mer|ber)))\b\.?")
LOGIN = (r"\b(?:user(?:[ ]?name|[ ]?id)?|uid|login|owner|account(?:[ ]?name)?|kennung|"
         r"benutzer(?:name|kennung)?)(?:[ ](?:is|ist))?")
# a street with its number, and the town after it; space on a disk and a place at work are no streets
TOWN = rf"(?:[ ]?,?[ ](?:[A-Z]{{1,2}}-)?\d{{4,5}}[ ]{CAPITAL})?"
NUMBERED = (r"(?:[Ss]tra(?:ß|ss)e|[Ss]tr\.|[Ww]eg|[Pp]latz|[Aa]llee|[Gg]asse|[Uu]fer|[Dd]amm)"
            r"[ ]\d{1,4}[a-z]?(?!\w)")
ROAD = r"(?:Street|St|Road|Rd|Avenue|Ave|Boulevard|Blvd|Square)\b\.?"
STREETS = [
    rf"(?-i:(?<!\w)(?!Speicher|Arbeits|Steck|Park|Stell)(?:{CAPITAL}[ -]){{0,2}}(?=[{UPPER}])[^\W\d_-]*"
    rf"{NUMBERED}{TOWN})",
    rf"(?-i:(?<![\w.,:-])\d{{1,5}}[ ](?:{CAPITAL}[ ]){{1,3}}{ROAD}(?:,[ ]{CAPITAL})?(?:,?[ ][A-Z]{{2}})?"
    r"(?:[ ]\d{5}(?!\d))?)",
]
MASKED = rf"(?!(?:{'|'.join(sorted(MASKS))})\b)"  # not yet
PERSONAL = [
    ("phone", "+|0|#", r"(?<![\w.:])(?:\+|00(?=[ ]?[1-9]))[ ]?\(?\d{1,3}\)?(?:[ ./()-]{0,3}\d){6,14}(?!\w)"),
    ("phone", "0|#",
     rf"(?<![\w.,:/+-])(?!{DATE})\(?0\d{{1,5}}\)?(?=[ /().-]{{1,3}}\d)(?:[ /().-]{{0,3}}\d){{5,12}}"
     r"(?![\w:]|[.,]\d)"),
    ("phone", "0)|0-0|0.0",
     r"(?<![\w.-])(?:1[-. ])?(?:\(\d{3}\)[ ]?|\d{3}[-.])\d{3}[-. ]\d{4}(?![\w.-]*\d)"),
    ("phone", "0-0", r"(?<![\w.,:/#+-])(?<!job[ ])\d{3}-\d{4}(?![\w-]|[.,:]\d)"),
    ("user", "matr|student|staff|employee|personal|member",
     rf"(?P<keep>{MATRICULATION}[ ]?(?:is|ist|:|=|#)?[ ]?#?)\d{{4,12}}(?!\w)"),
    ("phone", CALLS,
     rf"(?P<keep>{CALL}(?:(?:no|nr|number|nummer)\b[.:]*[ ]?)?)\(?\d(?:[ ./()-]{{0,2}}\d){{2,14}}(?!\w)"),
    ("address", "stra|str  |weg|platz|allee|gasse|ufer|damm", STREETS[0]),
    ("address", "street|st|road|rd|avenue|ave|boulevard|blvd|square", STREETS[1]),
    # a scope of Rucio
    ("user", "user.", r"(?P<keep>(?<![\w.])user\.)(?!(?:user|name|email)\b)[^\W\d][\w-]*"),
    ("user", " -u|--user",
     rf"(?P<keep>(?<!python)(?<!python3)[ ](?:-u|--user)[ =]){MASKED}[^\W\d]\w+(?![\w.])"),
    ("user", "user|uid|login|owner|account|kennung|benutzer",
     rf"(?P<keep>{LOGIN}[ ]?[:=]?[ ]?)(?:\"{MASKED}[^\"\n]{{2,60}}\"|'{MASKED}[^'\n]{{2,60}}')"),
    ("user", "user|uid|login|owner|account|kennung|benutzer",
     rf"(?P<keep>{LOGIN}(?:[ ]?[:=][ ]?|[ ](?=\w*\d)(?=\w*[a-z]))){MASKED}[^\s,;:=]{{2,}}"),
]
# fmt: on


def any_case(words):
    r"""Return a pattern of `words`, separated by bars, in any case.

    It begins with a set of letters: re finds one in half the time that a leading \b takes.
    """
    words = words.split("|")
    rest = "|".join(f"(?<={word[0]}){word[1:]}" for word in words)
    return rf"[{''.join(sorted({word[0] + word[0].upper() for word in words}))}](?<!\w.)(?i:{rest})"


# A name that is in no list is found where names stand: after a salutation, a title or "my name is". There a
# capital is required, except after salutations that end with a comma, since people write such names in small
# letters; "Dear all" and the like are nobody.
# fmt: off
HAIL = any_case("dear|hi|hello|hallo|hey|moin|liebe[rs]?|guten tag|good morning|sehr geehrte[rs]?") + "[ ]"
I_AM = any_case("i am|i'm|this is|ich bin|hier ist|here is")
THIS_IS = any_case("this is|i am|i'm|ich bin|hier ist")
TITLE = (r"\b(?:[Pp]rof|[Dd]r|[Mm]rs?|[Mm]s|[Mm]iss|[Hh]errn?|[Ff]rau|PROF|DR|MRS?|MS|HERRN?|FRAU)\b\.?"
         r"(?:-Ing\.)?[ ]?")
GREETS = r"gr(?:ü|ue|u)(?:ß|ss)(?:en|e)?"
GOODBYE = (r"\b(?i:regards|wishes|greetings|cheers|sincerely|thanks|thank you|danke|"
           rf"{GREETS})[ ]?[,!.]?[ ]")
HAILS = "dear |hi |hello |hallo |hey |moin |liebe|guten tag |good morning |sehr geehrte"
PLACES = [
    ("name is | ist|heiße|heisse|called|name:|name :",
     r"(?P<keep>\b(?i:my name is|mein name ist|ich hei(?:ß|ss)e|i am called|name[ ]?:)[ ])"
     rf"{NAME}"),
    ("i am|i'm|this is|bin|hier ist|here is", rf"(?P<keep>{I_AM}[ ]){CALLED}{{1,3}}{CAPITAL}"),
    ("i am|i'm|this is|bin|hier ist", rf"(?P<keep>{THIS_IS}[ ])(?!(?i:the|a|an|our|my)\b){CAPITAL}"
     r"(?=[ ](?:from|of|at|vom|von|aus|here|speaking)\b)"),
    (HAILS, rf"(?P<keep>{HAIL}(?:{TITLE})*){NAME}"),
    (HAILS, rf"(?P<keep>{HAIL}){NOBODY}(?i:(?!(?:there|again|name)\b)[^\W\d_]{{2,}})(?=[ ]?[,!])"),
    ("regards|wishes|greetings|cheers|sincerely|thank|danke|gru|grü", rf"(?P<keep>{GOODBYE}){NAME}"),
    ("prof|dr.|dr |dr-|mr|ms|miss|herr|frau", rf"(?P<keep>{TITLE}){NAME}"),
]
PLACES += [
    ("colleague|student|supervisor|advisor|postdoc|assistant|boss|user |users ",
     r"(?P<keep>\b(?i:colleagues?|(?:phd |master |bachelor )?students?|supervisors?|advisors?|postdocs?|"
     rf"assistants?|boss|users?)[ ]){CALLED}{{1,3}}{CAPITAL}"),
    ("kolleg|doktorand|student|betreuer|mitarbeiter|chef|nutzer",
     r"(?P<keep>\b(?:Kolleg(?:e|in|en)|Doktorand(?:in|en)?|Student(?:in|en)?|Betreuer(?:in|s)?|"
     rf"Mitarbeiter(?:in|s)?|Chef(?:in)?|Nutzer(?:in|s)?)[ ]){NAME}"),
    ("job|account|folder|director|home",
     rf"(?P<keep>\b(?:jobs?|account|folders?|director(?:y|ies)|home)[ ](?:of|from|by)[ ]){CALLED}{{1,3}}"
     rf"{CAPITAL}"),
]
OF_ALL = SECRET_FORMS + NETWORK + PERSONAL
PATTERNS = [*((kind, needs.split("|"), re.compile(form, re.I)) for kind, needs, form in OF_ALL),
            *(("name", needs.split("|"), re.compile(place)) for needs, place in PLACES)]
# fmt: on
assert {kind for kind, *_ in PATTERNS} == MASKS, "a mask is no neutral word"
