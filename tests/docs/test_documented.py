"""Every public name is documented where help() and an editor look, and speaks of public names only."""

import ast
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import statuslookup
from statuslookup import StatusClient, fleet, providers, sandbox, webhooks

PACKAGES = (statuslookup, fleet, providers, sandbox)
WITH_EXTRAS = {webhooks}
"""Modules that need an extra, so that the package cannot have their names."""
NOT_PUBLIC = ("statuslookup.cli", "statuslookup.fleet.", "statuslookup.providers.", "statuslookup.tracker.")
"""Programs, and files of public folders that say themselves what is public."""
SPOKEN = {"__aenter__", "__aexit__", "__call__"}
MADE_ELSEWHERE = {sandbox.Instance}
"""Classes whose constructors are nobody's to call: ``Sandbox.add_instance`` makes an instance."""


def modules() -> list[ModuleType]:
    """Return the modules that a user may import."""
    found = [info.name for info in pkgutil.walk_packages(statuslookup.__path__, "statuslookup.")]
    public = [name for name in found if "._" not in name and not name.startswith(NOT_PUBLIC)]
    return [statuslookup, *map(importlib.import_module, public)]


def is_own(cls: type) -> bool:
    return cls.__module__.split(".")[0] == "statuslookup"


PUBLIC = {name: getattr(home, name) for home in (*PACKAGES, *WITH_EXTRAS) for name in home.__all__}
CLASSES = [value for value in PUBLIC.values() if isinstance(value, type) and is_own(value)]


def is_public(name: str) -> bool:
    return not name.startswith("_") or name in SPOKEN


