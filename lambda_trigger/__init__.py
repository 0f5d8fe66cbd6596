"""The AWS Lambda that tells the console of new objects; imports nothing of the console."""
