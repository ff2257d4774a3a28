"""Our own dialect: rows of plain JSON in, rows of plain JSON out; errors by RFC 9457."""
