"""The shell without a browser: static templates, Gradio's settings, and files that are all at home."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from playground.ui import shell
from tests.playground.ui.served import Served

ROOT = Path(__file__).parents[3]
STATIC = ROOT / "static"
TEMPLATES = sorted((ROOT / "playground" / "ui" / "templates").glob("*.html"))
OWN = sorted([*STATIC.glob("js/*.js"), *STATIC.glob("css/*.css"), *TEMPLATES])
IDENTIFIER = re.compile(r'\bid="([^"]+)"')


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in OWN}


def test_templates_hold_nothing_that_gradio_would_evaluate() -> None:
    assert [path.name for path in TEMPLATES] == ["page.html", "sidebar.html"]
    for path in TEMPLATES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\$\{|\{\{|@children|<script|\son\w+=", text), path.name


def test_every_id_is_the_pages_own_and_appears_once() -> None:
    names = [name for path in TEMPLATES for name in IDENTIFIER.findall(path.read_text(encoding="utf-8"))]
    assert len(names) == len(set(names))
    assert all(name.startswith("pg-") for name in names)


def test_scripts_ask_only_for_ids_that_the_shell_has(sources: dict[str, str]) -> None:
    present = {name for path in TEMPLATES for name in IDENTIFIER.findall(path.read_text(encoding="utf-8"))}
    asked = {name for text in sources.values() for name in re.findall(r'byId\("([^"]+)"\)', text)}
    assert asked - {"pg-side"} <= present
    assert asked


def test_nothing_names_another_host(sources: dict[str, str]) -> None:
    for name, text in sources.items():
        hosts = set(re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]{2,}[^\s\"')]*", text, re.IGNORECASE))
        assert hosts <= {"http://www.w3.org/2000/svg"}, name


def test_markup_is_parsed_only_where_it_was_made_safe(sources: dict[str, str]) -> None:
    """``code.js`` takes what highlight.js escaped; all else is built node by node."""
    unsafe = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
    assert {name for name, text in sources.items() if unsafe.search(text)} == {"code.js"}


def test_the_head_names_files_that_exist() -> None:
    named = re.findall(r'(?:src|href)="/static/([^"?]+)', shell.head_markup())
    assert len(named) == len(set(named)) + 1  # main.js is preloaded and run
    assert [name for name in named if not (STATIC / name).is_file()] == []
    assert {f"css/{path.name}" for path in STATIC.glob("css/*.css")} <= set(named)


def test_vendored_libraries_are_listed_with_their_licences(sources: dict[str, str]) -> None:
    table = (STATIC / "vendor" / "README.md").read_text(encoding="utf-8")
    for folder in (path for path in (STATIC / "vendor").iterdir() if path.is_dir()):
        assert (folder / "LICENSE").is_file(), folder.name
        scripts = [path.name for path in folder.iterdir() if path.suffix in {".js", ".mjs", ".css"}]
        assert [name for name in scripts if name not in table] == []
    versions = set(re.findall(r"\?v=([0-9.]+)", "".join(sources.values())))
    assert versions
    assert {version for version in versions if f"| {version} |" not in table} == set()


def test_the_page_is_served_as_meant(served: Served) -> None:
    with httpx.Client(base_url=served.url) as browser:
        page = browser.get("/")
        assert page.status_code == 200
        config = _config(page.text)
        assert config["dependencies"] == []
        assert config["footer_links"] == []
        assert config["analytics_enabled"] is False
        assert config["run_history"] is False
        assert config["show_error"] is False
        assert [each["type"] for each in config["components"]] == ["sidebar", "html", "html"]
        assert all("value" not in each["props"] for each in config["components"])
        assert _config(browser.get("/c/0123456789abcdef").text)["components"] == config["components"]
        icon = browser.get("/favicon.ico")
        assert icon.headers["content-type"] == "image/svg+xml"
        assert "<svg" in icon.text
        for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', shell.head_markup()):
            assert browser.get(name).status_code == 200


def test_gradio_serves_no_file_of_the_machine(served: Served, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret", encoding="utf-8")
    with httpx.Client(base_url=served.url) as browser:
        for path in (secret, ROOT / "app.py", Path("/etc/passwd")):
            assert browser.get(f"/gradio_api/file={path}").status_code in {403, 404}


def _config(page: str) -> dict[str, Any]:
    found = re.search(r"window\.gradio_config = (\{.*?\});</script>", page, re.DOTALL)
    assert found is not None
    config: dict[str, Any] = json.loads(found.group(1))
    return config
