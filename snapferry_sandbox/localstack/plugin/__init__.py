"""What LocalStack does otherwise here; imported by LocalStack's process alone.

LocalStack finds its plugins by entry points, so those of this package are described in
`entry_points/`, a folder on the PYTHONPATH of LocalStack's process.
"""
