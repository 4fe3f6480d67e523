"""Voice activity detectors under check: what they should be, and which mistake explains them."""
