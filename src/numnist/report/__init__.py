"""The report: one self-contained page with figures.

May import: common, config, data, evaluation, network, tracking, training.
Start reading in `html_page.py`; `charts.py` draws what it shows.
"""
