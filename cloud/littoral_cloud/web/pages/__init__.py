"""The pages, one file a subject: each calls use cases and renders what they give."""
