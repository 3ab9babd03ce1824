"""What is flashed on a device: prompt lists, device files, messages, the model bundle, their checks.

This package imports nothing of the other packages and no heavy dependency: pyyaml and pydantic only.
"""
