//! A link: one direction of messages in a session (AMQP 2.6), from the peer's `attach` to the second `detach`.
//!
//! A peer's links are known by the handle that the peer chose. The hub opens no links of its own, so it can nearly always use the same number.

use std::collections::VecDeque;

use fe2o3_amqp_types::definitions::Fields as Properties;
use fe2o3_amqp_types::messaging::{Source, Target};

use super::codec::{Fields, Malformed};
use super::connection::Event;
use super::performative::{AnyTarget, Attach, Symbols};
use super::session::SessionId;
pub use receiver::{Payload, Receiver};
pub use sender::{Head, Sender, Sending};

mod receiver;
mod sender;

/// What somebody is on a link (AMQP 2.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Messages go out.
    Sender,
    /// Messages come in.
    Receiver,
}

impl Role {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        match fields.boolean()? {
            Some(true) => Ok(Self::Receiver),
            Some(false) => Ok(Self::Sender),
            None => Err(Malformed::Missing("the role")),
        }
    }

    /// What the other one is.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

/// A link of a connection, never mistaken for a later one with the same handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    /// Whose link it is.
    pub session: SessionId,
    pub(super) handle: u32,
    pub(super) birth: u32,
}

/// A link that the peer wants; to be answered with [`super::Connection::accept_link`] or [`super::Connection::refuse_link`].
#[derive(Clone, Debug, PartialEq)]
pub struct AttachRequest {
    /// The link.
    pub link: LinkId,
    /// Its name, which may be that of a link in the other direction too.
    pub name: String,
    /// What the peer is on it.
    pub peer: Role,
    /// 0 unsettled, 1 settled, 2 mixed: for a sender what it does, for a receiver what it would like.
    pub snd_settle_mode: u8,
    /// 0 first, 1 second: for a receiver what it does, for a sender what it would like.
    pub rcv_settle_mode: u8,
    /// Where messages come from.
    pub source: Option<Box<Source>>,
    /// Where they go.
    pub target: Option<Box<Target>>,
    /// The largest message that the peer takes, in bytes.
    pub max_message_size: Option<u64>,
    /// Extensions that it could use.
    pub desired_capabilities: Symbols,
    /// Epochs, names of readers, versions.
    pub properties: Option<Properties>,
}

impl AttachRequest {
    pub(super) fn new(link: LinkId, attach: Attach) -> Self {
        let target = match attach.target {
            Some(AnyTarget::Target(target)) => Some(target),
            Some(AnyTarget::Coordinator) | None => None,
        };
        Self {
            link,
            name: attach.name,
            peer: attach.role,
            snd_settle_mode: attach.snd_settle_mode.unwrap_or(2),
            rcv_settle_mode: attach.rcv_settle_mode.unwrap_or(0),
            source: attach.source,
            target,
            max_message_size: attach.max_message_size,
            desired_capabilities: attach.desired_capabilities,
            properties: attach.properties,
        }
    }

    /// Yes to all that was asked but filters, with room for `window` messages. Deliveries to the hub are settled in one step, whatever the
    /// sender would like, because the receiver decides (AMQP 2.7.3).
    #[must_use]
    pub fn as_asked(&self, window: u32) -> Acceptance {
        let mut source = self.source.clone().unwrap_or_default();
        source.filter = None;
        Acceptance {
            source,
            target: self.target.clone().unwrap_or_default(),
            snd_settle_mode: self.snd_settle_mode,
            rcv_settle_mode: if self.peer == Role::Receiver { self.rcv_settle_mode } else { 0 },
            window,
            offered_capabilities: None,
            properties: None,
        }
    }
}

/// What a link is granted.
#[derive(Clone, Debug, PartialEq)]
pub struct Acceptance {
    /// Where messages come from, with the filters that hold.
    pub source: Box<Source>,
    /// Where they go.
    pub target: Box<Target>,
    /// 0 unsettled, 1 settled, 2 mixed. Means something where the hub sends.
    pub snd_settle_mode: u8,
    /// 0 first, 1 second. Means something where the hub receives.
    pub rcv_settle_mode: u8,
    /// How many messages the peer may have sent that are not answered. Means something where the hub receives.
    pub window: u32,
    /// Extensions that it gets.
    pub offered_capabilities: Symbols,
    /// The link's properties.
    pub properties: Option<Properties>,
}

