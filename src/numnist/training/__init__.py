"""The sweep: the loop that trains a stack of networks, its checkpoints, and who trains which stack.

May import: common, config, data, network, tracking.
Start reading in `loop.py`; `scheduling.py` cuts a sweep into stacks.
"""
