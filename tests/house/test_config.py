"""A setting that nobody reads is a lie to whoever sets it."""

import ast
import functools
import importlib
import inspect

import pytest
from pydantic import BaseModel, ConfigDict, Field


def models(package: dict[str, ast.Module]) -> list[type[BaseModel]]:
    """Every pydantic class that the package defines."""
    found = set()
    for path in package:
        if path.endswith("/__main__.py"):
            continue
        name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for value in vars(importlib.import_module(name)).values():
            if inspect.isclass(value) and issubclass(value, BaseModel) and value.__module__ == name:
                found.add(value)
    return sorted(found, key=lambda model: (model.__module__, model.__name__))


@functools.cache
def reads(tree: ast.AST, own: bool) -> frozenset[str]:
    """Attributes that are read, of ``self`` (in a class's own methods) or of anything else."""
    return frozenset(
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and (isinstance(node.value, ast.Name) and node.value.id == "self") is own
    )


def unread(model: type[BaseModel], package: dict[str, ast.Module]) -> list[str]:
    """Fields of a class that nothing reads; checking a value is no use of it."""
    seen: set[str] = set()
    for tree in package.values():
        for node in tree.body:
            if not isinstance(node, ast.ClassDef) or node.name != model.__name__:
                seen.update(reads(node, own=False))
                continue
            for method in node.body:
                decorators = getattr(method, "decorator_list", [])
                if not any("validator" in ast.unparse(name) for name in decorators):
                    seen.update(reads(method, own=True))
    return [f"{model.__name__}.{name}" for name in model.model_fields if name not in seen]


def unsound(model: type[BaseModel]) -> list[str]:
    """What a config class lacks: it is frozen, refuses unknown keys and explains its fields."""
    name, config = model.__name__, model.model_config
    lacks = [] if config.get("frozen") else [f"{name} is not frozen"]
    lacks += [] if config.get("extra") == "forbid" else [f"{name} takes unknown keys"]
    fields = model.model_fields.items()
    return lacks + [f"{name}.{key} has no sentence" for key, f in fields if not f.description]


@pytest.fixture(scope="module")
def configs(package: dict[str, ast.Module]) -> list[type[BaseModel]]:
    return models(package)


def test_every_field_is_read(
    configs: list[type[BaseModel]], package: dict[str, ast.Module]
) -> None:
    assert len(configs) > 0
    assert [line for model in configs for line in unread(model, package)] == []


def test_every_config_is_frozen_strict_and_explained(configs: list[type[BaseModel]]) -> None:
    assert [line for model in configs for line in unsound(model)] == []


class Loose(BaseModel):
    steps: int = 1
    rate: float = Field(default=0.1, description="Step size.")


class Sound(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    rate: float = Field(default=0.1, description="Step size.")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(c): return c.rate + c.steps", []),
        ("class Loose:\n    def f(self): return self.rate + self.steps", []),
        ("class Other:\n    def f(self): return self.rate + self.steps", ["steps", "rate"]),
        ("def f(c): return c.rate\ndef g(c): c.steps = 2", ["steps"]),
        (
            "def f(c): return c.rate\n"
            "class Loose:\n    @model_validator()\n    def f(self): return self.steps",
            ["steps"],
        ),
    ],
)
def test_an_unread_field_is_found(source: str, expected: list[str]) -> None:
    found = unread(Loose, {"m.py": ast.parse(source)})
    assert found == [f"Loose.{name}" for name in expected]


def test_an_unsound_config_is_found() -> None:
    assert unsound(Sound) == []
    assert unsound(Loose) == [
        "Loose is not frozen",
        "Loose takes unknown keys",
        "Loose.steps has no sentence",
    ]
