"""Results made again and compared: a whole pipeline with its dvc.lock, one trial with its run; and a doctor.

May import: common, config, data, tracking, training. Start reading in `verify.py`.
"""
