"""Files of tokenizers that nobody meant."""
