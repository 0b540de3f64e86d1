//! What one browser is told: several things at once, each at its own pace, none of them kept waiting by another.
//!
//! Owns the streams and whose turn it is. A stream is asked for its next messages only when the browser has taken those before, so nothing
//! piles up here: whoever is slow misses something, and each stream says what.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;

use super::request::SubscriptionId;

/// The most subscriptions of one browser.
pub const SUBSCRIPTIONS_MAX: usize = 16;

/// Messages, some at a time; each is a JSON object with the subscription's id.
pub type Messages = Pin<Box<dyn Stream<Item = Vec<String>> + Send>>;

/// A subscription can't be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The id is another's.
    #[error("there was a subscription with this id already, and it has ended")]
    Taken,
    /// There are as many as can be.
    #[error("a browser has at most {SUBSCRIPTIONS_MAX} subscriptions")]
    Full,
}

/// The subscriptions of one browser.
#[derive(Default)]
pub struct Subscriptions {
    open: Vec<(SubscriptionId, Messages)>,
    /// Who was asked last.
    turn: usize,
}

impl Subscriptions {
    /// Whether there is room for one with this id.
    pub fn room_for(&self, id: SubscriptionId) -> Result<(), NoRoom> {
        if self.open.iter().any(|(open, _)| *open == id) {
            return Err(NoRoom::Taken);
        }
        if self.open.len() < SUBSCRIPTIONS_MAX { Ok(()) } else { Err(NoRoom::Full) }
    }

    /// Takes one for which there is room.
    pub fn open(&mut self, id: SubscriptionId, messages: Messages) {
        self.open.push((id, messages));
    }

    /// Lets go of one; says whether it was there.
    pub fn close(&mut self, id: SubscriptionId) -> bool {
        let before = self.open.len();
        self.open.retain(|(open, _)| *open != id);
        self.open.len() < before
    }

    /// The next messages of any. One that has come to its end is let go of. Waits for ever when there is none; loses nothing when it is
    /// dropped while it waits.
    pub async fn next(&mut self) -> Vec<String> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Vec<String>> {
        let mut asked = 0;
        while asked < self.open.len() {
            self.turn = (self.turn + 1) % self.open.len();
            asked += 1;
            match self.open[self.turn].1.as_mut().poll_next(context) {
                Poll::Ready(Some(messages)) => return Poll::Ready(messages),
                Poll::Ready(None) => {
                    drop(self.open.remove(self.turn));
                    // The next one has moved to this place; all are asked once more, which no rule of streams forbids.
                    (self.turn, asked) = (self.turn.saturating_sub(1), 0);
                }
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _, stream};

    use super::*;

    fn endless(text: &'static str) -> Messages {
        stream::repeat_with(move || vec![text.to_owned()]).boxed()
    }

    #[test]
    fn everybody_has_a_turn_and_who_is_done_goes() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.open(1, endless("a"));
        subscriptions.open(2, stream::iter([vec!["once".to_owned()]]).boxed());
        subscriptions.open(3, stream::pending().boxed());
        subscriptions.open(4, endless("b"));
        let heard: Vec<String> = (0..8).flat_map(|_| subscriptions.next().now_or_never().unwrap()).collect();
        assert_eq!(heard.iter().filter(|text| *text == "once").count(), 1);
        assert!(["a", "b"].iter().all(|wanted| heard.iter().filter(|text| text == wanted).count() >= 3), "{heard:?}");
        assert_eq!((subscriptions.room_for(2), subscriptions.room_for(1)), (Ok(()), Err(NoRoom::Taken)));
        assert!(subscriptions.close(1) && subscriptions.close(4) && !subscriptions.close(4));
        assert_eq!(subscriptions.next().now_or_never(), None);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut subscriptions = Subscriptions::default();
        (0..16).for_each(|id| subscriptions.open(id, stream::pending().boxed()));
        assert_eq!(subscriptions.room_for(99), Err(NoRoom::Full));
        subscriptions.close(7);
        assert_eq!(subscriptions.room_for(99), Ok(()));
    }
}
