"""What bcast costs, as ratios against a reference that is measured in the same run.

``python -m tests.bench [NAME...]`` from the project's root (or ``tox run -e bench``) runs

- ``receive``: CPU time a datagram, against a C program (`receive`);
- ``send``: datagrams a second, against a C program (`send`);
- ``flood``: whether every datagram is either received or counted as dropped (`flood`);
- ``start``: start-up, against the bare interpreter and a trivial typer application (`start`);
- ``memory``: whether memory stays flat over very many datagrams (`memory`; takes a minute,
  therefore only when it is named);
- ``discovery``: how soon all peers of a LAN are found, with losses (`discovery`; takes minutes,
  therefore only when it is named);
- ``targets``: what the native protocol is to achieve, on a simulated LAN under made-up time
  (`targets`; takes ten minutes, therefore only when it is named; ``--only T3,T5``, ``--quick``);
- ``accessories``: microseconds to decode what foreign accessories say (`accessories`);
- ``sweep``: how soon one search finds an accessory of each protocol, on real sockets (`sweep`;
  takes a minute or two, therefore only when it is named);
- ``plugin``: what tests with the pytest plugin cost, and ``endurance``: whether its own tests
  pass 200 times on a busy machine (`plugin`; take minutes and hours, when they are named).

``accessories``, ``targets``, ``plugin`` and ``endurance`` need no compiler. ``sweep`` needs none
either, but Linux and namespaces of its own. The others need Linux, a C compiler and namespaces of
their own: all traffic stays in them. Contestants take turns (A B A B ...), what is printed are
medians with the smallest and largest sample, and nothing is asserted: a machine that is busy with
something else makes all of it slower, but the ratios less so.
"""
