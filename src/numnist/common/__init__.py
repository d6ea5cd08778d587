"""What every package uses: errors that a person can mend, files that are whole or not there, progress.

May import no other package of ours. Start reading in `errors.py`.
"""
