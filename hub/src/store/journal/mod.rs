//! The event log on this machine.
