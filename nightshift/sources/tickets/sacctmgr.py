"""What Slurm says of its users and accounts: the output of `sacctmgr --parsable2 show user|account`, asked
live or saved."""

import tempfile
from pathlib import Path

import pandas as pd

from nightshift.sources.base import LiveSource, Look
from nightshift.sources.files import open_text
from nightshift.sources.slurm import ask_slurm
from nightshift.sources.tables import read_files

HEADERS = {"User", "Def Acct"}, {"Account", "Org"}
FORMATS = {"user": "User,DefaultAccount", "account": "Account,Org"}
PROSE = ("Descr", "Org")  # columns that hold what people wrote; --parsable2 does not escape a bar in them


class SlurmAccounts(LiveSource):
    """Users and accounts of the Slurm to which this machine belongs."""

    label = "sacctmgr of this machine"
    parameter = "accounts"
    addresses = ("sacctmgr",)

    def look(self, address, *, settings):
        """Ask for them all, which are few."""
        users, accounts, bad = ask_accounts(address, timeout_s=settings["timeout_s"])
        return Look(self.label, len(users) + len(accounts), bad=len(bad))


def split_row(line, header):
    """Split one line into its cells: a list as long as `header`; of another length where it is damaged.

    A bar within a description makes too many cells: these belong to the description, or to the organisation
    where no description was asked for.
    """
    cells = line.split("|")
    more = len(cells) - len(header)
    column = next((name for name in PROSE if name in header), None)
    if more <= 0 or column is None:
        return cells
    at = header.index(column)
    return [*cells[:at], "|".join(cells[at:at + more + 1]), *cells[at + more + 1:]]  # fmt: skip


def read_accounts(lines, bad):
    """Read ({user: default account}, {account: department}) from `lines`, one table or several, each with its
    header; users and departments are in small letters.

    A line that is no row of a table is added to the list `bad` as (number, reason). ValueError of one line
    where there is no header.
    """
    default_account, department_of, header = {}, {}, []
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r\n")
        if not line.strip():
            continue
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


def ask_accounts(accounts, *, timeout_s):
    """Read what sacctmgr says: ({user: default account}, {account: department}, bad lines).

    accounts : "sacctmgr" to ask it live (each answer within `timeout_s` seconds), a pattern of files with its
    saved output, or "" to ask nobody. bad lines : (file, line, reason, "") of lines that are no row.
    ValueError of one line where the tables of users and accounts are not both there.
    """
    account_of, department_of, bad_lines = {}, {}, []

    def read(path):
        bad = []
        with open_text(path) as lines:
            accounts_of, departments = read_accounts(lines, bad)
        bad_lines.extend((path, number, why, "") for number, why in bad)
        account_of.update(accounts_of)
        department_of.update(departments)

    if SlurmAccounts.answers(accounts):
        with tempfile.TemporaryDirectory() as folder:
            for what, form in FORMATS.items():
                command = ["sacctmgr", "--parsable2", "show", what, f"format={form}"]
                ask_slurm(command, Path(folder, what), timeout_s=timeout_s, parameter="accounts")
            read_files(f"{folder}/*", read)
    elif accounts:
        read_files(accounts, read)
    if accounts and not (account_of and department_of):
        lacking = "account" if account_of else "user"
        raise ValueError(
            f"{accounts} names no {lacking}: it needs both tables of sacctmgr, users and accounts"
        )
    return account_of, department_of, bad_lines


def users_table(account_of, department_of, *, school_of):
    """Return one row per user: DataFrame user, account, department, school of text, "" where it is not known.

    account_of : {user: default account}. department_of : {account: department}, which is the organisation of
    the account. school_of : {department: school}.
    """
    users = pd.DataFrame(sorted(account_of.items()), columns=["user", "account"], dtype="string")
    users["department"] = users.account.map(department_of).astype("string").fillna("")
    return users.assign(school=users.department.map(school_of).astype("string").fillna(""))


def read_schools(schools):
    """Return the parameter `schools` as {department in small letters: school}.

    ValueError of one line for another form.
    """
    fine = isinstance(schools, dict) and all(
        isinstance(name, str) and name.strip() for pair in schools.items() for name in pair
    )
    if not fine:
        raise ValueError(
            "schools must give each department the name of its school, such as {physics: natural "
            "sciences}; both are text"
        )
    return {department.strip().lower(): school.strip() for department, school in schools.items()}