/// How far a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The peer has asked, the caller has not answered.
    Asked,
    /// Both have attached.
    Attached,
    /// The hub has detached, the peer has not answered: what still comes is let fall.
    Detaching,
}

/// A link, as its session keeps it.
#[derive(Debug)]
pub struct Link {
    pub id: LinkId,
    /// The hub's own handle for it, which is the peer's too unless the peer takes none that high.
    pub handle: u32,
    pub name: Box<str>,
    pub stage: Stage,
    pub end: End,
}

/// What the hub is on a link.
#[derive(Debug)]
pub enum End {
    Sender(Sender),
    Receiver(Receiver),
    /// The link is [`Stage::Detaching`], and what it was is forgotten.
    Gone,
}

impl Link {
    /// The link that the peer asks for.
    pub fn new(id: LinkId, handle: u32, attach: &Attach) -> Self {
        let end = match attach.role {
            Role::Receiver => End::Sender(Sender::new(attach)),
            Role::Sender => End::Receiver(Receiver::new(attach)),
        };
        Self { id, handle, name: attach.name.as_str().into(), stage: Stage::Asked, end }
    }

    /// What the hub is.
    fn role(&self) -> Role {
        match self.end {
            End::Sender(_) => Role::Sender,
            End::Receiver(_) | End::Gone => Role::Receiver,
        }
    }

    /// Whether `attach` is for the same link again (AMQP 2.6.1).
    pub fn is_named_by(&self, attach: &Attach) -> bool {
        self.stage != Stage::Detaching && self.role() != attach.role && *self.name == *attach.name
    }

    /// Bytes of a message that has not come whole.
    pub fn pieces_bytes(&self) -> usize {
        match &self.end {
            End::Receiver(receiver) => receiver.pieces_bytes(),
            End::Sender(_) | End::Gone => 0,
        }
    }

    /// Tells the caller that messages may be sent, or have to be, if it is so.
    pub fn offer_credit(&self, events: &mut VecDeque<Event>) {
        if let (Stage::Attached, End::Sender(sender)) = (self.stage, &self.end)
            && (sender.is_ready() || sender.draining)
        {
            events.push_back(Event::Credit { link: self.id, drain: sender.draining });
        }
    }

    /// The hub's `attach`, with what was granted, or with neither source nor target when the link is refused (AMQP 2.6.3).
    pub fn attach(&self, acceptance: Option<Acceptance>, message_bytes_max: usize) -> Attach {
        let (snd_settle_mode, rcv_settle_mode, initial_delivery_count, max_message_size) = match &self.end {
            End::Sender(sender) => (acceptance.as_ref().map(|granted| granted.snd_settle_mode), Some(sender.rcv_settle_mode), Some(0), 0),
            End::Receiver(receiver) => {
                let size = u64::try_from(message_bytes_max).unwrap_or(u64::MAX);
                (Some(receiver.snd_settle_mode), acceptance.as_ref().map(|granted| granted.rcv_settle_mode), None, size)
            }
            End::Gone => (None, None, None, 0),
        };
        let (source, target, offered_capabilities, properties) = match acceptance {
            Some(granted) => {
                (Some(granted.source), Some(AnyTarget::Target(granted.target)), granted.offered_capabilities, granted.properties)
            }
            None => (None, None, None, None),
        };
        Attach {
            name: self.name.to_string(),
            handle: self.handle,
            role: self.role(),
            snd_settle_mode,
            rcv_settle_mode,
            source,
            target,
            resumes: false,
            incomplete_unsettled: false,
            initial_delivery_count,
            max_message_size: Some(max_message_size),
            offered_capabilities,
            desired_capabilities: None,
            properties,
        }
    }
}
