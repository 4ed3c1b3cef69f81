"""The rules of docs/architecture.md, checked on every file of the project."""

from __future__ import annotations

import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.architecture.sources import (
    PYTHON_FOLDERS,
    ROOT,
    Source,
    assets,
    environment_use,
    import_graph,
    imports,
    imports_of,
    long_functions,
    product,
    python_sources,
    unannotated,
)

LONGEST_FILE = 400
LONGEST_FUNCTION = 60

TORCH_SIDE = (
    "inference/worker/",
    *(f"inference/demonstration/{name}.py" for name in ("train", "pack", "quantize", "network", "evaluate")),
)
HOMES: dict[str, tuple[str, ...]] = {
    "gradio": ("playground/ui/",),
    "torch": TORCH_SIDE,
    "transformers": TORCH_SIDE,
    "safetensors": TORCH_SIDE,
    "triton": ("inference/worker/kernels/",),
    "prometheus_client": ("playground/metrics.py", "playground/api/metrics.py"),
    "sqlalchemy": ("storage/",),
    "alembic": ("storage/",),
    "openai_harmony": ("inference/harmony.py",),
    "llguidance": ("inference/grammar.py", "inference/grammar_limits.py", "inference/worker/"),
    "authlib": ("playground/accounts/",),
}
"""Where a library may be imported: folders end with a slash."""

ENVIRONMENT: dict[str, set[str]] = {
    "playground/settings.py": {"read", "write"},
    "inference/harmony.py": {"read", "write"},  # lends the library its folder, and puts back what was there
}

EDGES: dict[str, set[str]] = {
    "app": {"playground", "inference", "storage"},
    "playground": {"playground", "inference", "storage"},
    "inference": {"inference"},
    "storage": {"storage", "inference"},
}
"""Which of our packages may import which."""

ALL = python_sources(*PYTHON_FOLDERS)
PRODUCT = product()


def strays(sources: list[Source], library: str) -> list[str]:
    """Files that import a library outside of its home."""
    return [
        source.name
        for source in sources
        if imports_of(source, {library}) and not source.name.startswith(HOMES[library])
    ]


def wrong_edges(sources: list[Source]) -> list[str]:
    """Imports between our packages that point the wrong way."""
    return [
        f"{source.name} imports {name}"
        for source in sources
        for name in sorted(imports(source))
        if (target := name.partition(".")[0]) in (*EDGES, "tests", "benchmarks")
        and target not in EDGES[source.module.partition(".")[0]]
    ]


def test_there_is_something_to_check() -> None:
    names = {source.name for source in ALL}
    assert {"storage/store.py", "inference/types.py", "tests/architecture/test_rules.py"} <= names
    assert "app.py" in {source.name for source in PRODUCT}


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_library_is_imported_at_home_only(library: str) -> None:
    assert strays(PRODUCT, library) == []


def test_imports_point_one_way() -> None:
    assert wrong_edges(PRODUCT) == []


def test_storage_knows_the_shared_vocabulary_and_no_more_of_inference() -> None:
    for source in PRODUCT:
        if source.name.startswith("storage/"):
            foreign = {name for name in imports(source) if name.startswith("inference")}
            assert {name for name in foreign if not name.startswith("inference.types")} == set(), source.name


def test_the_vocabulary_needs_the_standard_library_only() -> None:
    for source in PRODUCT:
        if source.name in ("inference/types.py", "inference/figures.py"):
            foreign = {name for name in imports(source) if not name.startswith("inference.figures")}
            assert {name.partition(".")[0] for name in foreign} <= sys.stdlib_module_names


def test_environment_variables_are_read_in_one_place() -> None:
    used = {source.name: use for source in PRODUCT if (use := environment_use(source))}
    assert {name: use - ENVIRONMENT.get(name, set()) for name, use in used.items()} == {
        name: set() for name in used
    }


def test_packages_have_empty_init_files() -> None:
    folders = {(ROOT / source.name).parent for source in ALL} - {ROOT}
    assert [
        str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").exists()
    ] == []
    assert [source.name for source in ALL if source.name.endswith("/__init__.py") and source.text] == []


