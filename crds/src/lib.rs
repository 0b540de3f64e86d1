//! The kinds of mooring.dev, and the pure plan that turns a Device manifest into a change of an identity.
