"""What Wireshark's tools say about a capture that bcast wrote, and bcast about one of theirs."""

from __future__ import annotations

import shutil
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from bcast.capture import CaptureReader, CaptureWriter
from tests.test_capture_pcapng import ETH0, WLAN0, datagram, key6, row

TIME = 1_700_000_000_123_456_789


def run(tool: str, *arguments: str | Path) -> str:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    done = subprocess.run(
        [tool, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    # tshark warns of being root; nothing else may be said.
    said = [line for line in done.stderr.splitlines() if "Running as user" not in line]
    assert (done.returncode, said) == (0, [])
    return done.stdout


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A capture of two interfaces and both families, with payloads of 0 to 1200 bytes."""
    path = tmp_path / "a.pcapng"
    group = ip_address("ff02::1").packed
    with CaptureWriter(
        path, hardware="x86_64", system="Linux 6", application="bcast 1", started_ns=TIME - 1
    ) as writer:
        writer.write_batch(ETH0, 28232, [row(b"\xff" * length) for length in range(0, 1200, 7)])
        writer.write_batch(
            WLAN0,
            28232,
            [(TIME, key6("fe80::1"), group, 255, bytes(length)) for length in range(0, 1200, 7)],
        )
        writer.write(datagram(bytes(60_000), WLAN0))
        writer.drops(ETH0, 7)
        writer.close(TIME + 10**9)
    return path


def test_tshark_finds_every_checksum_right(path: Path) -> None:
    options = ("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-T", "fields")
    names = (
        "frame.interface_name",
        "ip.checksum.status",
        "udp.checksum.status",
        "udp.length",
        "ip.ttl",
        "ipv6.hlim",
        "_ws.malformed",
        "frame.time_epoch",
    )
    fields = [part for name in names for part in ("-e", name)]
    lines = run("tshark", "-r", path, *options, *fields).splitlines()
    time = "1700000000.123456789"
    lengths = range(0, 1200, 7)
    expected = [f"eth0\t1\t1\t{8 + length}\t64\t\t\t{time}" for length in lengths]
    expected += [f"wlan0\t\t1\t{8 + length}\t\t255\t\t{time}" for length in lengths]
    assert lines == [*expected, f"wlan0\t1\t1\t60008\t64\t\t\t{time}"]


def test_tshark_understands_every_block(path: Path) -> None:
    dump = run("tshark", "-r", path, "-X", "read_format:MIME Files Format", "-V")
    lines = [line.strip() for line in dump.splitlines()]
    assert "Expert Info" not in dump
    assert "Unknown" not in dump
    for line in (
        "Hardware: x86_64",
        "OS: Linux 6",
        "User Application: bcast 1",
        "Name: wlan0",
        "Option: Timestamp Resolution = 10^-9 (nanoseconds)",
        "Option: Number of Packets Dropped by OS = 7",
    ):
        assert line in lines, "\n".join(lines[-120:])
    assert lines.count("Block: Interface Statistics Block") == 2


def test_capinfos(path: Path) -> None:
    report = {
        name.strip(): value.strip()
        for name, separator, value in (
            line.replace("=", ":", 1).partition(":") for line in run("capinfos", path).splitlines()
        )
        if separator
    }
    assert report["File type"] == "Wireshark/... - pcapng"
    assert report["File encapsulation"] == "Raw IP"
    assert report["Number of interfaces in file"] == "2"
    assert report["Number of stat entries"] == "1"
    assert report["Capture application"] == "bcast 1"


@pytest.mark.parametrize("kind", ["pcapng", "pcap", "nsecpcap"])
def test_what_editcap_makes_of_it_is_read(path: Path, tmp_path: Path, kind: str) -> None:
    other = tmp_path / kind
    run("editcap", "-F", kind, path, other)
    with CaptureReader(path) as ours, CaptureReader(other) as theirs:
        expected = list(ours)
        got = list(theirs)
    assert len(got) == len(expected) == 345
    unit = 1000 if kind == "pcap" else 1
    for one, same in zip(got, expected, strict=True):
        assert one.payload == same.payload
        assert one.source.port == same.source.port
        assert one.ttl == same.ttl
        assert one.time_ns == same.time_ns // unit * unit
    if kind == "pcapng":
        assert [d.interface.name for d in got] == [d.interface.name for d in expected]
