"""The pages of docs/reference/, one module each: `page()` returns the page's text from the code."""
