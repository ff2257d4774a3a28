"""``augury tune``: which instances, threads and batch sizes suit a model on this machine.

``plan`` (what is tried, and what is chosen) and ``chart`` are pure; ``sample`` reads the rows, ``trial``
measures one layout, ``sweep`` all of them within a budget, and ``edit`` changes ``model.toml``.
"""
