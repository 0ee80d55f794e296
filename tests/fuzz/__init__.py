"""What must hold for any bytes, and the searches for bytes for which it doesn't.

``python -m tests.fuzz decode --seconds 60 --corpus DIR`` searches guided by coverage, with atheris
(which isn't among the dependencies: ``pip install atheris``). What it found worth keeping is in
``decode.txt``, a datagram a line in hex, and is tried again in every run of the tests.
"""

from __future__ import annotations

__all__: list[str] = []
