//! A message's form on disk.
