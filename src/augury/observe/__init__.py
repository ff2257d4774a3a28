"""What an operator sees of a running server: its numbers (``metrics``) and its log (``logs``).

Both are told by whoever does the work, and neither ever holds the content of a request: the metrics
know only names and counts, the log hides secrets and replaces texts by their length.
"""
