"""The engineer's loop: a clip and a prompt list become a page, marks on its crops become a better list."""
