//! Bytes of all kinds, cut anywhere: the same bytes give the same events, and none makes the engine panic or grow.

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::flow::Flow;
use super::super::frame::Protocol;
use super::super::link::Role;
use super::super::performative::{Detach, Performative};
use super::super::sasl::SaslOutcome;
use super::super::transfer::Transfer;
use super::super::{Connection, DeliveryTag, Event, Outgoing};
use super::handshake::sasl_init;
use super::peer::{TERMS, TRUST_WITHIN, accepted, attach, begin, credit, delivery, disposition, open, said, start};

/// What a lively client says, from the first byte to the last.
fn conversation() -> Vec<u8> {
    let attach = |name: &str, handle, role| said(1, &Performative::Attach(Box::new(attach(name, handle, role))), &[]);
    let transfer = |transfer, payload: &[u8]| said(1, &Performative::Transfer(transfer), payload);
    [
        Protocol::Sasl.header().to_vec(),
        sasl_init("ANONYMOUS", None),
        Protocol::Amqp.header().to_vec(),
        said(0, &open(4096), &[]),
        said(1, &Performative::Begin(Box::new(begin())), &[]),
        attach("same", 2, Role::Receiver),
        attach("same", 1, Role::Sender),
        said(1, &Performative::Flow(credit(2, 0, 3)), &[]),
        vec![0, 0, 0, 8, 2, 0, 0, 0],
        transfer(delivery(1, 0), b"one"),
        transfer(Transfer { more: true, ..delivery(1, 1) }, b"tw"),
        transfer(Transfer { handle: 1, ..Transfer::default() }, b"o"),
        said(1, &disposition(Role::Receiver, 0, 1, true, Some(accepted())), &[]),
        said(1, &Performative::Flow(Flow { drain: true, echo: true, ..credit(2, 3, 2) }), &[]),
        transfer(Transfer { settled: Some(true), ..delivery(1, 2) }, &[9; 3000]),
        said(1, &Performative::Detach(Detach { handle: 2, closed: true, error: None }), &[]),
        said(1, &Performative::End(None), &[]),
        said(0, &Performative::Close(None), &[]),
    ]
    .concat()
}

/// Feeds pieces to an engine whose caller grants everything and answers every message with another; gives what was told and what was sent.
fn talk<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Vec<u8>) {
    let now = start();
    let mut engine = Connection::new(&TERMS, TRUST_WITHIN, now);
    let (mut events, mut output, mut input, mut out) = (Vec::new(), Vec::new(), BytesMut::new(), None);
    for piece in pieces {
        input.extend_from_slice(piece);
        engine.heard(now);
        loop {
            while let Some(event) = engine.receive(&mut input) {
                match &event {
                    Event::SaslInit(_) => engine.sasl_outcome(SaslOutcome::Ok),
                    Event::Opened(_) => engine.trust(),
                    Event::Attach(request) => {
                        engine.accept_link(request.link, request.as_asked(10));
                        if request.peer == Role::Receiver {
                            out = Some(request.link);
                        }
                    }
                    Event::Delivery(delivery) => {
                        if !delivery.settled {
                            engine.settle(delivery.link, delivery.id, accepted());
                        }
                        if let Some(out) = out {
                            let tag = DeliveryTag::new(&[1]).unwrap();
                            let _ = engine.send(out, &Outgoing { tag, message_format: 0, settled: false, payload: &[&delivery.payload] });
                        }
                    }
                    Event::Disposition(disposition) if !disposition.settled => {
                        let (session, first, last) = disposition.range().unwrap();
                        engine.settle_sent(session, first, last, disposition.state.clone());
                    }
                    Event::Credit { link, drain: true } => engine.drained(*link),
                    _ => {}
                }
                events.push(event);
            }
            let written = engine.take_output(now);
            if written.is_empty() {
                break;
            }
            output.extend(written);
        }
    }
    (events, output)
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_tells_the_same(cuts in vec(any::<Index>(), 0..30)) {
        let bytes = conversation();
        let (events, output) = talk(std::iter::once(&bytes[..]));
        assert!(matches!(events.last(), Some(Event::Closed(super::super::Ending::ByPeer(None)))), "{events:#?}");
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let (split_events, split_output) = talk(at.windows(2).map(|ends| &bytes[ends[0]..ends[1]]));
        prop_assert_eq!(split_events, events);
        // Acceptances gather while output does; all else is the same to the byte.
        prop_assert!(split_output.len() >= output.len());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..300), prefix in 0..6_usize) {
        let known = conversation();
        let ends = [0, 8, known.len() / 4, known.len() / 3, known.len() / 2, known.len()];
        talk([&known[..ends[prefix]], &bytes[..]].into_iter());
    }

    #[test]
    fn no_changed_bytes_make_it_panic(changes in vec((any::<Index>(), any::<u8>()), 1..6)) {
        let mut bytes = conversation();
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        talk(bytes.chunks(7));
    }

    /// Frames that are well-formed and make no sense together.
    #[test]
    fn no_order_of_frames_makes_it_panic_or_grow(order in vec((any::<Index>(), 0..3_u16), 0..200)) {
        let frames: Vec<Performative> = vec![
            Performative::Begin(Box::new(begin())),
            Performative::End(None),
            Performative::Attach(Box::new(attach("a", 0, Role::Sender))),
            Performative::Attach(Box::new(attach("a", 1, Role::Receiver))),
            Performative::Attach(Box::new(attach("b", 2, Role::Receiver))),
            Performative::Flow(credit(0, 0, 5)),
            Performative::Flow(credit(1, u32::MAX, 5)),
            Performative::Flow(Flow { drain: true, ..credit(2, 3, 9) }),
            Performative::Flow(Flow { handle: None, incoming_window: 0, echo: true, ..credit(2, 7, 9) }),
            Performative::Transfer(delivery(0, 0)),
            Performative::Transfer(Transfer { more: true, ..delivery(0, 7) }),
            Performative::Transfer(Transfer { handle: 0, aborted: true, ..Transfer::default() }),
            Performative::Transfer(Transfer { handle: 0, ..Transfer::default() }),
            disposition(Role::Receiver, 0, u32::MAX / 2, true, Some(accepted())),
            disposition(Role::Receiver, 5, 2, false, None),
            disposition(Role::Sender, 0, u32::MAX, true, None),
            Performative::Detach(Detach { handle: 0, closed: false, error: None }),
            Performative::Detach(Detach { handle: 1, closed: true, error: None }),
        ];
        let mut bytes = [&Protocol::Amqp.header()[..], &said(0, &open(512), &[])].concat();
        for (frame, channel) in order {
            bytes.extend(said(channel, frame.get(&frames), b"payload"));
        }
        talk(bytes.chunks(1000));
    }
}
