"""The version of the playground, the same as in pyproject.toml."""

VERSION = "0.1.0"
