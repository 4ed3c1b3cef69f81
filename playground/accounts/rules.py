"""Who may come in, and who administers: what the operator listed against what the provider says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from playground.accounts.text import one_line
from playground.settings import Settings
from storage.account_records import Account, AccountRole, Identity

NAME_CHARS = 200
MOST_GROUPS = 1000


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as the provider describes them; ``email`` only where the provider has verified it.

    ``groups`` are names of organisations and groups, folded to lower case.
    """

    identity: Identity
    groups: frozenset[str]


def person(provider: str, claims: dict[str, Any], userinfo: dict[str, Any]) -> Person:
    """Read the claims of both; userinfo, which is the fuller one, counts first."""
    said = {**claims, **{name: value for name, value in userinfo.items() if value is not None}}
    subject = str(claims["sub"])
    handle = one_line(said.get("preferred_username") or said.get("nickname"), NAME_CHARS)
    name = one_line(said.get("name"), NAME_CHARS)
    email = one_line(said.get("email"), NAME_CHARS) if said.get("email_verified") is True else None
    handle = handle or (email or "").partition("@")[0] or subject
    identity = Identity(provider, subject, handle, name or handle, email or None)
    return Person(identity, frozenset(_groups(said)))


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
    named = _is_listed(settings.admin_users, who.identity)
    creator = settings.on_space and who.identity.subject == settings.space_creator_user_id
    return AccountRole.ADMIN if named or (creator and not settings.admin_users) else None


def first_is_admin(settings: Settings) -> bool:
    """Whether the first of all accounts administers: where the operator has named nobody."""
    return not settings.admin_users and not (settings.on_space and settings.space_creator_user_id)


def _is_listed(names: tuple[str, ...], who: Identity | Account) -> bool:
    """A name with an @ is a verified mail address and nothing else, for a user name may look like one."""
    for name in names:
        if "@" in name:
            if who.email is not None and who.email.casefold() == name.casefold():
                return True
        elif name == who.subject or name.casefold() == who.handle.casefold():
            return True
    return False
