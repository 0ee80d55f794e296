"""Which programs are held against bcast, as what, and what each has to find."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from itertools import chain
from types import MappingProxyType
from typing import Any, NamedTuple

__all__ = ["ALL", "CASES", "Case", "Client", "Listener", "Program", "Responder"]

#: Debian has daemons where an ordinary user's PATH doesn't lead.
_SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")
_NOTHING: Mapping[str, Any] = MappingProxyType({})

#: Instead of a protocol: a search by all of them, which has to make one device of the host.
ALL = "all"

_UUID = "6a1f2c9e-0b5d-4e6f-8a3c-1d2e3f405162"


class Program(NamedTuple):
    """An implementation that isn't bcast's: a Python package, a ``command`` of Debian's, or
    several others (``parts``).
    """

    name: str
    package: str
    command: str = ""
    parts: tuple[Program, ...] = ()

    def version(self) -> str | None:
        """The version that is installed, None if none is; "-" of several that are all there."""
        if self.parts:
            return None if any(part.version() is None for part in self.parts) else "-"
        return _version(self.package, self.command)

    def where(self) -> str:
        """What to install to have it."""
        if self.parts:
            return ", ".join(part.where() for part in self.parts if part.version() is None)
        return f"Debian's {self.package}" if self.command else f"{self.package} by pip"


class Client(NamedTuple):
    """A program that has to find ``expected``, when bcast impersonates with these settings.

    In all texts but names, ``{address}``, ``{mac}`` and ``{interface}`` (with prefix length) stand
    for the accessory's, ``{searcher}`` for the searcher's interface, ``{folder}`` for a folder of
    the case's own, in which ``files`` are.
    """

    protocol: str
    program: Program
    script: str
    expected: Mapping[str, Any]
    settings: Mapping[str, str] = _NOTHING
    arguments: tuple[str, ...] = ()
    #: How long it searches.
    seconds: float = 3.0
    files: Mapping[str, str] = _NOTHING


class Listener(NamedTuple):
    """A program that has to hear the device of that id come and go, unasked."""

    protocol: str
    program: Program
    script: str
    id: str
    settings: Mapping[str, str] = _NOTHING
    files: Mapping[str, str] = _NOTHING


class Responder(NamedTuple):
    """A program that `bcast discover` has to find, as ``expected``; texts as with `Client`.

    If ``asked``, it has to answer a probe; what it says unasked isn't enough.
    """

    protocol: str
    program: Program
    script: str
    expected: Mapping[str, Any]
    arguments: tuple[str, ...] = ()
    asked: bool = True
    #: How long bcast searches.
    seconds: float = 3.0
    files: Mapping[str, str] = _NOTHING


Case = Client | Listener | Responder


@cache
def _version(package: str, command: str) -> str | None:
    if not command:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return None
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS])
    query = shutil.which("dpkg-query")
    if shutil.which(command, path=path) is None or query is None:
        return None
    asked = [query, "--show", "--showformat", "${source:Upstream-Version}", package]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    # What Debian changed in it stands behind.
    found = re.match(r"\d+(\.\d+)*", told)
    return found[0] if found else None


_LIBCOAP = "libcoap3-bin"
_OLA = Program("OLA", "ola", "olad")
_AIOCOAP = Program("aiocoap", "aiocoap")
_AVAHI = Program("Avahi", "avahi-daemon", "avahi-daemon")
_BACPYPES = Program("bacpypes3", "bacpypes3")
_PYRE = Program("pyre", "zeromq-pyre")
_SSDPY = Program("ssdpy", "ssdpy")
_WSDISCOVERY = Program("WSDiscovery", "WSDiscovery")
_ZEROCONF = Program("zeroconf", "zeroconf")

_UPNP = {"id": _UUID, "location": "http://{address}:8080/device.xml"}
_KASA = {"id": "8006E3A2", "name": "Desk lamp", "model": "HS110(EU)"}
_ONVIF = "http://www.onvif.org/ver10/network/wsdl"
_MINIDLNA = """\
network_interface=eth0
port=8200
db_dir={folder}
log_dir={folder}
media_dir={folder}
friendly_name=Media
uuid=%s
inotify=no
notify_interval=60
"""
#: All else that it knows is kept from looking for hardware.
_OLA_OTHERS = (
    *("dummy", "e131", "espnet", "ftdidmx", "gpio", "karate", "kinet", "milinst", "opendmx"),
    *("openpixelcontrol", "osc", "pathport", "renard", "sandnet", "shownet", "spi", "stageprofi"),
    *("uartdmx", "usbdmx", "usbserial"),
)
_OLA_FILES = {
    **{f"ola-{name}.conf": "enabled = false\n" for name in _OLA_OTHERS},
    "ola-artnet.conf": "enabled = true\nip = eth0\nshort_name = OLA\nlong_name = OLA\n",
}

_CLIENTS = (
    Client(
        "ssdp",
        Program("async-upnp-client", "async-upnp-client"),
        "upnp_search",
        {**_UPNP, "target": "upnp:rootdevice", "address": "{address}"},
        _UPNP,
    ),
    Client(
        "ssdp",
        Program("gssdp-discover", "gupnp-tools", "gssdp-discover"),
        "gssdp_discover",
        {**_UPNP, "target": "upnp:rootdevice"},
        _UPNP,
    ),
    Client("ssdp", _SSDPY, "ssdpy_search", {**_UPNP, "target": "upnp:rootdevice"}, _UPNP),
    Client(
        "wsd",
        _WSDISCOVERY,
        "wsdiscovery_search",
        {
            "id": _UUID,
            "scopes": ["onvif://www.onvif.org/name/Camera"],
            "xaddrs": ["http://{address}/onvif/device_service"],
        },
        {
            "id": _UUID,
            "scopes": "onvif://www.onvif.org/name/Camera",
            "xaddrs": "http://{address}/onvif/device_service",
        },
    ),
    Client(
        "coap",
        Program("coap-client", _LIBCOAP, "coap-client-notls"),
        "libcoap_get",
        {"links": "</lamp>;rt=light"},
        {"links": "</lamp>;rt=light"},
    ),
    Client(
        "coap",
        _AIOCOAP,
        "aiocoap_get",
        {"links": "</lamp>;rt=light", "address": "{address}"},
        {"links": "</lamp>;rt=light"},
    ),
    Client(
        "knx",
        Program("xknx", "xknx"),
        "knx_scan",
        {"id": "{mac}", "name": "Gateway", "address": "{address}", "port": 3671},
        {"name": "Gateway"},
    ),
    Client(
        "bacnet",
        _BACPYPES,
        "bacnet_who_is",
        {"id": 77, "vendor": 15, "address": "{address}", "outside_limits": 0},
        {"id": "77", "vendor": "15"},
        ("{searcher}",),
    ),
    Client(
        "artnet",
        _OLA,
        "ola_poll",
        {"address": "{address}"},
        arguments=("{folder}",),
        seconds=12.0,  # it polls every 8 s
        files=_OLA_FILES,
    ),
    Client(
        "kasa",
        Program("python-kasa", "python-kasa"),
        "kasa_discover",
        {**_KASA, "built": "HS110", "address": "{address}", "asked": 9999},
        _KASA,
    ),
    Client(
        "tapo",
        Program("python-kasa", "python-kasa"),
        "kasa_discover",
        {"id": "8006E3A2", "address": "{address}", "built": "P100", "asked": 20002},
        {"id": "8006E3A2", "model": "P100(EU)"},
        ("tapo",),
    ),
    Client(
        "lifx",
        Program("aiolifx", "aiolifx"),
        "lifx_discover",
        {"id": "{mac}", "name": "Ceiling", "address": "{address}", "port": 56700, "product": 31},
        {"name": "Ceiling", "product": "31"},
    ),
    Client(
        "wiz",
        Program("pywizlight", "pywizlight"),
        "wiz_discover",
        {"id": "a8bb50d46a1c", "address": "{address}"},
        {"id": "a8:bb:50:d4:6a:1c"},
    ),
    Client(
        "yeelight",
        Program("yeelight", "yeelight"),
        "yeelight_discover",
        {
            "id": "0x000000000015243f",
            "name": "Shelf",
            "model": "mono",
            "address": "{address}",
            "port": 55443,
        },
        {"id": "0x000000000015243f", "name": "Shelf", "model": "mono"},
    ),
    Client(
        "govee",
        Program("govee-local-api", "govee-local-api"),
        "govee_discover",
        {"id": "1F:80:C5:32:32:36:72:4E", "model": "H618A", "address": "{address}"},
        {"id": "1F:80:C5:32:32:36:72:4E", "model": "H618A"},
    ),
    Client(
        "tuya",
        Program("tinytuya", "tinytuya"),
        "tuya_scan",
        {"id": "bf5e3c1a2b", "product": "keyd3m4e", "version": "3.3", "address": "{address}"},
        {"id": "bf5e3c1a2b", "product": "keyd3m4e"},
        seconds=8.0,
    ),
    Client(
        "flux_led",
        Program("flux_led", "flux_led"),
        "flux_scan",
        {
            "id": "ACCF232E5124",
            "model": "AK001-ZJ2145",
            "version": 0x20,
            "remote_host": "lamps.example",
            "address": "{address}",
        },
        {
            "id": "ac:cf:23:2e:51:24",
            "model": "AK001-ZJ2145",
            "firmware": "33_20_20200428_ZG-LX",
            "cloud": "lamps.example",
        },
    ),
    Client(
        "zre",
        _PYRE,
        "pyre_peers",
        {"id": _UUID, "address": "{address}", "port": 49152},
        {"id": _UUID, "port": "49152"},
    ),
)

_LISTENERS = (
    Listener(
        "ssdp",
        Program("async-upnp-client (presence)", "async-upnp-client"),
        "upnp_listen",
        _UUID,
        _UPNP,
    ),
    Listener(
        "wsd",
        Program("WSDiscovery (presence)", "WSDiscovery"),
        "wsdiscovery_listen",
        _UUID,
        {"id": _UUID},
    ),
    Listener(
        "zre",
        Program("pyre (presence)", "zeromq-pyre"),
        "pyre_listen",
        _UUID,
        {"id": _UUID, "port": "49152"},
    ),
)

_RESPONDERS = (
    Responder(
        "ssdp",
        Program("MiniDLNA", "minidlna", "minidlnad"),
        "daemon",
        {"id": _UUID, "attributes": {"location": "http://{address}:8200/rootDesc.xml"}},
        ("1900", "minidlnad", "-S", "-f", "{folder}/conf", "-P", "{folder}/pid"),
        files={"conf": _MINIDLNA % _UUID},
    ),
    Responder(
        "ssdp",
        _SSDPY,
        "ssdpy_server",
        {"id": _UUID, "attributes": {"location": "http://{address}:8000/device.xml"}},
        (_UUID, "{address}"),
        asked=False,  # it answers with what others announce
    ),
    Responder(
        "wsd",
        _WSDISCOVERY,
        "wsdiscovery_publish",
        {"id": _UUID, "attributes": {"scopes": "onvif://www.onvif.org/name/Camera"}},
        (_UUID, "{address}"),
    ),
    Responder(
        "wsd",
        Program("wsdd2", "wsdd2", "wsdd2"),
        "daemon",
        {},
        ("3702", "wsdd2", "-i", "eth0", "-4", "-u", "-w", "-N", "bcast", "-G", "lab"),
    ),
    Responder(
        "coap",
        Program("coap-server", _LIBCOAP, "coap-server-notls"),
        "daemon",
        {},
        ("5683", "coap-server-notls", "-g", "224.0.1.187"),
        seconds=6.0,  # it waits for up to 5 s
    ),
    Responder("coap", _AIOCOAP, "aiocoap_server", {}),
    Responder(
        "knx",
        Program("knxd", "knxd", "knxd"),
        "daemon",
        {"id": "{mac}", "name": "bcast-knxd", "port": 3671},
        ("3671", "sh", "-c", "exec knxd -n bcast-knxd -e 1.1.250 -E 1.1.251:4 -DTRS -b dummy:"),
    ),
    Responder("bacnet", _BACPYPES, "bacpypes3_device", {"id": "88"}, ("88", "{interface}")),
    Responder(
        "artnet",
        Program("python_artnet", "python_artnet"),
        "artnet_node",
        {"id": "{mac}", "name": "Dimmer"},
        ("{address}", "{mac}"),
    ),
    Responder(
        "artnet",
        _OLA,
        "daemon",
        {"id": "{mac}", "name": "OLA"},
        ("6454", "olad", "--config-dir", "{folder}", "--no-http", "--no-register-with-dns-sd"),
        files=_OLA_FILES,
    ),
    Responder("zre", _PYRE, "pyre_node", {}, asked=False),
    Responder(
        "mdns",
        _ZEROCONF,
        "zeroconf_service",
        {"name": "Printer", "type": "_ipp._tcp", "port": 631},
        ("Printer", "_ipp._tcp.local.", "{address}", "631"),
    ),
    Responder(
        "mdns",
        _AVAHI,
        "avahi_service",
        {"name": "Printer", "type": "_ipp._tcp", "port": 631},
        ("{folder}", "Printer", "_ipp._tcp", "631"),
    ),
)

#: Programs of different protocols, which a host can run together.
_TOGETHER = tuple(
    each
    for each in _RESPONDERS
    if each.program.name
    in ("MiniDLNA", "wsdd2", "coap-server", "knxd", "bacpypes3", "python_artnet", "pyre")
)
_ONE_HOST = Responder(
    ALL,
    Program(
        f"{', '.join(each.program.name for each in _TOGETHER)} on one host",
        "",
        parts=tuple(each.program for each in _TOGETHER),
    ),
    "several",
    {"protocols": [each.protocol for each in _TOGETHER]},
    tuple(chain.from_iterable(("--", each.script, *each.arguments) for each in _TOGETHER))[1:],
    seconds=6.0,
    files=dict(chain.from_iterable(each.files.items() for each in _TOGETHER)),
)

CASES: tuple[Case, ...] = (*_CLIENTS, *_LISTENERS, *_RESPONDERS, _ONE_HOST)
