"""The look of Gradio's own parts: Inter, quiet greys, the same colours as the page's style sheet."""

from __future__ import annotations

from gradio.themes import Base, Font
from gradio.themes.utils import colors, sizes


def build_theme() -> Base:
    """Return the theme; its fonts are declared in ``static/css/fonts.css``, never a remote service."""
    theme = Base(
        primary_hue=colors.neutral,
        secondary_hue=colors.neutral,
        neutral_hue=colors.neutral,
        radius_size=sizes.radius_lg,
        font=(Font("Inter Variable"), Font("ui-sans-serif"), Font("system-ui"), Font("sans-serif")),
        font_mono=(Font("JetBrains Mono Variable"), Font("ui-monospace"), Font("monospace")),
    )
    theme.set(
        body_background_fill="#ffffff",
        body_background_fill_dark="#171717",
        body_text_color="#1c1c1c",
        body_text_color_dark="#ececec",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#171717",
        background_fill_secondary="#f7f7f7",
        background_fill_secondary_dark="#101010",
        block_shadow="none",
        block_border_width="0px",
        button_transition="none",
    )
    return theme
