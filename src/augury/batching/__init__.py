"""From rows that wait to batches that run.

``queue``, ``policies``, ``cost``, ``waiting_room``, ``merge`` and the deciding halves of ``budget`` and
``inline`` are pure; ``execution`` computes a batch; ``scheduler`` and ``watch`` know threads and the event
loop.
"""
