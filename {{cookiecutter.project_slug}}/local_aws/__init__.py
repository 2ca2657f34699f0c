"""A laptop-sized AWS on loopback: `python -m local_aws --port 4566 --state DIR`.

These files are the template's: `cruft update` replaces them, so change nothing. The product, ml_pipeline,
never imports them, knows this AWS from the real one by its address alone, and is shipped without them.
"""
