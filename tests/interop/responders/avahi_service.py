"""``FOLDER NAME TYPE PORT``: Avahi, with a /run of its own, publishes a service.

The daemon insists on a folder in /run, on a user of its own that owns it, and on a system bus. It
gets them in a mount namespace, where that user is the caller's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

_HIDE = """
mount -t tmpfs none /run
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
mkdir /run/dbus
shift
exec "$@"
"""
_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""
_AVAHI = """[server]
host-name=avahi-device
use-ipv6=no
allow-interfaces=eth0
[publish]
publish-workstation=no
"""

folder, name, kind, port = sys.argv[1:]
if "INSIDE" not in os.environ:
    Path(folder, "passwd").write_text("root:x:0:0::/:/bin/sh\navahi:x:0:0::/:/bin/sh\n")
    Path(folder, "group").write_text("root:x:0:\navahi:x:0:\n")
    Path(folder, "bus.conf").write_text(_BUS)
    Path(folder, "avahi.conf").write_text(_AVAHI)
    enter = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", _HIDE, "sh", folder]
    again = [*enter, sys.executable, "-P", __file__, *sys.argv[1:]]
    os.execvpe("unshare", again, {**os.environ, "INSIDE": "1"})
bus = ["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork", "--nopidfile"]
daemon = ["avahi-daemon", f"--file={folder}/avahi.conf", "--no-drop-root", "--no-chroot"]
publish = ["avahi-publish", "--no-fail", "--service", name, kind, port, "fw=1.4"]
with subprocess.Popen(bus):
    while not os.path.exists("/run/dbus/system_bus_socket"):
        time.sleep(0.02)
    with (
        subprocess.Popen([*daemon, "--no-rlimits"]),
        subprocess.Popen(publish, stderr=subprocess.PIPE, text=True) as publisher,
    ):
        assert publisher.stderr is not None
        for line in publisher.stderr:
            print("ready" if line.startswith("Established") else line.strip(), flush=True)
