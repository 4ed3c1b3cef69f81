"""README's table of settings is the settings."""

from __future__ import annotations

from pathlib import Path

from playground.settings import Settings

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- settings begin -->", "<!-- settings end -->"


def settings_table() -> str:
    """Every setting as a line of Markdown."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    own_first = sorted(
        Settings.model_fields.items(), key=lambda item: item[0] not in Settings.__annotations__
    )
    for name, field in own_first:
        default = "" if field.default in (None, ()) else f"`{field.default}`"
        lines.append(f"| `{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


def test_the_readme_lists_every_setting_as_it_is() -> None:
    text = README.read_text(encoding="utf-8")
    listed = text.split(BEGIN)[1].split(END)[0].strip()
    assert listed == settings_table(), f"Put this between the marks in README.md:\n{settings_table()}"
