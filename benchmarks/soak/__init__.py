"""The shipped model flies for long, with faults by schedule; what memory does meanwhile."""
