"""The files of a hub: the only package that writes them."""
