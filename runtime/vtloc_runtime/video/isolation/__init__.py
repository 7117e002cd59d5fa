"""Decoding in a sandboxed child process: parent, child and messages."""
