"""What Slurm says of its users and accounts: the output of `sacctmgr --parsable2 show user|account`, asked
live or saved."""

HEADERS = {"User", "Def Acct"}, {"Account", "Org"}
FORMATS = {"user": "User,DefaultAccount", "account": "Account,Org"}
PROSE = ("Descr", "Org")  # columns that hold what people wrote; --parsable2 does not escape a bar in them


def split_row(line, header):
    """The cells of one line, a list as long as `header`; one of another length where they are too few,
    or too many and nobody knows why.

    A bar within a description makes cells too many: these belong to the description, or where none was
    asked for to the organisation.
    """
    cells = line.split("|")
    more = len(cells) - len(header)
    column = next((name for name in PROSE if name in header), None)
    if more <= 0 or column is None:
        return cells
    at = header.index(column)
    return [*cells[:at], "|".join(cells[at:at + more + 1]), *cells[at + more + 1:]]  # fmt: skip


def read_accounts(lines, bad):
    """({user: default account}, {account: department}) from `lines`, one table or several, each with
    its header; names of users in small letters.

    A line that is none of a table is added to the list `bad` as (number, reason). ValueError of one
    line where there is no header.
    """
    default_account, department_of, header = {}, {}, []
    for number, line in enumerate(filter(str.strip, lines), 1):
        line = line.rstrip("\r\n")
        if any(names <= set(line.split("|")) for names in HEADERS):
            header = line.split("|")
            continue
        if not header:
            raise ValueError(
                "it is no output of sacctmgr --parsable2 with its header, User|Def Acct or Account|Org"
            )
        cells = split_row(line, header)
        if len(cells) != len(header):
            bad.append((number, f"{len(cells)} columns, not {len(header)}"))
            continue
        row = dict(zip(header, map(str.strip, cells), strict=True))
        if not row["User" if "User" in row else "Account"]:
            bad.append((number, "no name of a user or account"))
        elif "User" in row:
            default_account[row["User"].lower()] = row["Def Acct"]
        else:
            department_of[row["Account"]] = row["Org"].lower()
    return default_account, department_of
