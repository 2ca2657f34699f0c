"""Commands for environments in the cloud, and for what is deployed there."""
