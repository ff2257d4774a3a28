"""From rows that wait to batches that run.

``queue`` decides and is pure; ``merge`` joins and splits tensors; ``scheduler`` is the one file
here that knows threads and the event loop.
"""
