"""
A deterministic simulation: the shipped client and ledger through faults, kills and restarts.

    python -m tests.simulation --seeds 0-9999

A seed draws a `plan`; a `world` runs it on a virtual clock, process after process (`life`), through
a `network` that loses and delays and a `disk` that stalls, fills up and crashes, before a `gateway`
that knows the truth. What happened is a `history`; `invariants` judges it. The same seed gives the
same history, bit by bit, so a seed that fails is a reproduction.

Here: the world around the client. The client is the shipped code; only its ports are exchanged.
"""