@cache
def definitions() -> dict[str, list[ast.stmt]]:
    """Return the body of each class, and under "" those of all modules one after another."""
    bodies: dict[str, list[ast.stmt]] = {"": []}
    for path in sorted(Path(statuslookup.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        bodies[""] += tree.body
        bodies |= {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
    return bodies


def assigned(body: list[ast.stmt]) -> dict[str, str | None]:
    """Return the public names that are assigned or declared in a body, each with the string below it."""
    found: dict[str, str | None] = {}
    for statement, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        elif isinstance(statement, ast.Assign):
            targets = statement.targets  # type: ignore[assignment] # a list of more kinds of targets
        else:
            continue
        value = below.value if isinstance(below, ast.Expr) else None
        text = value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
        found |= {each.id: text for each in targets if isinstance(each, ast.Name) and is_public(each.id)}
    return found


def set_on_self(body: list[ast.stmt]) -> set[str]:
    """Return the public attributes that a class's methods set."""
    return {
        node.attr
        for statement in body
        for node in ast.walk(statement)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_public(node.attr)
        if isinstance(node.value, ast.Name) and node.value.id == "self"
    }


def own_bases(cls: type) -> list[type]:
    """Return the class and those of its bases that this package defines."""
    return [base for base in cls.__mro__ if is_own(base)]


def fields(cls: type) -> dict[str, str | None]:
    """Return the attributes of a class, each with its docstring, if it has one."""
    found: dict[str, str | None] = {}
    for base in own_bases(cls):
        body = definitions()[base.__name__]
        declared = assigned(body)
        properties = {name for name in dir(cls) if isinstance(getattr(cls, name), property)}
        found = dict.fromkeys(sorted(set_on_self(body) - properties)) | declared | found
        # What a base declares is documented there.
        found |= {name: text for name, text in declared.items() if found.get(name) is None}
    return found


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties of a class, bare of their decorators."""
    for base in own_bases(cls):
        for name, value in vars(base).items():
            bare = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            if is_public(name) and (inspect.isfunction(bare) or isinstance(bare, property)):
                yield f"{cls.__name__}.{name}", bare


def documents() -> dict[str, str | None]:
    """Return the docstring of everything that is public."""
    found = {module.__name__: module.__doc__ for module in modules()}
    aliases = assigned(definitions()[""])
    found |= {name: aliases.get(name) for name, value in PUBLIC.items() if not isinstance(value, type)}
    found |= {name: value.__doc__ for name, value in PUBLIC.items() if inspect.isfunction(value)}
    for cls in CLASSES:
        found[cls.__name__] = vars(cls).get("__doc__")
        found |= {f"{cls.__name__}.{name}": text for name, text in fields(cls).items()}
        found |= {name: member.__doc__ for name, member in members(cls)}
    return found


def what_is_wrong(text: str | None) -> str:
    """Return what is wrong with a docstring; empty for nothing."""
    if not text:
        return "no docstring"
    first, *rest = inspect.cleandoc(text).splitlines()
    if not first.endswith((".", ":")):
        return "the first line ends in the middle of a sentence"
    if len(first) > 110:
        return "the first line is too long"
    return "the first line is not alone" if rest and rest[0] else ""


def test_a_public_name_promises_something_in_one_line() -> None:
    wrong = {name: what_is_wrong(text) for name, text in documents().items()}
    assert {name: problem for name, problem in wrong.items() if problem} == {}


def test_what_is_wrong_with_a_docstring_is_found() -> None:
    assert what_is_wrong(None) == what_is_wrong("") == "no docstring"
    assert what_is_wrong("Returns\nthe text.") == "the first line ends in the middle of a sentence"
    assert what_is_wrong(f"Returns {'a ' * 60}text.") == "the first line is too long"
    assert what_is_wrong("Returns the text.\nOr not.") == "the first line is not alone"
    assert what_is_wrong("Returns the text.\n\nOr not.") == what_is_wrong("Returns::") == ""


def undocumented_fields(cls: type) -> set[str]:
    own = [base for base in own_bases(cls) if base is cls or base not in CLASSES]
    names = {name for base in own for name in assigned(definitions()[base.__name__])}
    # What a subclass only sets anew is said where it is declared.
    names -= {name for base in own_bases(cls) if base is not cls for name in declared(base)}
    text = cls.__doc__ or ""
    return {name for name in names if f"``{name}" not in text}


def declared(cls: type) -> dict[str, str | None]:
    return assigned(definitions()[cls.__name__]) if cls in CLASSES else {}


def test_help_names_every_field() -> None:
    """help() shows no docstring of a field, so the one of its class has to name it."""
    missing = {cls.__name__: undocumented_fields(cls) for cls in CLASSES}
    assert {name: fields for name, fields in missing.items() if fields} == {}


def test_all_is_sorted_and_complete() -> None:
    for module in modules():
        assert module.__all__ == sorted(set(module.__all__)), module
        here = {name: value for name, value in vars(module).items() if is_public(name)}
        if module in PACKAGES:
            expected = {name for name, value in here.items() if not isinstance(value, ModuleType)}
        else:
            home = module.__name__
            expected = {name for name, value in here.items() if getattr(value, "__module__", "") == home}
            assert set(module.__all__) <= set(statuslookup.__all__) or module in WITH_EXTRAS, module
        assert expected <= set(module.__all__), module


def hinted(function: Any) -> Iterator[Any]:
    """Yield the types that a function's signatures name."""
    for each in (function, *typing.get_overloads(function)):
        yield from typing.get_type_hints(each).values()


def classes_in(hint: Any) -> Iterator[type]:
    """Yield the classes of this package that a type is made of."""
    origin = typing.get_origin(hint)
    if isinstance(origin or hint, type) and is_own(origin or hint):
        yield origin or hint
    for argument in typing.get_args(hint):
        for each in argument if isinstance(argument, list) else [argument]:
            yield from classes_in(each)


def private_classes_in(cls: type) -> set[str]:
    """Return the names of the classes in a class's public signatures that are not public themselves."""
    hints = [hint for name, hint in typing.get_type_hints(cls).items() if is_public(name)]
    constructor = vars(cls).get("__init__")
    if cls not in MADE_ELSEWHERE and inspect.isfunction(constructor):
        hints += hinted(constructor)
    for _, member in members(cls):
        hints += hinted(member.fget if isinstance(member, property) else member)
    named = {each for hint in hints for each in classes_in(hint)}
    return {each.__name__ for each in named - set(CLASSES)}


def test_public_signatures_name_public_classes_only() -> None:
    named = {cls.__name__: private_classes_in(cls) for cls in CLASSES}
    assert {name: classes for name, classes in named.items() if classes} == {}


def test_the_package_is_walked() -> None:
    """A search that found nothing would find no mistake."""
    methods = {"StatusClient.stream", "StatusClient.__aenter__", "Sandbox.add", "TokenBucket.limit"}
    attributes = {"MessageStatus.phone", "RateLimitedError.attempts", "Sandbox.arrivals", "SMSFire.name"}
    assert {"statuslookup.errors", "Pacing"} | methods | attributes <= set(documents())
    assert {statuslookup.MessageStatus, sandbox.Posted} < set(CLASSES)
    assert declared(statuslookup.MessageStatus).keys() >= {"id", "phone", "state"}
    assert statuslookup.Outcome in set(chain.from_iterable(map(classes_in, hinted(StatusClient.stream))))
