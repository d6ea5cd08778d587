"""What several packages use: errors for people, files written whole, hashes, chance, servers, files of DVC.

May import: nothing of ours. Start reading in `errors.py`.
"""
