"""Where the wanted set comes from; each source states everything that it wants, every time."""
