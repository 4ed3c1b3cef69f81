"""Settings, rules, names and the secret box of accounts."""

from __future__ import annotations

import logging
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from playground.accounts.rules import first_is_admin, may_enter, person, role_at_sign_in, still_listed
from playground.accounts.secret_box import KEY_FILE, open_box
from playground.accounts.text import client_name, initials, one_line
from playground.settings import Settings, SettingsError, load_settings
from storage.account_records import Account, AccountRole

CLIENT = {"oauth_client_id": "playground"}


def settings(**values: Any) -> Settings:
    return Settings(**{**CLIENT, **values})


# --- settings ---


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"sign_in": "required"}, "need OAUTH_CLIENT_ID"),
        ({"allowed_users": "ada"}, "need OAUTH_CLIENT_ID"),
        ({"admin_users": "ada", "oauth_client_secret": "x"}, "ADMIN_USERS, OAUTH_CLIENT_SECRET: without"),
        ({"openid_provider_url": "https://id.example"}, "without OAUTH_CLIENT_ID nobody can sign in"),
        ({"allowed_orgs": "makers"}, "need OAUTH_CLIENT_ID"),
        ({"openid_provider_url": "http://login.example.org"}, "OPENID_PROVIDER_URL: must look like https://"),
        ({"openid_provider_url": "login.example.org"}, "OPENID_PROVIDER_URL: must look like https://"),
        ({"openid_provider_url": "https://login.example.org?a=b"}, "OPENID_PROVIDER_URL"),
        ({"oauth_scopes": "profile"}, "OAUTH_SCOPES: must contain openid"),
        ({"secret_key": "short"}, "SECRET_KEY"),
        ({"session_idle_days": 0}, "SESSION_IDLE_DAYS"),
        ({"sign_in": "sometimes"}, "SIGN_IN"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_in_words(values: dict[str, Any], part: str) -> None:
    with pytest.raises(SettingsError, match=part):
        load_settings(**values)


def test_who_must_sign_in_follows_from_the_settings() -> None:
    assert not Settings().sign_in_available
    assert settings().sign_in_available
    assert not settings().sign_in_required
    assert settings(sign_in="required").sign_in_required
    assert settings(allowed_users="ada, eve").allowed_users == ("ada", "eve")
    assert settings(allowed_orgs="makers").sign_in_required
    assert settings().provider_name == "Hugging Face"
    url = "https://login.example.org/realms/one/"
    assert settings(openid_provider_url=url).provider_name == "login.example.org"
    assert settings(openid_provider_url=url).openid_provider_url == url[:-1]


# --- rules ---


def who(**claims: Any) -> Any:
    return person("https://id.example", {"sub": "17", "preferred_username": "Ada", **claims}, {})


def test_a_person_is_read_from_both_answers() -> None:
    found = person(
        "https://id.example",
        {"sub": "17", "name": "Old"},
        {"name": "Ada\u202e\nLovelace", "email": "ada@example.org", "email_verified": True},
    ).identity
    assert (found.subject, found.handle, found.display_name) == ("17", "ada", "Ada Lovelace")
    assert found.email == "ada@example.org"
    assert who(email="ada@example.org").identity.email is None, "nobody has verified it"
    assert who(email="ada@example.org", email_verified="true").identity.email is None
    assert person("p", {"sub": "17"}, {}).identity.handle == "17"


def test_a_mail_address_is_verified_by_the_answer_that_it_stands_in() -> None:
    said: dict[str, Any] = {"email": "boss@example.org"}
    verified: dict[str, Any] = {"email": "ada@example.org", "email_verified": True}
    for claims, userinfo in ((said, {"email_verified": True}), ({"email_verified": True}, said)):
        mixed = person("p", {"sub": "9", **claims}, {"sub": "9", **userinfo})
        assert mixed.identity.email is None
    for claims, userinfo in ((said, verified), (verified, said), (verified, {})):
        assert person("p", {"sub": "9", **claims}, userinfo).identity.email == "ada@example.org"
    cleaned = person("p", {"sub": "9", "email": "bo\u200bss@example.org", "email_verified": True}, {})
    assert cleaned.identity.email is None


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "alice@attacker.example", "email_verified": True},
        {"nickname": "alice"},
        {"name": "alice"},
        {"sub": "alice"},
        {"preferred_username": "al\u200bice"},
        {"preferred_username": " alice\n"},
        {"preferred_username": None, "nickname": "alice"},
        {"preferred_username": ["alice"], "nickname": "alice"},
    ],
)
def test_a_name_that_the_provider_does_not_vouch_for_is_only_shown(claims: dict[str, Any]) -> None:
    found = person("p", {"sub": "9", **claims}, {})
    assert found.identity.handle
    assert not may_enter(settings(allowed_users="alice"), found)
    assert role_at_sign_in(settings(admin_users="alice"), found) is None


