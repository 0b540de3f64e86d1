//! Deliveries on their way from the machine to whoever takes them, with their contents.
//!
//! Contents are read before anything is counted, and handed out once it is durable.

use std::collections::HashMap;

use bytes::Bytes;

use super::Desk;
use crate::core::command::turn::{Handout, PollId, Recipient};
use crate::core::command::{CommandId, Delivery};
use crate::ops::commands::request::{Note, Request, Unsent};
use crate::store::commands::CommandsError;

/// Deliveries that are ready to leave.
pub(super) struct Ready {
    /// Each with its content, unless that can't be read.
    handouts: Vec<(Handout, Option<Bytes>)>,
    /// Polls whose delivery the same group has taken back.
    in_vain: Vec<PollId>,
}

impl Desk<'_> {
    /// Finds the contents of what is to be handed out. An error says that the store does not answer at all.
    pub(super) async fn make_ready(&mut self, handouts: Vec<Handout>) -> Result<Ready, CommandsError> {
        // The same group may have ended what it had handed out before.
        let is_held = |handout: &Handout| self.hub.commands.machine().is_locked(&handout.command.device_id, handout.token);
        let (held, stale): (Vec<Handout>, Vec<Handout>) = handouts.into_iter().partition(is_held);
        let missing = held.iter().map(|handout| handout.command.id).filter(|id| self.contents.get(*id).is_none());
        let missing: Vec<CommandId> = missing.collect();
        let read = self.read_contents(&missing).await?;
        let with_content = |handout: Handout| {
            let id = handout.command.id;
            let content = read.get(&id).cloned().or_else(|| self.contents.get(id));
            (handout, content)
        };
        let handouts = held.into_iter().map(with_content).collect();
        let polls = stale.into_iter().filter_map(|handout| match handout.to {
            Recipient::Poll(poll) => Some(poll),
            Recipient::Connection(_) => None,
        });
        Ok(Ready { handouts, in_vain: polls.collect() })
    }

    /// Those that can be read. One that can't be does not keep the others from their devices.
    async fn read_contents(&self, missing: &[CommandId]) -> Result<HashMap<CommandId, Bytes>, CommandsError> {
        let store = &self.hub.command_store;
        if missing.is_empty() {
            return Ok(HashMap::new());
        }
        if let Ok(read) = store.contents(missing).await {
            return Ok(read.into_iter().collect());
        }
        let mut contents = HashMap::new();
        for id in missing {
            match store.contents(&[*id]).await {
                Ok(read) => contents.extend(read),
                Err(error) => {
                    // A store that can't even say what it knows of the command is not to blame on the command.
                    store.command(*id).await?;
                    tracing::error!(command = %id, %error, "the content of command {id} can't be read: {error}");
                }
            }
        }
        Ok(contents)
    }

    /// Now that it counts.
    pub(super) fn hand_out(&mut self, ready: Ready) {
        for poll in ready.in_vain {
            self.end_poll(poll);
        }
        for (handout, content) in ready.handouts {
            match content {
                Some(content) => self.deliver(handout, content),
                None => self.give_up(&handout),
            }
        }
    }

    /// To the connection or the poll that it is for. Whoever has gone meanwhile gets nothing, and it does not count.
    fn deliver(&mut self, handout: Handout, content: Bytes) {
        let Handout { to, receiver: _, command, token, locked_until } = handout;
        let device = &command.device_id;
        let delivery = Delivery {
            command: command.id,
            token,
            locked_until,
            delivery_count: command.delivery_count,
            enqueued_time: command.enqueued_time,
            content,
        };
        match to {
            Recipient::Connection(connection) => {
                let session = self.hub.presence.session(device, connection);
                if session.is_none_or(|session| session.deliver(delivery).is_err()) {
                    self.hub.commands.tell(Note::Gone(device.clone(), connection, token));
                }
            }
            Recipient::Poll(poll) => {
                let delivery = Unsent::new(device.clone(), delivery, self.hub.commands.sender());
                if let Some(answer) = self.polls.remove(&poll) {
                    answer.give(Ok(Some(delivery)));
                }
            }
        }
    }

    /// There is no content to deliver. The delivery counts, so that the command ends some time.
    fn give_up(&mut self, handout: &Handout) {
        let (id, device) = (handout.command.id, &handout.command.device_id);
        tracing::error!(command = %id, %device, "the content of command {id} for device {device} is lost, it can't be delivered");
        if let Recipient::Poll(poll) = handout.to {
            self.end_poll(poll);
        }
        self.hub.commands.tell(Note::Lost(device.clone(), handout.token, handout.receiver));
    }

    /// Before anything of the group is decided: devices whose identities have changed, says the group, are given nothing any more that
    /// somebody without a right would take. Their requests end; who has still a right asks again.
    pub(super) fn shut_out(&mut self) {
        let changed = self.group.iter().filter_map(|request| if let Request::Changed(devices, _) = request { Some(devices) } else { None });
        let mut polls = Vec::new();
        for device in changed.flatten() {
            // The machine is asked first and let go: nobody who holds it waits for presence.
            let taken_by = self.hub.commands.machine().taken_by(device);
            let session = taken_by.and_then(|connection| self.hub.presence.session(device, connection));
            let mut machine = self.hub.commands.machine();
            if let Some(connection) = taken_by.filter(|_| session.is_none_or(|session| session.ended().is_some())) {
                machine.unsubscribe(device, connection);
            }
            polls.extend(machine.drop_polls_of(device));
        }
        for poll in polls {
            self.end_poll(poll);
        }
    }

    /// Nothing has come for the poll.
    pub(super) fn end_poll(&mut self, poll: PollId) {
        if let Some(answer) = self.polls.remove(&poll) {
            answer.give(Ok(None));
        }
    }
}
