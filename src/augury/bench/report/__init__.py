"""Results as a JSON document and as one HTML page with plots."""
