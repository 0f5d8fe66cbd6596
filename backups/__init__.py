"""Tables to compressed Avro in the lake, and back."""
