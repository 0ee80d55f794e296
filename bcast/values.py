"""Frozen values that cost next to nothing to define.

A frozen dataclass compiles six functions when its class is made: half a millisecond, and a
command that starts in fifty would spend five on its values. A `Value` has the same fields,
behaviour and typing with one set of functions for all; ``dataclasses.replace``, ``asdict`` and
``fields`` work on it. Layer 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

if TYPE_CHECKING:
    from dataclasses import Field

__all__ = ["Value"]


class _Fields:
    """``__dataclass_fields__``, made when somebody asks a `Value` for them."""

    def __get__(self, instance: object, owner: type[Value]) -> dict[str, Any]:
        from dataclasses import dataclass

        dataclass(init=False, repr=False, eq=False)(owner)
        fields: dict[str, Any] = owner.__dict__["__dataclass_fields__"]
        return fields


@dataclass_transform(frozen_default=True)
class Value:
    """Base of immutable values: subclasses list their fields as a dataclass does."""

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    _names: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        # Annotations are text here (PEP 563), so that they aren't evaluated for nothing.
        own = cls.__dict__.get("__annotations__", {})
        fields = [name for name, text in own.items() if not str(text).startswith("ClassVar")]
        cls._names = names = (*cls._names, *fields)
        cls._defaults = cls._defaults | {n: cls.__dict__[n] for n in fields if n in cls.__dict__}
        type.__setattr__(cls, "__match_args__", names)
        type.__setattr__(cls, "__dataclass_fields__", _Fields())

    def __init__(self, *args: Any, **named: Any) -> None:
        names = self._names
        values = self.__dict__
        # Values are made by the thousand: the keyword alone would cost half as much again.
        values.update(zip(names, args))  # noqa: B905
        if len(args) < len(names):
            for name in names[len(args) :]:
                if name in named:
                    values[name] = named.pop(name)
                elif name in self._defaults:
                    values[name] = self._defaults[name]
                else:
                    raise TypeError(f"{type(self).__name__} needs a value for '{name}'")
        if named or len(args) > len(names):
            given = ", ".join([*map(repr, args[len(names) :]), *named])
            raise TypeError(f"{type(self).__name__} has no place for {given}")

    def __setattr__(self, name: str, value: object) -> None:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"{type(self).__name__}.{name} can't be changed")

    def __delattr__(self, name: str) -> None:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"{type(self).__name__}.{name} can't be deleted")

    def __replace__(self, /, **changes: Any) -> Self:
        return type(self)(**(self.__dict__ | changes))

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values()))

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._names)
        return f"{type(self).__name__}({said})"
