"""What the step Monitor does: reads scored rows in blocks, joins labels, measures, publishes and tells."""
