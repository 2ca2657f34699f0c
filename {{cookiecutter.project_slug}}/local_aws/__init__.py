"""A laptop-sized AWS on loopback: `python -m local_aws --port 4566 --state DIR`."""
