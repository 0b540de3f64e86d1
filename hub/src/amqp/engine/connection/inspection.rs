//! What tests look at, and set, from outside.

use super::super::output::Output;
use super::Connection;

impl Connection {
    /// Where the hub's own numbers begin in sessions that are still to come.
    pub fn start_numbers_at(&mut self, first: u32) {
        self.first_id = first;
    }

    /// Closes a session's window without a word to the peer.
    pub fn close_window(&mut self, channel: u16) {
        let (session, _) = self.session(channel).expect("the session is there");
        session.close_window();
    }

    /// What the connection holds beside its own size.
    pub fn heap_bytes(&self) -> usize {
        let events = self.events.capacity() * size_of::<super::Event>();
        let sessions: usize = self.sessions.iter().map(|(_, session)| session.heap_bytes()).sum();
        events + self.sessions.heap_bytes() + sessions + Output::heap_bytes(&self.output)
    }
}