def test_no_foreign_letter_stands_for_a_plain_one() -> None:
    found = person("p", {"sub": "9", "preferred_username": "bo\u017f\u017f"}, {})
    assert not may_enter(settings(allowed_users="boss"), found)
    assert may_enter(settings(allowed_users="\u00c9lodie"), who(preferred_username="\u00e9lodie"))


def test_everybody_may_enter_where_nobody_is_listed() -> None:
    assert may_enter(settings(), who())


@pytest.mark.parametrize(
    ("listed", "enters"),
    [
        ("ada", True),
        ("ADA", True),
        ("id:17", True),
        ("id: 17", True),
        ("17", False),
        ("id:ada", False),
        ("id:", False),
        ("eve", False),
        ("ada@example.org", True),
        ("eve@example.org", False),
    ],
)
def test_listed_people_may_enter(listed: str, enters: bool) -> None:
    found = who(email="Ada@Example.org", email_verified=True)
    assert may_enter(settings(allowed_users=listed), found) is enters


IDS = ["507f1f77bcf86cd799439011", "117302839405827364512", "0b6f1c1e-0d7a-4f1f-8d62-0f7a3c2d9e55"]


@pytest.mark.parametrize("id_", [*IDS, "17", "ada's id"])
def test_nobody_comes_in_by_calling_himself_like_the_id_of_somebody_else(id_: str) -> None:
    owner = person("p", {"sub": id_, "preferred_username": "ada"}, {})
    thief = person("p", {"sub": "9", "preferred_username": id_}, {})
    assert may_enter(settings(allowed_users=f"id:{id_}"), owner)
    assert not may_enter(settings(allowed_users=f"id:{id_}"), thief)
    if id_ in IDS:  # without the mark, too
        assert may_enter(settings(allowed_users=id_), owner)
        assert not may_enter(settings(allowed_users=id_), thief)


def test_a_user_name_that_looks_like_an_address_is_none() -> None:
    found = person("p", {"sub": "9", "preferred_username": "boss@example.org"}, {})
    assert not may_enter(settings(allowed_users="boss@example.org"), found)


@pytest.mark.parametrize(
    ("claims", "enters"),
    [
        ({"orgs": [{"preferred_username": "Makers", "name": "Anything"}]}, True),
        ({"orgs": [{"preferred_username": "evil", "name": "makers"}]}, False),
        ({"orgs": [{"name": "makers"}]}, True),
        ({"orgs": [{"preferred_username": "makers", "pendingSSO": True}]}, False),
        ({"orgs": [{"preferred_username": "makers", "missingMFA": True}]}, False),
        ({"orgs": "makers"}, False),
        ({"orgs": ["makers", None, {"preferred_username": 3}]}, False),
        ({"groups": ["makers"]}, True),
        ({"groups": ["other"]}, False),
        ({}, False),
    ],
)
def test_members_of_listed_organisations_may_enter(claims: dict[str, Any], enters: bool) -> None:
    assert may_enter(settings(allowed_orgs="makers"), who(**claims)) is enters


