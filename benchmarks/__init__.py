"""Speed, measured side by side in one run; each module is a command.  Results go to ``results/``."""
