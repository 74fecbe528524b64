"""Tables: every name that users type for schedulers, and what is known of models. No torch."""