def test_admins_are_those_whom_the_operator_named() -> None:
    space = {"system": "spaces", "space_id": "a/b", "space_creator_user_id": "17"}
    assert role_at_sign_in(settings(admin_users="ada"), who()) is AccountRole.ADMIN
    assert role_at_sign_in(settings(admin_users="eve"), who()) is None
    assert role_at_sign_in(settings(**space), who()) is AccountRole.ADMIN
    assert role_at_sign_in(settings(**space), who(sub="18")) is None
    assert role_at_sign_in(settings(space_creator_user_id="17"), who()) is None, "that is no Space"
    assert first_is_admin(settings())
    assert not first_is_admin(settings(admin_users="eve"))
    assert not first_is_admin(settings(**space))


def test_whoever_is_taken_off_the_list_is_out() -> None:
    now = datetime.now(UTC)
    ada = Account("u", "p", "17", "ada", "Ada", None, AccountRole.MEMBER, None, now, now, "ada")
    eve = Account("v", "p", "18", "ada", "Ada", None, AccountRole.MEMBER, None, now, now)
    assert still_listed(settings(), ada)
    assert still_listed(settings(allowed_users="ada"), ada)
    assert still_listed(settings(allowed_users="id:17"), ada)
    assert not still_listed(settings(allowed_users="eve"), ada)
    assert not still_listed(settings(allowed_users="ada"), eve), "who only looks like it"
    assert still_listed(settings(allowed_users="eve", allowed_orgs="makers"), ada), "he may be a member"


# --- names ---


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ada Lovelace", "AL"),
        ("ada", "A"),
        ("jean-luc", "JL"),
        ("", "?"),
        ("🔭", "?"),
        ("Ada B. Lovelace", "AL"),
    ],
)
def test_initials(name: str, expected: str) -> None:
    assert initials(name) == expected


def test_texts_of_strangers_become_one_short_line() -> None:
    assert one_line(" a\n\tb\x00\u202ec ", 10) == "a bc"
    assert one_line("a" * 99, 10) == "a" * 10
    assert one_line(None, 10) == one_line({}, 10) == ""


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/130.0 Safari/537.36 Edg/130.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18) Version/18 Safari/604.1", "Safari on iPhone"),
        ("<script>alert(1)</script>", "A browser"),
        ("", "A browser"),
    ],
)
def test_browsers_have_names(agent: str, expected: str) -> None:
    assert client_name(agent) == expected


# --- the secret box ---


def test_what_is_sealed_opens_with_the_same_key_for_the_same_person(tmp_path: Path) -> None:
    sealed = open_box(None, tmp_path).seal("token", "ada")
    assert b"token" not in sealed
    again = open_box(None, tmp_path)
    assert again.open(sealed, "ada") == "token"
    assert again.open(sealed, "eve") is None
    assert again.open(sealed[:-1], "ada") is None
    assert again.open(b"", "ada") is None
    assert open_box("another key of sixteen", tmp_path).open(sealed, "ada") is None
    given = open_box("a key of sixteen characters", tmp_path).seal("token", "ada")
    assert open_box("a key of sixteen characters", tmp_path / "elsewhere").open(given, "ada") == "token"


def test_the_key_is_a_file_that_nobody_else_reads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_box(None, tmp_path)
    file = tmp_path / KEY_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
    key = file.read_bytes()
    open_box(None, tmp_path)
    assert file.read_bytes() == key
    file.write_bytes(b"short")
    with caplog.at_level(logging.WARNING):
        open_box(None, tmp_path).seal("works", "ada")
    assert "damaged" in caplog.text
    assert len(file.read_bytes()) == 32


def test_a_folder_that_takes_no_key_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        box = open_box(None, tmp_path / "file")
    assert box.open(box.seal("works", "ada"), "ada") == "works"
    assert str(tmp_path) not in caplog.text
