"""The subcommands of `remoteclip`: options in, one call into the package, results out."""
