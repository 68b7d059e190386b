"""Nothing an operator can ask for opens a key: shown on the code itself, from every route to whatever it may call.

The walk sees more calls than there are: a method is taken to be called wherever its name is used on anything. So what
it does not reach cannot be reached; what it does reach may be a false alarm, and wants another name or a look.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

import ddsd
from ddsd.keys import hierarchy, unlocked
from ddsd.planes.admin.app import HANDLERS

ROOT: Final = Path(ddsd.__file__).parent
OPENING: Final = frozenset(
    {
        "ddsd.keys.unlocked.unlock_by_kek",
        "ddsd.keys.unlocked.unlock_by_session",
        "ddsd.keys.unlocked.unlock_by_link",
        "ddsd.keys.unlocked._unlocked",
        "ddsd.keys.unlocked.Unlocked.open_project_key",
        "ddsd.keys.hierarchy.open_user_key",
        "ddsd.keys.hierarchy.open_from_session",
        "ddsd.keys.hierarchy.open_from_link",
        "ddsd.keys.hierarchy.unwrap_project_key",
        "ddsd.keys.service.open_for",
    }
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Code:
    """Every function of the package by its full name, and what each may call."""

    functions: dict[str, tuple[str, ast.AST]] = field(default_factory=dict)
    imports: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    methods: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def calls(self, name: str) -> Iterator[str]:
        """Yield every function that this one names, calls or not."""
        module, tree = self.functions[name]
        for node in ast.walk(tree):
            match node:
                case ast.Name(id=used):
                    yield from self._known(self.imports[module].get(used, f"{module}.{used}"))
                case ast.Attribute(value=ast.Name(id=owner), attr=used) if (
                    owner in self.imports[module]
                ):
                    yield from self._known(f"{self.imports[module][owner]}.{used}")
                    yield from self.methods[used]
                case ast.Attribute(attr=used):
                    yield from self.methods[used]

    def reachable(self, start: str) -> dict[str, str]:
        """Return every function that can be reached, each with the one it was reached from."""
        seen, waiting = {start: ""}, [start]
        while waiting:
            name = waiting.pop()
            for called in self.calls(name):
                if called not in seen:
                    seen[called] = name
                    waiting.append(called)
        return seen

    def _known(self, name: str) -> Iterator[str]:
        """Yield the function of this name; for a class all that making one may run."""
        if name in self.functions:
            yield name
        for special in ("__init__", "__post_init__", "__new__"):
            if f"{name}.{special}" in self.functions:
                yield f"{name}.{special}"


def read() -> Code:
    """Read the whole package."""
    code = Code()
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for one in node.names:
                    code.imports[module][one.asname or one.name] = f"{node.module}.{one.name}"
        _note(code, module, module, tree, method=False)
    return code


def _note(code: Code, module: str, prefix: str, tree: ast.AST, *, method: bool) -> None:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            name = f"{prefix}.{node.name}"
            code.functions[name] = (module, node)
            if method:
                code.methods[node.name].add(name)
        elif isinstance(node, ast.ClassDef):
            _note(code, module, f"{prefix}.{node.name}", node, method=True)


@pytest.fixture(scope="module")
def code() -> Code:
    return read()


def name_of(handler: object) -> str:
    function = handler.fn  # type: ignore[attr-defined]  # Litestar's handlers have it
    return f"{function.__module__}.{function.__qualname__}"


def test_what_opens_is_still_called_so(code: Code) -> None:
    assert set(code.functions) >= OPENING
    makers = {name for name in vars(unlocked) if name.startswith("unlock_by_")}
    assert {f"ddsd.keys.unlocked.{name}" for name in makers} <= OPENING
    opening = {name for name in vars(hierarchy) if name.startswith(("open_", "unwrap_"))}
    assert {f"ddsd.keys.hierarchy.{name}" for name in opening} <= OPENING


@pytest.mark.parametrize("handler", HANDLERS, ids=name_of)
def test_no_route_of_the_operator_reaches_what_opens_a_key(code: Code, handler: object) -> None:
    reached = code.reachable(name_of(handler))
    assert len(reached) > 1
    ways = []
    for opened in OPENING & reached.keys():
        way = [opened]
        while way[-1]:
            way.append(reached[way[-1]])
        ways.append(" <- ".join(way[:-1]))
    assert not ways


@pytest.mark.parametrize(
    ("start", "opened"),
    [
        ("ddsd.users.login.check_password", "ddsd.keys.unlocked.unlock_by_kek"),
        ("ddsd.users.registration.register", "ddsd.keys.unlocked.unlock_by_link"),
        ("ddsd.planes.v1.projects.private_key", "ddsd.keys.service.open_for"),
    ],
)
def test_the_walk_finds_the_ways_that_people_have(code: Code, start: str, opened: str) -> None:
    assert opened in code.reachable(start)
