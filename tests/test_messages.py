from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.errors import ArgumentError
from bcast.messages import Attributes, Service


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("", "_lamp"), "instance name has 0 bytes"),
        (("x" * 64, "_lamp"), "64 bytes of UTF-8: it must have 1 to 63"),
        (("é" * 32, "_lamp"), "64 bytes"),
        (("\udc80", "_lamp"), "is not text"),
        (("lamp", ""), "is not a service type"),
        (("lamp", "Lamp"), "'Lamp' is not a service type: use 1 to 63 of a-z"),
        (("lamp", "_lamp\n"), "is not a service type"),
        (("lamp", "x" * 64), "is not a service type"),
        (("lamp", "_lamp", 65_536), "65536 is not a port"),
        (("lamp", "_lamp", -1), "-1 is not a port"),
        (("lamp", "_lamp", 1, {"": "x"}), "attribute key has 0 bytes"),
        (("lamp", "_lamp", 1, {"k" * 64: "x"}), "attribute key has 64 bytes"),
        (("lamp", "_lamp", 1, {"k": "v" * 256}), "value of attribute 'k' has 256 bytes"),
        (("lamp", "_lamp", 1, {"k": "\ud800"}), "is not text"),
        (("lamp", "_lamp", 1, {str(n): "" for n in range(65)}), "65 attributes are too many"),
    ],
)
def test_what_no_service_can_be_is_said_with_the_limit(
    arguments: tuple[str, str], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        Service(*arguments)


def test_the_largest_service() -> None:
    attributes = {f"{n:063}": "v" * 255 for n in range(64)}
    service = Service("n" * 63, "t" * 63, 65_535, attributes)
    assert service.attributes == attributes


texts = st.dictionaries(st.text(max_size=5), st.text(max_size=5))


@given(texts)
def test_attributes_are_a_mapping_that_stays_as_it_is(items: dict[str, str]) -> None:
    attributes = Attributes(items)
    assert attributes == items
    assert list(attributes.items()) == list(items.items())
    assert repr(attributes) == repr(items)
    items["more"] = ""
    assert "more" not in attributes or len(attributes) == len(items)
    assert pickle.loads(pickle.dumps(attributes)) == attributes
    assert copy.deepcopy(attributes) == attributes


@given(texts)
def test_equal_services_hash_alike_however_their_attributes_are_ordered(
    items: dict[str, str],
) -> None:
    turned = Attributes(reversed(list(items.items())))
    assert Attributes(items) == turned
    assert hash(Attributes(items)) == hash(turned)


def test_a_service_takes_its_attributes_once() -> None:
    attributes = {"fw": "1.4"}
    service = Service("lamp-1", "_lamp", port=80, attributes=attributes)
    attributes["fw"] = "1.5"
    assert service.attributes["fw"] == "1.4"
    assert service == Service("lamp-1", "_lamp", 80, {"fw": "1.4"})
    assert hash(service) == hash(Service("lamp-1", "_lamp", 80, {"fw": "1.4"}))
    assert pickle.loads(pickle.dumps(service)) == service


def test_a_service_that_was_checked_elsewhere_is_one_like_any_other() -> None:
    checked = Service("lamp-1", "_lamp", 80, {"fw": "1.4"})
    service = Service.unchecked("lamp-1", "_lamp", 80, {"fw": "1.4"})
    assert service == checked
    assert hash(service) == hash(checked)
    assert repr(service) == repr(checked)
    assert pickle.loads(pickle.dumps(service)) == checked
    assert dataclasses.replace(service, port=81) == dataclasses.replace(checked, port=81)
