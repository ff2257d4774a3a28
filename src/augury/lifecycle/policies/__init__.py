"""Which action comes next: pure functions from snapshots to one action."""
