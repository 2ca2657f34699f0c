"""One file a box of the graph, one plain function a file."""
