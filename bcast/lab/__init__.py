"""A LAN of the real kernel: hosts, bridges and cables on one Linux machine, without root.

::

    with Lab() as lab:                               # as an ordinary user
        lan = lab.segment(loss=0.1)
        phone, lamp = lab.host("phone"), lab.host("lamp")
        phone.connect(lan)                           # eth0, 10.9.1.1/24, fe80::...
        lamp.connect(lan)
        listener = lamp.start(["bcast", "listen"])
        listener.wait_for("listening")
        phone.run(["bcast", "send", "hello"])

What means the same is called the same as in `bcast.simnet`; here time is real, and so are the
sockets. A host is a network namespace, a segment is a bridge in a namespace of its own, a cable
is a veth pair. The file system and /sys are the machine's. So is /proc, except for /proc/net and
/proc/sys/net: a command finds itself there as /proc/self, not by what it takes for its id.

**Rootless** (the default) everything lives in a user namespace that the caller's own user owns.
Commands run as that user, without any capability over the network: in a user namespace below the
one that owns it. (Root's show up as uid 65534; they still own root's files, and may write
/proc/sys/net.) `Namespace.setup` runs with all capabilities. **Privileged**, there is no user
namespace, and commands run as root with root's capabilities.

**Nothing is left behind.** All processes live in a process namespace whose first process reads a
pipe that only the caller holds the other end of: when the lab is closed, or its process dies
(also of SIGKILL), that process ends and the kernel kills all others, daemons included. The
network namespaces have no other holder, no name in /run/netns and no mount.

Layer 4: only the values of layer 1 may be imported from outside this folder.
"""

from __future__ import annotations

from bcast.errors import LabError
from bcast.lab.host import Host, Link
from bcast.lab.lan import Lab, lab_unavailable
from bcast.lab.namespace import Namespace
from bcast.lab.running import Running
from bcast.lab.segment import Segment

__all__ = [
    "Host",
    "Lab",
    "LabError",
    "Link",
    "Namespace",
    "Running",
    "Segment",
    "lab_unavailable",
]
