"""What must hold for any bytes, and the searches for bytes for which it doesn't.

``python -m tests.fuzz decode --seconds 60 --corpus DIR`` searches guided by coverage, with atheris
(which isn't among the dependencies: ``pip install atheris``). With ``--keep`` the fewest datagrams
that reach all the code that DIR reaches are kept in ``decode.txt``, one a line in hex, and are
tried again in every run of the tests. What makes a target fail is left as ``crash-...``: add it.
"""

from __future__ import annotations

__all__: list[str] = []
