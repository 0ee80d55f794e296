"""`bcast.capture.blocks`: the blocks around the frames, byte by byte."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from bcast.capture.blocks import interface_block, section_block, statistics_block
from bcast.datagram import Address, Interface, InterfaceFlag, Kind


def interface(
    name: str = "eth0", hardware_address: str | None = None, addresses: tuple[Address, ...] = ()
) -> Interface:
    return Interface(name, 2, Kind.ETHERNET, InterfaceFlag.UP, 1500, hardware_address, addresses)


def test_section_block() -> None:
    assert section_block("x86_64", "", "bcast").hex(" ", -4) == (
        "0a0d0d0a 00000038 1a2b3c4d 00010000 ffffffff ffffffff"
        " 00020006 7838365f 36340000 00040005 62636173 74000000 00000000 00000038"
    )


def test_section_block_without_options() -> None:
    assert section_block("", "", "").hex(" ", -4) == (
        "0a0d0d0a 0000001c 1a2b3c4d 00010000 ffffffff ffffffff 0000001c"
    )


def test_interface_block() -> None:
    block = interface_block(
        interface(
            hardware_address="02:00:5e:00:53:01",
            addresses=(
                Address(ip_address("192.0.2.5"), 25),
                Address(ip_address("fe80::1%eth0"), 64),
            ),
        )
    )
    assert block.hex(" ", -4) == (
        "00000001 00000058 00650000 00000000"
        " 00020004 65746830"
        " 00040008 c0000205 ffffff80"
        " 00050011 fe800000 00000000 00000000 00000001 40000000"
        " 00060006 02005e00 53010000"
        " 00090001 09000000 00000000 00000058"
    )


def test_a_hardware_address_of_another_length_is_left_out() -> None:
    bare = interface_block(interface())
    assert interface_block(interface(hardware_address="00:00:00:00:fe:80:00:00")) == bare
    assert interface_block(interface(hardware_address="nonsense")) == bare


def test_a_name_that_is_no_text_can_be_written() -> None:
    assert b"eth?" in interface_block(interface("eth\udcff"))


def test_a_description_is_bounded() -> None:
    many = tuple(Address(one, 32) for one in ip_network("10.0.0.0/16").hosts())
    assert len(interface_block(interface("x" * 100_000, addresses=many))) < 8192


def test_statistics_block() -> None:
    assert statistics_block(3, 10, 2, 1 << 32, (2 << 32) + 1).hex(" ", -4) == (
        "00000005 00000058 00000003 00000002 00000001"
        " 00020008 00000001 00000000"
        " 00030008 00000002 00000001"
        " 00040008 00000000 0000000c"
        " 00070008 00000000 00000002"
        " 00080008 00000000 0000000a"
        " 00000000 00000058"
    )


def test_statistics_block_without_times() -> None:
    assert statistics_block(0, 0, 0, None, None).hex(" ", -4) == (
        "00000005 00000040 00000000 00000000 00000000"
        " 00040008 00000000 00000000 00070008 00000000 00000000 00080008 00000000 00000000"
        " 00000000 00000040"
    )
