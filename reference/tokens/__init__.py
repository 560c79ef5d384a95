"""Small tokenizers, and what transformers makes of texts with them."""
