"""How fast methods are and what memory they take: measured on made pictures, beside a bare pass of the image tower."""
