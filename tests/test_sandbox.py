"""A plain sandbox: no capabilities, no IPv6, a read-only /sys, and nothing but lo that is up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcast.lab import Host
from tests.command import any_lab, environment
from tests.plugin import plugin_arguments

pytestmark = pytest.mark.kernel("a host with a loopback interface only")

#: Runs its arguments as a root without power: /sys is read-only, /proc is its own, no capability
#: is left or can be had again, and the network belongs to another user namespace.
_ENTER = """
mount -o remount,bind,ro /sys
mount -t proc proc /proc
exec unshare --user --map-root-user sh -ec '
echo 0 >/proc/sys/user/max_user_namespaces
exec setpriv --bounding-set=-all --inh-caps=-all "$@"' sh "$@"
"""

_UNSHARE = ("unshare", "--mount", "sh", "-ec", _ENTER, "sh")

#: What a kernel says that was built without IPv6, and what is true of the sandbox.
_NO_IPV6 = """
import errno, socket
class Socket(socket.socket):
    def __init__(self, family=-1, *args, **named):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        super().__init__(family, *args, **named)
socket.socket = Socket
"""

SUITE = Path(__file__).parent / "example" / "suite.py"

SIMULATED = """
import pytest

def test_simulated(bcast_sim):
    lamp = bcast_sim.accessory("lamp")
    bcast_sim.expect_device(lamp)

@pytest.mark.bcast(needs="lab")
def test_skipped(lan): ...
"""


class Sandbox:
    """A host that commands are run on as in a container that was given nothing."""

    def __init__(self, host: Host, folder: Path) -> None:
        self._host = host
        self._folder = folder

    def run(self, *args: str, ipv6: str = "off") -> subprocess.CompletedProcess[str]:
        paths = [str(self._folder), str(SUITE.parent), environment()["PYTHONPATH"]]
        custom = self._folder / "sitecustomize.py"
        custom.write_text("" if ipv6 == "off" else _NO_IPV6)
        return self._host.run(
            [*_UNSHARE, sys.executable, "-W", "error", *args],
            env={**environment(), "PYTHONPATH": os.pathsep.join(paths)},
            cwd=self._folder,
            timeout=60,
            check=False,
            capable=True,
        )


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with any_lab() as lab:
        host = lab.host("alone")
        host.set_sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        yield Sandbox(host, tmp_path)


def test_it_is_one(sandbox: Sandbox) -> None:
    program = """
import errno, os, socket
from pathlib import Path
for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW)):
    try:
        socket.socket(family, kind, socket.IPPROTO_ICMP)
    except PermissionError as error:
        print(errno.errorcode[error.errno])
try:
    open("/sys/class/net/lo/mtu", "w")
except OSError as error:
    print(errno.errorcode[error.errno])
print([name for _, name in socket.if_nameindex()], len(Path("/proc/net/if_inet6").read_text()))
"""
    done = sandbox.run("-c", program)
    assert (done.stdout, done.stderr) == ("EPERM\nEPERM\nEROFS\n['lo'] 0\n", "")


@pytest.mark.parametrize("ipv6", ["off", "not there"])
def test_programs_and_tests_run_there(sandbox: Sandbox, tmp_path: Path, ipv6: str) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE.read_text("utf-8"))
    (tmp_path / "test_sim.py").write_text(SIMULATED)
    plugins = [*plugin_arguments(), "-p", "no:cacheprovider", "-rs"]
    done = sandbox.run("-m", "pytest", *plugins, f"--basetemp={tmp_path / 'base'}", ipv6=ipv6)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed, 1 skipped" in done.stdout
    assert "no lab: " in done.stdout
    assert "user.max_user_namespaces is 0; as root, sysctl -w" in done.stdout


@pytest.mark.parametrize("ipv6", ["off", "not there"])
def test_commands_run_there(sandbox: Sandbox, ipv6: str) -> None:
    done = sandbox.run("-m", "bcast", "interfaces", ipv6=ipv6)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    assert "lo" in done.stdout
    done = sandbox.run("-m", "bcast", "discover", "-t", "0.1", ipv6=ipv6)
    assert (done.returncode, done.stderr.count("Traceback")) == (3, 0), done.stderr
    assert "no usable interface" in done.stderr
    done = sandbox.run("-m", "bcast", "discover", "-i", "lo", "-t", "0.1", ipv6=ipv6)
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 0), done.stderr
    done = sandbox.run("-m", "bcast", "send", "hello", "-i", "lo", ipv6=ipv6)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
