"""A coordinator and a node on one machine, for `littoral-cloud up`."""
