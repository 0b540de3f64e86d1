//! The rules that turn one identity into the next.
