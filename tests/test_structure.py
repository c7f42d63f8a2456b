"""The shape of the inside: no file needs itself in a circle, and no package reaches into another's private names."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pantile

ROOT = Path(pantile.__file__).resolve().parent
NAME = "pantile"

"""Modules that need themselves in a circle today; the list may only become shorter."""


def modules(root: Path = ROOT, name: str = NAME) -> dict[str, ast.Module]:
    """Every module of a package by its dotted name, parsed."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        dotted = ".".join((name, *parts)).removesuffix(".__init__")
        found[dotted] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return found


def packages(names: Mapping[str, object]) -> set[str]:
    """Those of the modules that hold others."""
    return {name.rpartition(".")[0] for name in names}


def at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes, those under ``if TYPE_CHECKING`` aside; what functions import is there."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            branch = node.body if ast.unparse(node.test).startswith("not ") else node.orelse
            for each in branch:
                yield each
                yield from at_run_time(each)
            continue
        yield node
        yield from at_run_time(node)


def imports(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """Which modules each module imports, at its top or in a function."""
    holders = packages(trees)
    graph: dict[str, set[str]] = {}
    for name, tree in trees.items():
        graph[name] = set()
        for node in at_run_time(tree):
            for wanted in _imported(node, name, name in holders):
                graph[name] |= _owners(wanted, trees) - {name}
    return graph


def _imported(node: ast.AST, name: str, holder: bool) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parts = name.split(".")
        up = parts[: len(parts) - node.level + holder] if node.level else []
        base = ".".join([*up, *([node.module] if node.module else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names)


def _owners(wanted: str, trees: Mapping[str, ast.Module]) -> set[str]:
    """The module that is meant: ``a.b.name`` is ``a.b`` where that is a file, else the package's file."""
    while wanted:
        if wanted in trees:
            return {wanted}
        wanted = wanted.rpartition(".")[0]
    return set()


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that need each other, each with the shortest way round through its first one."""
    groups = [group for group in _strongly_connected(graph) if len(group) > 1]
    return sorted(_way_round(min(group), group, graph) for group in groups)


def _strongly_connected(graph: Mapping[str, set[str]]) -> list[set[str]]:
    reached = {name: _reached(name, graph) for name in graph}
    groups, seen = [], set()
    for name in graph:
        if name not in seen:
            group = {other for other in reached[name] if name in reached[other]} | {name}
            seen |= group
            groups.append(group)
    return groups


def _reached(name: str, graph: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = [name]
    while left:
        for other in graph[left.pop()] - found:
            found.add(other)
            left.append(other)
    return found


def _way_round(start: str, group: set[str], graph: Mapping[str, set[str]]) -> list[str]:
    ways = [[start]]
    for way in ways:
        for other in sorted(graph[way[-1]] & group):
            if other == start:
                return [*way, start]
            if other not in way:
                ways.append([*way, other])
    raise AssertionError


def test_no_files_import_each_other_in_a_circle():
    found = circles(imports(modules()))
    assert not found, "\n".join(" -> ".join(way) for way in found)


def private_reaches(trees: Mapping[str, ast.Module]) -> list[str]:
    """Places where a module uses ``x._name`` (or imports ``_name``) and another package's files define it.

    ``self``, ``cls`` and ``super()`` are one's own. A name that the same package defines anywhere counts
    as its own, and one that none of ours defines is some library's.
    """
    homes: dict[str, set[str]] = {}
    for module, tree in trees.items():
        for name in _defined(tree):
            homes.setdefault(name, set()).add(_package(module))
    found = []
    for module, tree in trees.items():
        for line, owner, name in _used(tree):
            if name in homes and _package(module) not in homes[name]:
                where = ", ".join(sorted(homes[name]))
                found.append(f"{module}:{line} {owner}.{name}, which is private to {where}")
    return sorted(found)


def _package(module: str) -> str:
    """``matrix`` of ``pantile.matrix.boxes``; files of the top are one by one."""
    return module.split(".")[1] if module.count(".") else module


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("_") and not name.startswith("__")


def _defined(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return {name for name in found if _is_private(name)}


def _used(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            owner = ast.unparse(node.value)
            if owner not in ("self", "cls", "super()"):
                yield node.lineno, owner, node.attr
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if _is_private(alias.name):
                    yield node.lineno, node.module or ".", alias.name


def test_no_package_reaches_into_what_is_private_to_another():
    found = private_reaches(modules())
    assert not found, "\n".join(found)


PICTURE_LIBRARIES = ("PIL", "tifffile")
PICTURE_PLACES = tuple(f"{NAME}.files.{folder}" for folder in ("read", "write"))


def picture_libraries_in(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """The modules that import Pillow or tifffile, by an import or by the name that a call is given."""
    found: dict[str, set[str]] = {}
    for module, tree in trees.items():
        for node in ast.walk(tree):
            names = list(_imported(node, module, False))
            if isinstance(node, ast.Call) and "import" in ast.unparse(node.func):
                names += [a.value for a in node.args[:1] if isinstance(a, ast.Constant)]
            used = {str(name).partition(".")[0] for name in names} & {*PICTURE_LIBRARIES}
            if used:
                found.setdefault(module, set()).update(used)
    return found


def test_pictures_are_read_and_written_in_one_place():
    found = picture_libraries_in(modules())
    elsewhere = {name: used for name, used in found.items() if not name.startswith(PICTURE_PLACES)}
    assert elsewhere == {}
    assert set.union(*found.values()) == {*PICTURE_LIBRARIES}


def test_a_picture_library_is_found_however_it_is_imported(tmp_path):
    trees = write(tmp_path, {
        "__init__.py": "",
        "a.py": "from PIL import Image",
        "b.py": "def f():\n    import tifffile",
        "c.py": "x = import_optional('PIL.Image', 'reading')",
        "d.py": "PIL = 'PIL'",
    })  # fmt: skip
    assert picture_libraries_in(trees) == {
        "house.a": {"PIL"}, "house.b": {"tifffile"}, "house.c": {"PIL"},
    }  # fmt: skip


def write(folder: Path, files: Mapping[str, str]) -> dict[str, ast.Module]:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return modules(folder, "house")


def test_a_circle_is_found_wherever_the_import_stands(tmp_path):
    trees = write(tmp_path, {
        "__init__.py": "",
        "a/__init__.py": "from .one import x",
        "a/one.py": "from ..b import two",
        "a/three.py": "def f():\n    from .four import y",
        "a/four.py": "from house.a import three",
        "b/__init__.py": "",
        "b/two.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..a.one import x",
        "b/alone.py": "import numpy\nfrom . import two",
    })  # fmt: skip
    assert circles(imports(trees)) == [["house.a.four", "house.a.three", "house.a.four"]]


def test_a_private_name_of_another_package_is_found_and_ones_own_are_not(tmp_path):
    trees = write(tmp_path, {
        "__init__.py": "",
        "a/__init__.py": "",
        "a/one.py": "class X:\n    def __init__(self):\n        self._inner = 1\ndef _helper(): pass",
        "a/two.py": "def f(x):\n    return x._inner",
        "b/three.py": "from ..a.one import _helper\ndef f(x):\n    return x._inner + x._asdict().__len__()",
        "b/four.py": "class Y:\n    def __init__(self):\n        self._mine = 2\n        self._mine",
    })  # fmt: skip
    assert private_reaches(trees) == [
        "house.b.three:1 a.one._helper, which is private to a",
        "house.b.three:3 x._inner, which is private to a",
    ]
