"""What is logged, at which level, and that nobody pays for it who doesn't log."""

from __future__ import annotations

import errno
import logging
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest

import bcast
from bcast.datagram import InterfaceFlag
from bcast.domain import Domain
from bcast.driver import Driver
from bcast.log import DEBUG, INFO, WARNING, is_wanted, log
from bcast.machine import Received
from tests.command import environment, free_port
from tests.echo import Echo, everybody
from tests.loopback import Watcher, loopback

if sys.platform != "linux":
    pytest.skip("the loopback interface is used as Linux has it", allow_module_level=True)

Logged = list[tuple[str, int, str]]


@pytest.fixture
def port() -> int:
    return free_port()


def logged(caplog: pytest.LogCaptureFixture) -> Logged:
    """What was logged since the last call."""
    found = list(caplog.record_tuples)
    caplog.clear()
    return found


def test_what_is_logged_goes_to_the_loggers_of_bcast(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(INFO, "bcast.test")
    log("test", INFO, "%s of %d%%", "loss", 3)
    log("test", DEBUG, "not seen")
    assert caplog.records[0].filename == "test_log.py"
    assert logged(caplog) == [("bcast.test", INFO, "loss of 3%")]
    assert (is_wanted("test", INFO), is_wanted("test", DEBUG)) == (True, False)
    assert (DEBUG, INFO, WARNING) == (logging.DEBUG, logging.INFO, logging.WARNING)


@pytest.mark.parametrize(
    ("imports", "said"),
    [
        ("", "False"),  # nobody could have said where to
        ("import logging", "True"),  # a library doesn't write to stderr by itself
    ],
)
def test_nobody_pays_who_does_not_log(imports: str, said: str, port: int) -> None:
    program = f"""
import sys
{imports}
import bcast
from bcast.log import WARNING, log
log("driver", WARNING, "lost")
bcast.discover(interfaces="lo", port={port}, timeout=0.01)
with bcast.Receiver("lo", port={port}), bcast.Sender("lo") as sender:
    sender.send(b"x", port={port})
print("logging" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": "", **environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{said}\n", "")


def test_what_a_driver_opens_and_skips(port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(DEBUG, "bcast")
    lo = loopback("127.0.0.1")
    down = replace(lo, name="eth7\x1b", index=77, flags=InterfaceFlag.BROADCAST)
    here = partial(tuple, (lo, down))
    with bcast.Browser(interfaces="all", exclude="eth*", port=port, list_interfaces=here):
        pass
    found = logged(caplog)
    assert ("bcast.driver", INFO, "lo is ready") in found
    assert ("bcast.driver", DEBUG, r"skipped 'eth7\x1b': excluded") in found
    [(_, level, said)] = [one for one in found if "closed" in one[2]]
    assert level == DEBUG
    assert "sent=" in said
    with bcast.Receiver("lo", port=port):
        assert ("bcast.receiver", INFO, "lo is ready") in logged(caplog)


def test_interfaces_that_come_and_go(
    port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bcast.driver.InterfaceWatcher", Watcher)
    caplog.set_level(INFO, "bcast")
    lo = loopback()
    domain = Domain(port=port)
    with Driver(Echo(), port=port, groups=domain.groups, interfaces="lo") as driver:
        logged(caplog)
        Watcher.made[-1].tell(replace(lo, flags=InterfaceFlag.LOOPBACK))
        driver.wait(1.0)
        assert logged(caplog) == [("bcast.driver", INFO, "lo went down")]


def test_what_is_rejected_and_what_was_lost(port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(DEBUG, "bcast")
    with bcast.Browser(interfaces="lo", port=port) as browser, bcast.Sender("lo") as sender:
        sender.send(b"what?", to="224.0.0.1", port=port)
        sender.send(b"what?", to="127.0.0.1", port=port)
        browser.next_event(0.1)
    assert ("bcast.driver", DEBUG, "lo: 1 rejected (too-short)") in logged(caplog)


def test_a_full_buffer_is_one_warning(port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(DEBUG, "bcast")
    with Driver(Echo(), port=port, groups=Domain().groups, interfaces="lo") as driver:
        logged(caplog)
        for _ in range(2):
            driver._stations[0]._receive_aloud(Received(loopback(), [], 3), 0.0)
    full = "lo: the receive buffer was full: 3 lost"
    found = [one for one in logged(caplog) if "full" in one[2]]
    assert found == [("bcast.driver", WARNING, full), ("bcast.driver", DEBUG, full)]


def test_what_can_not_be_sent(
    port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(INFO, "bcast")
    machine = Echo()
    broken = True

    def transmit(*_: object) -> int:
        if broken:
            raise OSError(errno.EPERM, "no")
        return 1

    monkeypatch.setattr("bcast.attachments.send_plainly", transmit)
    with Driver(machine, port=port, groups=Domain().groups, interfaces="lo", family=4) as driver:
        logged(caplog)
        for _ in range(2):
            machine.say(b"1", everybody(port))
            driver.flush(0.0)
        [(name, level, said)] = logged(caplog)
        assert (name, level) == ("bcast.driver", WARNING)
        assert said.startswith("lo: ")
        broken = False
        machine.say(b"1", everybody(port))
        driver.flush(0.0)
        assert logged(caplog) == [("bcast.driver", INFO, "lo: IPv4 can be sent again")]
