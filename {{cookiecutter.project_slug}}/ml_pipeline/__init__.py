"""The product: the graph, its steps, and what serves the model."""
