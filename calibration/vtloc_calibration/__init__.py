"""Make a bundle smaller and honest about its confidence: samples, INT8, sensitivity, scores."""
