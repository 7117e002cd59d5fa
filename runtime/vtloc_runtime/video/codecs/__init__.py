"""What is read from a stream's bits: where decoding may begin, AV1's headers."""
