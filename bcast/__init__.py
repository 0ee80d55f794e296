"""UDP broadcast and multicast discovery, interface by interface.

Importing this package loads nothing else; its public names load when they are first used.
"""

from __future__ import annotations

__version__ = "0.1.0"
