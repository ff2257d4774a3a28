"""What came of the load: histograms, counts by kind, and what the server's processes used."""
