//! The desk and the verbs of commands, on stores in memory.
