//! Frames once both sides are open: whose each is, and how far a fault in it reaches.

use bytes::{Buf as _, BytesMut};
use fe2o3_amqp_types::definitions::{AmqpError, ConnectionError, Error};

use super::super::error::{Ending, Fault, cut};
use super::super::frame::{Frame, FrameKind};
use super::super::link::{Payload, Role};
use super::super::performative::{Begin, Performative};
use super::super::session::{Session, SessionId};
use super::handshake::CHANNEL_MAX;
use super::{Connection, Event, Phase};

impl Connection {
    /// The frame that the input begins with; says whether it was there.
    pub(super) fn take_frame(&mut self, input: &mut BytesMut) -> Result<bool, Fault> {
        let Some(frame) = Frame::read(input, self.limits.frame_bytes as usize)? else { return Ok(false) };
        if frame.kind != FrameKind::Amqp {
            return Err(Fault::connection(ConnectionError::FramingError, "SASL is over"));
        }
        if frame.body == frame.size {
            // A sign of life.
            input.advance(frame.size);
            return Ok(true);
        }
        let (performative, length) = Performative::read(&input[frame.body..frame.size])?;
        if matches!(self.phase, Phase::Closing { .. }) {
            input.advance(frame.size);
            if let Performative::Close(_) = performative {
                self.finish(Ending::ByHub);
            }
            return Ok(true);
        }
        let payload = if let Performative::Transfer(_) = performative {
            Payload { frame: input.split_to(frame.size), at: frame.body + length }
        } else {
            input.advance(frame.size);
            Payload { frame: BytesMut::new(), at: 0 }
        };
        match self.dispatch(frame.channel, performative, payload) {
            Ok(()) => {}
            Err(Fault::Link(handle, error)) => {
                if let Some((session, mut shared)) = self.session(frame.channel) {
                    session.fail_link(handle, error, &mut shared);
                }
            }
            Err(Fault::Session(error)) => self.fail_session(frame.channel, error),
            Err(fault @ Fault::Connection(_)) => return Err(fault),
        }
        Ok(true)
    }

    fn dispatch(&mut self, channel: u16, performative: Performative, payload: Payload) -> Result<(), Fault> {
        match performative {
            Performative::Open(_) => return Err(Fault::connection(AmqpError::NotAllowed, "open came twice")),
            Performative::Close(error) => {
                self.output.performative(0, &Performative::Close(None));
                self.finish(Ending::ByPeer(error));
                return Ok(());
            }
            Performative::Begin(begin) => return self.begin(channel, &begin),
            _ => {}
        }
        let Some((session, mut shared)) = self.session(channel) else {
            return match performative {
                // Some clients tidy their links up after the session has ended.
                Performative::Detach(_) | Performative::End(_) | Performative::Disposition(_) | Performative::Flow(_) => Ok(()),
                _ => Err(Fault::connection(AmqpError::NotAllowed, &format!("no session has begun on channel {channel}"))),
            };
        };
        if session.ending {
            if let Performative::End(_) = performative {
                self.sessions.remove(channel);
            }
            return Ok(());
        }
        match performative {
            Performative::Attach(attach) => session.attach(attach, &mut shared),
            Performative::Flow(flow) => session.flow(&flow, &mut shared),
            Performative::Transfer(transfer) => session.transfer(&transfer, payload, &mut shared),
            Performative::Disposition(disposition) => {
                match disposition.role {
                    Role::Receiver => session.settled_by_receiver(disposition, &mut shared),
                    Role::Sender if disposition.settled => {
                        session.settled_by_sender(disposition.first, disposition.last.unwrap_or(disposition.first), &mut shared);
                    }
                    Role::Sender => {}
                }
                Ok(())
            }
            Performative::Detach(detach) => {
                session.detach(detach, &mut shared);
                Ok(())
            }
            Performative::End(error) => {
                self.ended_by_peer(channel, error);
                Ok(())
            }
            Performative::Open(_) | Performative::Begin(_) | Performative::Close(_) => Ok(()),
        }
    }

    fn begin(&mut self, channel: u16, begin: &Begin) -> Result<(), Fault> {
        if channel > CHANNEL_MAX {
            return Err(Fault::connection(ConnectionError::FramingError, "the channel is above channel-max"));
        }
        if begin.remote_channel.is_some() {
            return Err(Fault::connection(AmqpError::NotAllowed, "begin answers a session that the hub has not begun"));
        }
        if self.sessions.get(channel).is_some() {
            return Err(Fault::connection(AmqpError::NotAllowed, &format!("a session has begun on channel {channel} already")));
        }
        if self.sessions.len() >= self.limits.sessions {
            return Err(Fault::too_many("sessions"));
        }
        let own = self.free_channel(channel).ok_or_else(|| Fault::too_many("sessions"))?;
        let id = SessionId { channel, birth: self.load.birth() };
        self.sessions.insert(channel, Session::begin(id, own, begin, self.first_id, &mut self.output));
        self.events.push_back(Event::SessionBegun(id));
        Ok(())
    }

    /// The hub's own channel for a session that the peer has begun on this one.
    fn free_channel(&self, wanted: u16) -> Option<u16> {
        let is_free = |channel: &u16| self.sessions.iter().all(|(_, session)| session.channel() != *channel);
        let same = Some(wanted).filter(|wanted| *wanted <= self.channel_max && is_free(wanted));
        same.or_else(|| (0..=self.channel_max).find(is_free))
    }

    fn ended_by_peer(&mut self, channel: u16, error: Option<Error>) {
        let Some((session, mut shared)) = self.session(channel) else { return };
        let (id, own) = (session.id, session.channel());
        session.end_links(error.as_ref(), &mut shared);
        self.sessions.remove(channel);
        self.output.performative(own, &Performative::End(None));
        self.events.push_back(Event::SessionEnded { session: id, error });
    }

    fn fail_session(&mut self, channel: u16, error: Error) {
        let Some((session, mut shared)) = self.session(channel) else { return };
        let (id, own) = (session.id, session.channel());
        session.ending = true;
        session.end_links(Some(&error), &mut shared);
        self.output.performative(own, &Performative::End(Some(cut(error.clone()))));
        self.events.push_back(Event::SessionEnded { session: id, error: Some(error) });
    }
}
