"""What several packages use: errors for people, files written whole or not at all, hashes, chance, servers.

May import: nothing of ours. Start reading in `errors.py`.
"""
