"""A trained network at work: from a picture to its digit, on the command line and as a server.

May import: common, network, tracking. Start reading in `digit_images.py`; `model_server.py` answers over HTTP.
"""
