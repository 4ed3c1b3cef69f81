"""Small texts about people: names that strangers chose, initials, and the name of a browser."""

from __future__ import annotations

from typing import Any

BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("python-", "Python"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def one_line(value: Any, most: int) -> str:
    """A text of somebody else as one line of at most ``most`` visible characters; "" for anything else."""
    if not isinstance(value, str):
        return ""
    kept = "".join(each for each in value[: 4 * most] if each.isprintable() or each.isspace())
    return " ".join(kept.split())[:most].strip()


def initials(name: str) -> str:
    """One or two capital letters for a name; "?" where it has no letter or digit."""
    words = [[each for each in word if each.isalnum()] for word in name.replace("-", " ").split()]
    firsts = [word[0] for word in words if word]
    if not firsts:
        return "?"
    return (firsts[0] + firsts[-1] if len(firsts) > 1 else firsts[0]).upper()


def client_name(user_agent: str) -> str:
    """What a person calls the browser that sends this, such as "Firefox on Linux"."""
    browser = next((name for mark, name in BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    return " on ".join(part for part in (browser, system) if part) or "A browser"
