"""How far later data lie from the training data, and how far they may by chance: numpy alone, no AWS."""
