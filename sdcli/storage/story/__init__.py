"""Write explanations as a page and as an image."""
