"""What may be set and in what range, how it is given, and how a command starts and ends.

May import: common. Start reading in `schema.py`; the values themselves stand in params.yaml and conf/.
"""