def test_files_are_short() -> None:
    texts = [(source.name, source.text) for source in ALL] + list(assets())
    sizes = {name: len(text.splitlines()) for name, text in texts}
    assert {name: size for name, size in sizes.items() if size > LONGEST_FILE} == {}


def test_functions_are_short_or_say_why_not() -> None:
    assert [each for source in ALL for each in long_functions(source, LONGEST_FUNCTION)] == []


def test_everything_is_annotated() -> None:
    assert [each for source in ALL for each in unannotated(source)] == []


def test_modules_say_what_they_are() -> None:
    silent = [source.name for source in PRODUCT if source.text and not source.text.startswith('"""')]
    assert silent == []


def test_no_module_imports_itself_in_a_circle() -> None:
    tuple(TopologicalSorter(import_graph(PRODUCT)).static_order())


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("playground.web", ("torch", "transformers", "safetensors", "triton")),
        ("inference.engine", ("torch", "transformers", "gradio", "sqlalchemy")),
        ("storage.store", ("torch", "transformers", "gradio", "fastapi")),
    ],
)
def test_importing_one_side_leaves_the_other_out(module: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*(name for name in {heavy!r} if name in sys.modules))"
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert child.stdout.split() == []


# --- each rule on a planted mistake ---


@pytest.mark.parametrize("library", sorted(HOMES))
@pytest.mark.parametrize(
    "line",
    [
        "import {}",
        "import {}.part as other",
        "from {} import part",
        "def f() -> None:\n    from {}.part import thing",
    ],
)
def test_a_stray_import_is_found(library: str, line: str) -> None:
    text = line.format(library)
    assert strays([Source("playground/planted.py", text)], library) == ["playground/planted.py"]
    home = HOMES[library][0]
    assert strays([Source(home if home.endswith(".py") else f"{home}x.py", text)], library) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("storage/planted.py", "import playground.web"),
        ("storage/planted.py", "from tests.storage import helpers"),
        ("inference/planted.py", "from storage import records"),
        ("inference/worker/planted.py", "from ...playground import turns"),
        ("playground/planted.py", "import app"),
    ],
)
def test_an_import_that_points_the_wrong_way_is_found(name: str, text: str) -> None:
    assert wrong_edges([Source(name, text)]) != []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os\nos.environ.get('A')", {"read"}),
        ("import os\nos.environ['A']", {"read"}),
        ("import os\nos.getenv('A')", {"read"}),
        ("from os import environ", {"read"}),
        ("import os\ndict(os.environ)", {"read"}),
        ("import os\nos.environ['A'] = 'b'", {"write"}),
        ("import os\ndel os.environ['A']", {"write"}),
        ("import os\nos.getcwd()", set()),
    ],
)
def test_use_of_the_environment_is_found(text: str, expected: set[str]) -> None:
    assert environment_use(Source("planted.py", text)) == expected


def test_a_long_function_is_found_unless_it_says_why() -> None:
    body = "    x = 1\n" * LONGEST_FUNCTION
    plain = f"def f() -> None:\n{body}"
    assert len(long_functions(Source("planted.py", plain), LONGEST_FUNCTION)) == 1
    assert long_functions(Source("planted.py", plain.replace("    x = 1\n", "", 1)), LONGEST_FUNCTION) == []
    for reason in ('    """Long, long because it is a table."""\n', "    # long because it is a table\n"):
        assert (
            long_functions(Source("planted.py", f"def f() -> None:\n{reason}{body}"), LONGEST_FUNCTION) == []
        )


@pytest.mark.parametrize(
    "text",
    [
        "def f(a) -> None: ...",
        "def f(a: int): ...",
        "async def f(*a) -> None: ...",
        "def f(*, a) -> None: ...",
    ],
)
def test_a_missing_annotation_is_found(text: str) -> None:
    assert len(unannotated(Source("planted.py", text))) == 1
    assert unannotated(Source("planted.py", "class A:\n    def f(self, a: int) -> None: ...")) == []


def test_a_circle_is_found() -> None:
    one = Source("storage/one.py", "def f() -> None:\n    from storage import two")
    two = Source("storage/two.py", "import storage.one")
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(import_graph([one, two])).static_order())
