"""The report: one self-contained page with figures.

May import: common, config, tracking, training. Start reading in `html_page.py`; `charts.py` draws what it shows.
"""
