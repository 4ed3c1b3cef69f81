"""Settings and the command line: clear words for what cannot be used, and an orderly start and end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from playground.server import PortUnavailable, listen, page_address
from playground.settings import Settings, SettingsError, load_settings
from playground.text import title_from
from playground.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("HOST", "not a host"),
        ("MODEL", "x" * 1001),
        ("PUBLIC_URL", "ftp://example.org"),
        ("PUBLIC_URL", "https://example.org/sub"),
        ("MAX_MESSAGE_CHARS", "0"),
        ("MAX_TOKENS_DEFAULT", "-1"),
        ("QUEUE_LIMIT", "0"),
        ("ENGINE_ISOLATION", "container"),
        ("ENGINE_STEP_LIMIT", "0"),
        ("ENGINE_STEP_LIMIT", "nan"),
        ("LOG_LEVEL", "loud"),
        ("BEHIND_PROXY", "perhaps"),
        ("PROMPT_DATE", "yesterday"),
        ("PROMPT_DATE", "0"),
        ("PROMPT_DATE", "2026-02-30"),
    ],
)
def test_a_bad_value_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)


def test_the_model_is_told_todays_date_or_the_one_that_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPT_DATE", "2030-01-02")
    assert load_settings().date_told() == "2030-01-02"
    monkeypatch.setenv("PROMPT_DATE", "")
    days = {datetime.now(UTC).date().isoformat()}
    told = load_settings().date_told()
    assert told in days | {datetime.now(UTC).date().isoformat()}


def test_the_environment_is_read_and_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PORT": "7001",
        "LOG_LEVEL": "DEBUG",
        "MODEL": "demo",
        "HF_TOKEN": "hf_secret",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PUBLIC_URL", "")
    settings = load_settings(port=7002, model=None)
    assert (settings.port, settings.log_level, settings.model) == (7002, "debug", "demo")
    assert settings.public_url is None
    assert "hf_secret" not in repr(settings)


@pytest.mark.parametrize(
    ("wanted", "visible", "isolation"),
    [
        ("auto", None, "auto"),
        ("auto", "0,1", "auto"),
        ("auto", "", "thread"),
        ("auto", "-1", "thread"),
        ("process", "", "process"),
        ("thread", "0", "thread"),
    ],
)
def test_hidden_gpus_are_no_reason_for_a_process(
    monkeypatch: pytest.MonkeyPatch, wanted: str, visible: str | None, isolation: str
) -> None:
    monkeypatch.setenv("ENGINE_ISOLATION", wanted)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert load_settings().isolation == isolation


def test_the_address_that_is_shown_can_be_opened() -> None:
    assert page_address(Settings(host="0.0.0.0", port=80)) == "http://localhost:80"  # noqa: S104
    assert page_address(Settings(host="192.168.1.5", port=7860)) == "http://192.168.1.5:7860"
    assert page_address(Settings(host="fe80::1", port=7860)) == "http://[fe80::1]:7860"
    assert page_address(Settings(public_url="https://chat.example.org/")) == "https://chat.example.org"


def test_a_port_in_use_and_a_foreign_address_get_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortUnavailable, match=f"^Port {port} is already in use"):
            listen(Settings(host="127.0.0.1", port=port))
    with pytest.raises(PortUnavailable, match=r"^192\.0\.2\.1 is not an address of this machine"):
        listen(Settings(host="192.0.2.1", port=port))
    with listen(Settings(host="127.0.0.1", port=port)) as listener:
        assert listener.proto == socket.IPPROTO_TCP, "or else every small answer would wait 40 ms"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("\n \n  What   is\tthis?\nSecond line", "What is this?"),
        ("x" * 100, "x" * 59 + "…"),
        ("word " * 30, "word word word word word word word word word word word…"),
    ],
)
def test_a_title_is_the_first_line(text: str, title: str) -> None:
    assert title_from(text) == title
    assert len(title) <= 60


def test_the_version_is_that_of_the_project() -> None:
    assert f'\nversion = "{VERSION}"\n' in (ROOT / "pyproject.toml").read_text()


def run_app(*arguments: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "app.py"), *arguments],
        cwd=ROOT,
        env={**os.environ, "DATA_DIR": str(folder), "MODEL": "demo", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_app_refuses_bad_settings_with_status_2(tmp_path: Path) -> None:
    out, err = (app := run_app(folder=tmp_path, PORT="x", QUEUE_LIMIT="0")).communicate(timeout=60)
    assert (app.returncode, out) == (2, "")
    assert [line.split(":")[0] for line in err.splitlines()] == ["PORT", "QUEUE_LIMIT"]


def test_the_app_refuses_a_busy_port_with_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        out, err = (app := run_app("serve", "--port", port, folder=tmp_path)).communicate(timeout=60)
    assert (app.returncode, out) == (1, "")
    assert err.startswith(f"Port {port} is already in use.")
    assert len(err.splitlines()) == 1


def test_the_app_refuses_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "playground.sqlite3").write_bytes(b"This is a letter to my aunt. " * 100)
    out, err = (app := run_app("serve", "--port", str(free_port()), folder=tmp_path)).communicate(timeout=60)
    assert (app.returncode, out) == (1, "")
    assert "damaged" in err
    assert "Traceback" not in err
    sentence, _, command = err.partition("  python app.py restore")
    assert str(tmp_path) not in sentence
    assert command == f" --data-dir {tmp_path} FILE\n", "not into the folder of somebody else's settings"


def test_the_app_says_when_it_answers_and_ends_cleanly(tmp_path: Path) -> None:
    port = free_port()
    app = run_app("serve", "--port", str(port), folder=tmp_path)
    try:
        assert app.stdout is not None
        assert app.stdout.readline() == f"gpt-oss Playground is running at http://localhost:{port}\n"
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            assert answer.status == 200
        app.send_signal(signal.SIGINT)
        out, err = app.communicate(timeout=60)
    finally:
        app.kill()
    assert out == ""
    assert (app.returncode, err) == (0, "")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("given", "places"),
    [
        ({}, 0),
        ({"host": "::1"}, 0),
        ({"replies_at_once": 3}, 3),
        ({"host": "0.0.0.0"}, 8),  # noqa: S104
        ({"behind_proxy": True}, 8),
        ({"public_url": "https://playground.example"}, 8),
        ({"system": "spaces", "space_id": "one/two"}, 8),
    ],
)
def test_on_ones_own_machine_any_number_of_replies_run_at_once(given: dict[str, Any], places: int) -> None:
    assert Settings(**given).places == places
