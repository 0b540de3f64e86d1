//! Where reads end makes no difference: a whole conversation is heard and answered the same, wherever it is cut.

use bytes::BytesMut;
use fe2o3_amqp_types::messaging::{Released, Source};
use proptest::prelude::*;

use super::super::disposition::Disposition;
use super::super::flow::Flow;
use super::super::frame::Protocol;
use super::super::link::{LinkId, Role};
use super::super::performative::{Attach, Performative};
use super::super::sasl::SaslOutcome;
use super::super::transfer::Transfer;
use super::super::{Connection, DeliveryTag, Event, Outgoing};
use super::handshake::sasl_init;
use super::peer::{Heard, TERMS, TRUST_WITHIN, accepted, attach, begin, credit, delivery, detach, disposition, hear, open, said, start};
use fe2o3_amqp_types::messaging::DeliveryState;

/// Something of everything: SASL, all said at once, messages in pieces, settled, answered first and second, credit and a drain, outcomes
/// one by one and in a range, an empty frame, a link and a session that are refused and end, and the end.
fn conversation() -> Vec<u8> {
    let frame = |channel, performative: Performative| said(channel, &performative, &[]);
    let transfer = |transfer, payload: &[u8]| said(0, &Performative::Transfer(transfer), payload);
    let dynamic = Attach { source: Some(Box::new(Source { dynamic: true, ..Source::default() })), ..attach("no", 9, Role::Receiver) };
    let second = Attach { rcv_settle_mode: Some(1), ..attach("out", 4, Role::Receiver) };
    [
        Protocol::Sasl.header().to_vec(),
        sasl_init("PLAIN", Some(b"\0who\0why")),
        Protocol::Amqp.header().to_vec(),
        frame(0, open(512)),
        frame(0, Performative::Begin(Box::new(begin()))),
        frame(0, Performative::Attach(Box::new(attach("in", 0, Role::Sender)))),
        transfer(delivery(0, 0), b"whole"),
        transfer(Transfer { more: true, ..delivery(0, 1) }, b"in "),
        transfer(Transfer { more: true, delivery_id: None, delivery_tag: None, ..delivery(0, 1) }, b"three "),
        transfer(Transfer { delivery_id: None, delivery_tag: None, ..delivery(0, 1) }, b"pieces"),
        transfer(Transfer { settled: Some(true), ..delivery(0, 2) }, b"settled"),
        transfer(Transfer { more: true, ..delivery(0, 3) }, b"taken "),
        transfer(Transfer { aborted: true, ..delivery(0, 3) }, b""),
        vec![0, 0, 0, 8, 2, 0, 0, 0],
        frame(0, Performative::Attach(Box::new(second))),
        frame(0, Performative::Flow(credit(4, 0, 3))),
        frame(0, disposition(Role::Receiver, 0, 0, false, Some(accepted()))),
        frame(0, disposition(Role::Receiver, 1, 2, true, Some(DeliveryState::Released(Released {})))),
        frame(0, Performative::Flow(Flow { drain: true, ..credit(4, 3, 100) })),
        frame(0, Performative::Attach(Box::new(dynamic))),
        frame(0, detach(9)),
        frame(7, Performative::Begin(Box::new(begin()))),
        frame(7, Performative::Attach(Box::new(attach("in", 3, Role::Sender)))),
        // No credit on a handle that is not there: the session ends.
        frame(7, Performative::Flow(credit(8, 0, 1))),
        frame(7, Performative::End(None)),
        frame(0, detach(0)),
        frame(0, Performative::Close(None)),
    ]
    .concat()
}

/// What is heard of the conversation and answered, when it comes in these pieces.
fn played<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Vec<Heard>) {
    let (now, mut engine) = (start(), Connection::new(&TERMS, TRUST_WITHIN, start()));
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    let (mut events, mut waiting) = (Vec::new(), 5_u8);
    for piece in pieces {
        input.extend_from_slice(piece);
        engine.heard(now);
        while let Some(event) = engine.receive(&mut input) {
            act(&mut engine, &event, &mut waiting);
            events.push(event);
        }
        output.extend_from_slice(&engine.take_output(now));
    }
    assert!(input.is_empty() && engine.is_over());
    let heard = std::iter::from_fn(|| hear(&mut output)).flat_map(one_by_one).collect();
    (events, heard)
}

/// Grants everything, answers at once, and has five messages for whoever receives.
fn act(engine: &mut Connection, event: &Event, waiting: &mut u8) {
    match event {
        Event::SaslInit(_) => engine.sasl_outcome(SaslOutcome::Ok),
        Event::Attach(request) => drop(engine.accept_link(request.link, request.as_asked(3))),
        Event::Delivery(delivery) => {
            engine.trust();
            if !delivery.settled {
                engine.settle(delivery.link, delivery.id, accepted());
            }
        }
        Event::Credit { link, drain } => {
            send(engine, *link, waiting);
            if *drain {
                engine.drained(*link);
            }
        }
        Event::Disposition(disposition) if !disposition.settled => {
            let (session, first, last) = disposition.range().unwrap();
            engine.settle_sent(session, first, last, disposition.state.clone());
        }
        _ => {}
    }
}

/// Messages that need two frames each.
fn send(engine: &mut Connection, link: LinkId, waiting: &mut u8) {
    while *waiting > 0 && engine.sendable(link) > 0 {
        let tag = DeliveryTag::new(&[*waiting]).unwrap();
        engine.send(link, &Outgoing { tag, message_format: 0, settled: false, payload: &[&[*waiting; 600]] }).unwrap();
        *waiting -= 1;
    }
}

/// Answers to neighbours leave together when they are due together, which means the same.
fn one_by_one(heard: Heard) -> Vec<Heard> {
    match heard {
        Heard::Frame(channel, Performative::Disposition(said), payload) => {
            let last = said.last.unwrap_or(said.first);
            let one = |id| Disposition { first: id, last: Some(id), ..said.clone() };
            (said.first..=last).map(|id| Heard::Frame(channel, Performative::Disposition(one(id)), payload.clone())).collect()
        }
        heard => vec![heard],
    }
}

#[test]
fn a_conversation_may_be_cut_at_every_byte() {
    let bytes = conversation();
    let whole = played([&bytes[..]].into_iter());
    assert!(whole.0.len() > 12 && whole.1.len() > 25, "{whole:?}");
    for at in 1..bytes.len() {
        let (first, second) = bytes.split_at(at);
        assert_eq!(played([first, second].into_iter()), whole, "cut at {at}");
    }
    assert_eq!(played(bytes.chunks(1)), whole, "byte by byte");
}

proptest! {
    #[test]
    fn a_conversation_may_be_cut_anyhow(mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let bytes = conversation();
        let mut places: Vec<usize> = cuts.drain(..).map(|cut| cut.index(bytes.len())).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert_eq!(played(pieces), played([&bytes[..]].into_iter()));
    }
}
