"""Values behave as frozen dataclasses do, though they are none."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from ipaddress import IPv4Address

import pytest

from bcast.datagram import Address, Endpoint
from bcast.values import Value


class Point(Value):
    """A place, for the tests."""

    x: int
    y: int
    name: str = "here"


ORDINARY = Point(1, 2)


def test_fields_are_taken_by_place_and_by_name() -> None:
    assert (ORDINARY.x, ORDINARY.y, ORDINARY.name) == (1, 2, "here")
    assert Point(y=2, x=1) == Point(1, 2, "here") == Point(1, y=2)


@pytest.mark.parametrize(
    ("args", "named", "sentence"),
    [
        ((1,), {}, "Point needs a value for 'y'"),
        ((), {"y": 2}, "Point needs a value for 'x'"),
        ((1, 2, "there", 4), {}, "Point has no place for 4"),
        ((1, 2), {"z": 3}, "Point has no place for z"),
        ((1, 2), {"x": 3}, "Point has no place for x"),
    ],
)
def test_fields_that_do_not_fit_are_refused(
    args: tuple[object, ...], named: dict[str, object], sentence: str
) -> None:
    with pytest.raises(TypeError, match=sentence):
        Point(*args, **named)  # type: ignore[arg-type]


def test_nothing_can_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ORDINARY.x = 3  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del ORDINARY.x
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(ORDINARY, "z" + "", 3)
    assert Point(1, 2) == ORDINARY


def test_equal_values_are_equal_and_hash_alike() -> None:
    assert {Point(1, 2), Point(y=2, x=1)} == {ORDINARY}
    assert Point(1, 2) != Point(2, 1)
    assert Point(1, 2) != (1, 2, "here")
    assert Endpoint(IPv4Address("10.0.0.1"), 8) != Address(IPv4Address("10.0.0.1"), 8)


def test_repr_can_be_read() -> None:
    assert repr(ORDINARY) == "Point(x=1, y=2, name='here')"


def test_what_dataclasses_offer_works() -> None:
    assert dataclasses.is_dataclass(Point)
    assert [field.name for field in dataclasses.fields(Point)] == ["x", "y", "name"]
    assert dataclasses.asdict(ORDINARY) == {"x": 1, "y": 2, "name": "here"}
    endpoint = Endpoint(IPv4Address("10.0.0.1"), 7)
    assert dataclasses.replace(endpoint, port=8) == Endpoint(IPv4Address("10.0.0.1"), 8)


def test_copies_and_pickles_are_equal() -> None:
    for made in (
        copy.copy(ORDINARY),
        copy.deepcopy(ORDINARY),
        pickle.loads(pickle.dumps(ORDINARY)),
    ):
        assert made == ORDINARY
        assert type(made) is Point


def test_values_match_by_place() -> None:
    match ORDINARY:
        case Point(x, y):
            assert (x, y) == (1, 2)
        case _:
            pytest.fail("it should match")
