"""Who may come in, and who administers: what the operator listed against what the provider says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from playground.accounts.text import one_line
from playground.settings import Settings
from storage.account_records import Account, AccountRole, Identity

NAME_CHARS = 200
MOST_GROUPS = 1000
ID_MARK = "id:"
LOOKS_LIKE_AN_ID = re.compile(r"[0-9A-Fa-f-]{20,}\Z")
"""Ids of Hugging Face (24 hexadecimal digits), Google (21 digits) and many others (UUIDs)."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as the provider describes them; ``email`` only where the provider has verified it.

    ``user_name`` is the claim ``preferred_username`` as it came. What stands in for it in ``handle`` is for
    people to read, for it can often be chosen freely. ``groups`` are names of organisations and groups,
    folded to lower case.
    """

    identity: Identity
    groups: frozenset[str]


def person(provider: str, claims: dict[str, Any], userinfo: dict[str, Any]) -> Person:
    """Read the claims of both; userinfo, which is the fuller one, counts first."""
    said = {**claims, **{name: value for name, value in userinfo.items() if value is not None}}
    subject = str(claims["sub"])
    handle = one_line(said.get("preferred_username") or said.get("nickname"), NAME_CHARS)
    name = one_line(said.get("name"), NAME_CHARS)
    email = _verified_email(userinfo) or _verified_email(claims)
    handle = handle or (email or "").partition("@")[0] or subject
    user_name = _unchanged(said.get("preferred_username"))
    identity = Identity(provider, subject, handle, name or handle, email, user_name)
    return Person(identity, frozenset(_groups(said)))


def _verified_email(said: dict[str, Any]) -> str | None:
    """The mail address that this answer calls verified; the other answer may speak of another address."""
    return _unchanged(said.get("email")) if said.get("email_verified") is True else None


def _unchanged(value: Any) -> str | None:
    """A text that is one short line as it came: a cleaned one may read like somebody else's."""
    return value if isinstance(value, str) and value and value == one_line(value, NAME_CHARS) else None


def _groups(said: dict[str, Any]) -> Iterable[str]:
    """The names that cannot be chosen freely: Hugging Face's handles of organisations, and group names."""
    for org in _listed(said.get("orgs")):
        if isinstance(org, dict) and not org.get("pendingSSO") and not org.get("missingMFA"):
            name = org.get("preferred_username", org.get("name"))
            if isinstance(name, str):
                yield name.casefold()
    for group in _listed(said.get("groups")):
        if isinstance(group, str):
            yield group.casefold()


def _listed(value: Any) -> list[Any]:
    return value[:MOST_GROUPS] if isinstance(value, list) else []


def may_enter(settings: Settings, who: Person) -> bool:
    """Whether the operator lets this person in."""
    if not settings.sign_in_restricted:
        return True
    wanted = {name.casefold() for name in settings.allowed_orgs}
    return bool(wanted & who.groups) or _is_listed(settings.allowed_users, who.identity)


def still_listed(settings: Settings, account: Account) -> bool:
    """Whether somebody who was let in before may stay after the list has changed.

    Organisations are asked for at the next sign-in only.
    """
    if settings.allowed_orgs or not settings.allowed_users:
        return True
    return _is_listed(settings.allowed_users, account)


def role_at_sign_in(settings: Settings, who: Person) -> AccountRole | None:
    """Admin for those whom the operator named; None leaves it as it is."""
    named = is_named_admin(settings, who.identity)
    creator = settings.on_space and who.identity.subject == settings.space_creator_user_id
    return AccountRole.ADMIN if named or (creator and not settings.admin_users) else None


def is_named_admin(settings: Settings, who: Identity | Account) -> bool:
    """Whether the operator has named this person as an admin."""
    return _is_listed(settings.admin_users, who)


def first_is_admin(settings: Settings) -> bool:
    """Whether the first account ever administers: where the operator has named nobody."""
    return not settings.admin_users and not (settings.on_space and settings.space_creator_user_id)


def _is_listed(entries: tuple[str, ...], who: Identity | Account) -> bool:
    """Whether the operator has listed this person."""
    return any(_means(entry, who) for entry in entries)


def _means(entry: str, who: Identity | Account) -> bool:
    """Whether an entry is this person's. Each is one kind of thing only, for people choose their user names.

    After ``id:`` comes the provider's id; with an @ it is a verified mail address; what looks like an id is
    one; all else is the user name that the provider vouches for.
    """
    if entry.startswith(ID_MARK):
        return entry.removeprefix(ID_MARK).strip() == who.subject
    if "@" in entry:
        return who.email is not None and _same(entry, who.email)
    if LOOKS_LIKE_AN_ID.match(entry):
        return entry == who.subject
    return who.user_name is not None and _same(entry, who.user_name)


def _same(listed: str, said: str) -> bool:
    """Without regard to case, but no foreign letter stands for a plain one: the long s folds to s."""
    return listed.isascii() == said.isascii() and listed.casefold() == said.casefold()
