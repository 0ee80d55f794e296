"""Other people's programs on a lab LAN: they find what bcast impersonates, and bcast finds them.

``python -m tests.interop [PROTOCOL...]``, or tox's environment `interop`. Each program that
searches (`clients/`, a small script each around a library or a command) gets a LAN of its own
with one accessory that `bcast impersonate` plays, and each that answers (`responders/`) one on
which `bcast discover` searches; several LANs side by side. A program that isn't installed is
skipped with what to install, and fails in continuous integration (CI is set).

The result is the table in docs/accessories.md, which this compares with what it saw.
"""
