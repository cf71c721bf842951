"""`littoral-node infer` and `watch`: files in, words out, for people without a client. None of it is imported by `run`."""
