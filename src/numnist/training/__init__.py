"""The sweep: the loop that trains a stack of networks, its checkpoints, and who trains which stack.

May import: common, config, data, exact, network, tracking.
Start reading in `loop.py`; `scheduling.py` says what trains together, `checkpoints.py` what is kept.
"""
