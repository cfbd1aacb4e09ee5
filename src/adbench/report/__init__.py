"""Renderings of result rows: results.json, .csv, .md, console tables, heat maps, one HTML page."""
