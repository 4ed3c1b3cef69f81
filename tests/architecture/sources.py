"""The project's own files, and what can be read off them without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("playground", "inference", "storage")
PYTHON_FOLDERS = (*PACKAGES, "tests", "benchmarks")
ASSET_FOLDER = "static"
VENDOR_FOLDER = "vendor"
NESTED = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Source:
    """One Python file; ``name`` is its path below the root, with slashes."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed file."""
        return ast.parse(self.text, self.name)

    @property
    def module(self) -> str:
        """``playground/api/__init__.py`` is ``playground.api``."""
        return self.name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        return self.module if self.name.endswith("__init__.py") else self.module.rpartition(".")[0]


def python_sources(*folders: str) -> list[Source]:
    """Every Python file below these folders; ``app.py`` belongs to the product."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    if set(PACKAGES) <= set(folders):
        paths.append(ROOT / "app.py")
    return [Source(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in paths]


def product() -> list[Source]:
    """What runs in front of users."""
    return python_sources(*PACKAGES)


def assets() -> Iterator[tuple[str, str]]:
    """Name and text of the page's own scripts and styles."""
    for path in sorted((ROOT / ASSET_FOLDER).rglob("*")):
        inside = path.relative_to(ROOT)
        if path.suffix in (".js", ".css") and VENDOR_FOLDER not in inside.parts:
            yield inside.as_posix(), path.read_text("utf-8")


def imports(source: Source) -> set[str]:
    """Every module that a file imports, at any depth; ``from a import b`` gives ``a`` and ``a.b``."""
    found: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = source.package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


def imports_of(source: Source, libraries: set[str]) -> set[str]:
    """Which of these top-level libraries a file imports."""
    return {name.partition(".")[0] for name in imports(source)} & libraries


def environment_use(source: Source) -> set[str]:
    """How a file uses the process environment: ``read``, ``write``, both, or not at all."""
    found: set[str] = set()
    written = {
        node.value
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del))
    }
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.environb"):
            found.add("write" if node in written else "read")
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.getenv", "os.getenvb"):
            found.add("read")
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.putenv", "os.unsetenv"):
            found.add("write")
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            taken = {alias.name for alias in node.names}
            found |= {"read"} if taken & {"environ", "environb", "getenv", "getenvb"} else set()
    return found


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a file."""
    return (node for node in ast.walk(source.tree) if isinstance(node, NESTED))


def long_functions(source: Source, limit: int) -> list[str]:
    """Functions of more lines than the limit that do not say why in their first line ("long because ...")."""
    lines = source.text.splitlines()
    found = []
    for node in functions(source):
        size = (node.end_lineno or node.lineno) - node.lineno + 1
        docstring = (ast.get_docstring(node) or "").partition("\n")[0]
        comment = lines[node.body[0].lineno - 2]
        if size > limit and "long because" not in f"{docstring} {comment}":
            found.append(f"{source.name}:{node.lineno} {node.name} ({size} lines)")
    return found


def unannotated(source: Source) -> list[str]:
    """Functions with a parameter or a result that has no type."""
    found = []
    for node in functions(source):
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
        bare = [each.arg for each in every if each.annotation is None and each.arg not in ("self", "cls")]
        if bare or node.returns is None:
            found.append(f"{source.name}:{node.lineno} {node.name}")
    return found


def import_graph(sources: list[Source]) -> dict[str, set[str]]:
    """Which of these modules imports which, wherever in the file the import stands."""
    modules = {source.module for source in sources}
    return {
        source.module: {name for name in imports(source) if name in modules and name != source.module}
        - ancestors(source.module)
        for source in sources
    }


def ancestors(module: str) -> set[str]:
    """The packages that a module lies in; their ``__init__`` is empty."""
    parts = module.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))}
