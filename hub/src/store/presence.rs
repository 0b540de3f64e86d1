//! Who is connected, in this process.
