//! Messages that go: frames that fit, windows, credit, drain, settlement.

use fe2o3_amqp_types::definitions::AmqpError;
use fe2o3_amqp_types::messaging::{DeliveryState, Modified, Rejected, Released};
use proptest::prelude::*;

use super::super::disposition::Disposition as DispositionFrame;
use super::super::flow::Flow;
use super::super::limits::{Limits, OUTPUT_MAX_BYTES};
use super::super::link::{LinkId, Role};
use super::super::performative::Performative;
use super::super::{DeliveryTag, Disposition, Event, NotSent, Outgoing};
use super::peer::{Peer, accepted, attach, begin, credit, detach, disposition};

fn send(peer: &mut Peer, link: LinkId, payload: &[&[u8]]) -> Result<u32, NotSent> {
    let tag = DeliveryTag::new(&[3; 16]).unwrap();
    peer.engine.send(link, &Outgoing { tag, message_format: 0, settled: false, payload })
}

fn offered(peer: &mut Peer) -> (LinkId, bool) {
    match peer.event() {
        Event::Credit { link, drain } => (link, drain),
        other => panic!("credit, not {other:?}"),
    }
}

fn settled(peer: &mut Peer) -> Disposition {
    match peer.event() {
        Event::Disposition(disposition) => disposition,
        other => panic!("a disposition, not {other:?}"),
    }
}

#[test]
fn nothing_is_sent_without_credit() {
    let mut peer = Peer::with_session(65536, 0);
    let link = peer.receiver(0, 4);
    assert_eq!(send(&mut peer, link, &[b"x"]), Err(NotSent::NoCredit));
    peer.grant(0, credit(4, 0, 2));
    assert_eq!(offered(&mut peer), (link, false));
    assert_eq!(peer.engine.sendable(link), 2);
    assert_eq!(send(&mut peer, link, &[b"x", b"", b"yz"]), Ok(0));
    assert_eq!(send(&mut peer, link, &[]), Ok(1));
    assert_eq!(send(&mut peer, link, &[b"x"]), Err(NotSent::NoCredit));
    let writes = peer.writes;
    let (transfer, payload) = peer.hear_transfer();
    assert_eq!((transfer.handle, transfer.delivery_id, transfer.more, &payload[..]), (4, Some(0), false, &b"xyz"[..]));
    assert_eq!(
        (transfer.settled, transfer.message_format, transfer.delivery_tag.unwrap().as_bytes()),
        (Some(false), Some(0), &[3; 16][..])
    );
    let (transfer, payload) = peer.hear_transfer();
    assert_eq!((transfer.delivery_id, payload.len()), (Some(1), 0));
    assert_eq!(peer.writes, writes + 1, "both leave in one write");
    // The peer's count is older than its credit: what is on its way is taken off.
    peer.grant(0, Flow { delivery_count: Some(1), next_incoming_id: Some(1), ..credit(4, 0, 5) });
    assert_eq!(peer.engine.sendable(link), 4);
    peer.grant(0, Flow { delivery_count: Some(0), ..credit(4, 0, 1) });
    assert_eq!(peer.engine.sendable(link), 0);
}

#[test]
fn credit_may_come_before_the_link_is_granted() {
    let mut peer = Peer::with_session(65536, 0);
    peer.say(0, &Performative::Attach(Box::new(attach("eager", 1, Role::Receiver))));
    peer.grant(0, Flow { next_incoming_id: None, delivery_count: None, ..credit(1, 0, 7) });
    let Event::Attach(request) = peer.event() else { panic!("asked") };
    peer.no_event();
    assert_eq!(peer.engine.sendable(request.link), 0);
    peer.engine.accept_link(request.link, request.as_asked(0));
    assert_eq!(offered(&mut peer), (request.link, false));
    assert_eq!(peer.engine.sendable(request.link), 7);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the sizes of frames, messages and windows: no frame is larger than the peer takes, none leaves a closed window, and every
    /// message arrives once, whole and in order.
    #[test]
    fn messages_arrive_whole_through_any_frame_and_window(
        frame_max in 512..5000_u32,
        sizes in prop::collection::vec(prop_oneof![0..1000_usize, 1000..20_000_usize], 1..8),
        cuts in prop::collection::vec(0..1000_usize, 0..4),
        window in 1..20_u32,
        start in prop_oneof![Just(0), any::<u32>(), Just(u32::MAX - 3)],
    ) {
        let mut peer = Peer::opened(frame_max);
        peer.engine.start_numbers_at(start);
        peer.begin(0);
        let link = peer.receiver(0, 0);
        let mut waiting: Vec<Vec<u8>> = sizes.iter().zip(0..).map(|(size, fill)| vec![fill; *size]).collect();
        let expected = waiting.clone();
        waiting.reverse();
        let (mut transfers, mut arrived, mut open_window) = (0_u32, vec![Vec::new()], 0);
        for _ in 0..2000 {
            if arrived.len() > expected.len() {
                break;
            }
            if open_window == 0 {
                open_window = window;
                let flow = Flow {
                    next_incoming_id: Some(start.wrapping_add(transfers)),
                    incoming_window: window,
                    delivery_count: Some(0),
                    link_credit: Some(100),
                    ..credit(0, 0, 0)
                };
                peer.grant(0, flow);
            }
            if peer.engine.sendable(link) > 0 && let Some(message) = waiting.last() {
                let mut pieces: Vec<&[u8]> = Vec::new();
                let mut rest = &message[..];
                for cut in &cuts {
                    let (piece, others) = rest.split_at((*cut).min(rest.len()));
                    pieces.push(piece);
                    rest = others;
                }
                pieces.push(rest);
                let id = send(&mut peer, link, &pieces);
                prop_assert_eq!(id, Ok(start.wrapping_add(u32::try_from(expected.len() - waiting.len()).unwrap())));
                waiting.pop();
            }
            peer.run();
            while !peer.heard.is_empty() {
                let (transfer, payload) = peer.hear_transfer();
                prop_assert!(open_window > 0, "a transfer left a closed window");
                open_window -= 1;
                transfers += 1;
                let whole = arrived.last_mut().unwrap();
                whole.extend(payload);
                prop_assert_eq!(transfer.delivery_id, Some(start.wrapping_add(u32::try_from(arrived.len() - 1).unwrap())));
                if !transfer.more {
                    arrived.push(Vec::new());
                }
            }
        }
        arrived.pop();
        prop_assert_eq!(arrived, expected);
        prop_assert!(peer.largest_frame <= frame_max as usize);
    }

    /// Deliveries settle by ranges of any shape: each is told once, in order, with the range's state, wherever the numbers start.
    #[test]
    fn ranges_settle_what_they_hold(
        start in prop_oneof![Just(0), Just(u32::MAX - 10), any::<u32>()],
        ranges in prop::collection::vec((0..40_u32, 0..40_u32, any::<bool>()), 1..12),
    ) {
        let mut peer = Peer::opened(65536);
        peer.engine.start_numbers_at(start);
        peer.begin(0);
        let link = peer.receiver(0, 0);
        peer.grant(0, Flow { next_incoming_id: Some(start), delivery_count: Some(0), ..credit(0, 0, 30) });
        offered(&mut peer);
        let mut unsettled: Vec<u32> = (0..30).collect();
        for at in &unsettled {
            assert_eq!(send(&mut peer, link, &[b"x"]), Ok(start.wrapping_add(*at)));
        }
        peer.run();
        for (first, last, settles) in ranges {
            peer.say(0, &disposition(Role::Receiver, start.wrapping_add(first), start.wrapping_add(last), settles, Some(accepted())));
            let within: Vec<u32> = unsettled.iter().copied().filter(|at| (first..=last).contains(at)).collect();
            if settles {
                unsettled.retain(|at| !within.contains(at));
            }
            if within.is_empty() {
                peer.no_event();
            } else {
                let deliveries = within.iter().map(|at| (link, start.wrapping_add(*at))).collect();
                prop_assert_eq!(settled(&mut peer), Disposition { deliveries, state: Some(accepted()), settled: settles });
            }
        }
    }
}

#[test]
fn a_drain_sends_what_waits_and_then_gives_the_rest_back() {
    let mut peer = Peer::with_session(65536, 0);
    let link = peer.receiver(0, 0);
    peer.grant(0, Flow { drain: true, echo: true, ..credit(0, 0, 10) });
    assert_eq!(offered(&mut peer), (link, true));
    peer.hears_nothing();
    for _ in 0..3 {
        send(&mut peer, link, &[b"x"]).unwrap();
    }
    peer.engine.drained(link);
    for _ in 0..3 {
        peer.hear_transfer();
    }
    let (_, Performative::Flow(flow)) = peer.hear() else { panic!("the end of the drain") };
    assert_eq!((flow.delivery_count, flow.link_credit, flow.drain), (Some(10), Some(0), true));
    assert_eq!(send(&mut peer, link, &[b"x"]), Err(NotSent::NoCredit));
    // Said once.
    peer.engine.drained(link);
    peer.hears_nothing();
    // And again, without any credit: the answer is due all the same.
    peer.grant(0, Flow { drain: true, delivery_count: Some(10), next_incoming_id: Some(3), ..credit(0, 0, 0) });
    assert_eq!(offered(&mut peer), (link, true));
    peer.engine.drained(link);
    assert!(matches!(peer.hear(), (_, Performative::Flow(flow)) if flow.delivery_count == Some(10) && flow.drain));
    // Afterwards credit is credit.
    peer.grant(0, Flow { delivery_count: Some(10), next_incoming_id: Some(3), ..credit(0, 0, 1) });
    assert_eq!(offered(&mut peer), (link, false));
    assert_eq!(send(&mut peer, link, &[b"x"]), Ok(3));
}

#[test]
fn a_drain_ends_after_the_message_that_the_window_holds_back() {
    let mut peer = Peer::with_session(512, 0);
    let link = peer.receiver(0, 0);
    peer.grant(0, Flow { drain: true, incoming_window: 1, ..credit(0, 0, 5) });
    offered(&mut peer);
    send(&mut peer, link, &[&[1; 1000]]).unwrap();
    peer.engine.drained(link);
    assert!(peer.hear_transfer().0.more);
    peer.hears_nothing();
    assert_eq!(send(&mut peer, link, &[b"x"]), Err(NotSent::NoWindow));
    peer.grant(0, Flow { next_incoming_id: Some(1), incoming_window: 10, handle: None, ..credit(0, 0, 0) });
    assert!(peer.hear_transfer().0.more);
    assert!(!peer.hear_transfer().0.more);
    assert!(matches!(peer.hear(), (_, Performative::Flow(flow)) if flow.delivery_count == Some(5) && flow.link_credit == Some(0)));
    peer.hears_nothing();
}

#[test]
fn a_window_that_opens_is_told_to_all_links_with_credit() {
    let mut peer = Peer::opened(65536);
    peer.say(0, &Performative::Begin(Box::new(super::super::performative::Begin { incoming_window: 0, ..begin() })));
    peer.hear();
    peer.event();
    let one = peer.receiver(0, 0);
    let two = peer.receiver_by(0, attach("two", 1, Role::Receiver));
    let three = peer.receiver_by(0, attach("three", 2, Role::Receiver));
    for handle in [0, 1] {
        peer.grant(0, Flow { incoming_window: 0, ..credit(handle, 0, 5) });
    }
    peer.events.clear();
    assert_eq!((peer.engine.sendable(one), peer.engine.sendable(three)), (0, 0));
    assert_eq!(send(&mut peer, one, &[b"x"]), Err(NotSent::NoWindow));
    peer.grant(0, Flow { handle: None, ..credit(0, 0, 0) });
    assert_eq!((offered(&mut peer), offered(&mut peer)), ((one, false), (two, false)));
    peer.no_event();
}

#[test]
fn an_echo_is_answered_at_once() {
    let mut peer = Peer::with_session(65536, 0);
    peer.receiver(0, 0);
    peer.sender(0, 1, 10);
    peer.grant(0, Flow { echo: true, ..credit(0, 0, 3) });
    assert!(matches!(peer.hear(), (_, Performative::Flow(flow)) if flow.handle == Some(0) && flow.link_credit == Some(3)));
    // A sender's idea of credit counts for nothing.
    peer.grant(0, Flow { echo: true, ..credit(1, 0, 10_000) });
    assert!(matches!(peer.hear(), (_, Performative::Flow(flow)) if flow.handle == Some(1) && flow.link_credit == Some(10)));
    peer.grant(0, Flow { echo: true, handle: None, delivery_count: None, link_credit: None, ..credit(0, 0, 0) });
    assert!(matches!(peer.hear(), (_, Performative::Flow(flow)) if flow.handle.is_none() && flow.link_credit.is_none()));
}

#[test]
fn settlement_goes_by_what_was_agreed() {
    for (mode, asks_settled, settled) in [(0, true, false), (1, false, true), (2, true, true), (2, false, false)] {
        let mut peer = Peer::with_session(65536, 0);
        let mut asks = attach("mode", 0, Role::Receiver);
        asks.snd_settle_mode = Some(mode);
        let link = peer.receiver_by(0, asks);
        peer.grant(0, credit(0, 0, 5));
        offered(&mut peer);
        let tag = DeliveryTag::new(b"t").unwrap();
        peer.engine.send(link, &Outgoing { tag, message_format: 0, settled: asks_settled, payload: &[b"x"] }).unwrap();
        assert_eq!(peer.hear_transfer().0.settled, Some(settled), "mode {mode}, asked {asks_settled}");
        // What is settled is nobody's business any more.
        peer.say(0, &disposition(Role::Receiver, 0, 0, true, Some(accepted())));
        assert_eq!(matches!(peer.events.pop_front(), Some(Event::Disposition(_))), !settled);
    }
}

fn sent_to_one_that_settles_second(peer: &mut Peer) -> (LinkId, u32) {
    let mut asks = attach("second", 0, Role::Receiver);
    asks.rcv_settle_mode = Some(1);
    let link = peer.receiver_by(0, asks);
    peer.grant(0, credit(0, 0, 5));
    offered(peer);
    let id = send(peer, link, &[b"x"]).unwrap();
    peer.hear_transfer();
    (link, id)
}

#[test]
fn a_receiver_that_settles_second_hears_when_the_hub_has() {
    let mut peer = Peer::with_session(65536, 0);
    let (link, id) = sent_to_one_that_settles_second(&mut peer);
    let released = DeliveryState::Released(Released {});
    peer.say(0, &disposition(Role::Receiver, id, id, false, Some(released.clone())));
    assert_eq!(settled(&mut peer), Disposition { deliveries: vec![(link, id)], state: Some(released), settled: false });
    peer.hears_nothing();
    let state = Some(DeliveryState::Released(Released {}));
    peer.engine.settle_sent(link.session, id, id, state.clone());
    let expected = DispositionFrame { role: Role::Sender, first: id, last: Some(id), settled: true, state, batchable: false };
    assert_eq!(peer.hear(), (0, Performative::Disposition(expected)));
    peer.engine.settle_sent(link.session, id, id, None);
    peer.hears_nothing();
}

#[test]
fn a_state_goes_back_without_its_details() {
    let mut peer = Peer::with_session(512, 0);
    let (link, id) = sent_to_one_that_settles_second(&mut peer);
    let error = super::super::error::error(AmqpError::NotAllowed, &"no ".repeat(300));
    let rejected = Some(DeliveryState::Rejected(Rejected { error: Some(error) }));
    peer.say(0, &disposition(Role::Receiver, id, id, false, rejected.clone()));
    assert_eq!(settled(&mut peer), Disposition { deliveries: vec![(link, id)], state: rejected.clone(), settled: false });
    peer.engine.settle_sent(link.session, id, id, rejected);
    let state = Some(DeliveryState::Rejected(Rejected { error: None }));
    let expected = DispositionFrame { role: Role::Sender, first: id, last: Some(id), settled: true, state, batchable: false };
    assert_eq!(peer.hear(), (0, Performative::Disposition(expected)));
    assert!(peer.largest_frame <= 512);
}

/// However much somebody says of however many, the answer is one small frame.
#[test]
fn a_range_that_waits_for_the_hub_is_answered_at_once_and_in_few_bytes() {
    let mut peer = Peer::with_session(65536, 0);
    let (link, first) = sent_to_one_that_settles_second(&mut peer);
    peer.grant(0, Flow { incoming_window: u32::MAX, next_incoming_id: Some(1), delivery_count: Some(1), ..credit(0, 0, u32::MAX) });
    offered(&mut peer);
    let count = u32::try_from(Limits::TRUSTED.unsettled_deliveries).unwrap();
    for _ in 1..count {
        send(&mut peer, link, &[b"x"]).unwrap();
        peer.run();
    }
    peer.heard.clear();
    let mut annotations = fe2o3_amqp_types::definitions::Fields::new();
    annotations.insert("why".into(), serde_amqp::Value::String("no ".repeat(20_000)));
    let modified = |message_annotations| {
        Some(DeliveryState::Modified(Modified { delivery_failed: Some(true), undeliverable_here: None, message_annotations }))
    };
    peer.say(0, &disposition(Role::Receiver, first, first + count, false, modified(Some(annotations))));
    let said = settled(&mut peer);
    assert_eq!(said.deliveries.len(), count as usize);
    let (session, first, last) = said.range().unwrap();
    peer.largest_frame = 0;
    peer.engine.settle_sent(session, first, last, said.state);
    let expected = DispositionFrame { role: Role::Sender, first, last: Some(last), settled: true, state: modified(None), batchable: false };
    assert_eq!(peer.hear(), (0, Performative::Disposition(expected)));
    peer.hears_nothing();
    assert!(peer.largest_frame < 100, "{}", peer.largest_frame);
    // There is room for as many again, and the caller hears of it.
    assert_eq!(offered(&mut peer), (link, false));
    assert!(peer.engine.sendable(link) >= count);
}

/// The C SDK's windows and credit, and all others.
#[test]
fn windows_and_credit_may_be_as_large_as_numbers_are() {
    let mut peer = Peer::opened(65536);
    peer.say(0, &Performative::Begin(Box::new(super::super::performative::Begin { incoming_window: u32::MAX, ..begin() })));
    peer.hear();
    peer.event();
    let mut settles_nothing = attach("all", 0, Role::Receiver);
    settles_nothing.snd_settle_mode = Some(1);
    let link = peer.receiver_by(0, settles_nothing);
    peer.grant(0, Flow { incoming_window: u32::MAX, ..credit(0, 0, u32::MAX) });
    assert_eq!(offered(&mut peer), (link, false));
    assert_eq!(peer.engine.sendable(link), u32::MAX);
    for _ in 0..3 {
        send(&mut peer, link, &[b"x"]).unwrap();
        peer.hear_transfer();
    }
    // Said before the last two had come.
    peer.grant(0, Flow { incoming_window: u32::MAX, ..credit(0, 1, u32::MAX) });
    assert_eq!(peer.engine.sendable(link), u32::MAX - 2);
    peer.grant(0, Flow { incoming_window: 1 << 31, ..credit(0, 3, 1 << 31) });
    assert_eq!(peer.engine.sendable(link), 1 << 31);
}

/// What nobody waits for is done when the last of it has left, and not before.
#[test]
fn a_settled_message_that_waits_for_the_window_is_told_to_be_sent_when_it_is() {
    let mut peer = Peer::with_session(512, 0);
    let mut settles_nothing = attach("all", 0, Role::Receiver);
    settles_nothing.snd_settle_mode = Some(1);
    let link = peer.receiver_by(0, settles_nothing);
    peer.grant(0, Flow { incoming_window: 1, ..credit(0, 0, 5) });
    offered(&mut peer);
    let delivery = send(&mut peer, link, &[&[1; 1000]]).unwrap();
    assert!(peer.engine.is_sending(link));
    assert!(peer.hear_transfer().0.more);
    peer.no_event();
    peer.grant(0, Flow { next_incoming_id: Some(1), incoming_window: 1, handle: None, ..credit(0, 0, 0) });
    assert!(peer.hear_transfer().0.more);
    peer.no_event();
    peer.grant(0, Flow { next_incoming_id: Some(2), incoming_window: 1, handle: None, ..credit(0, 0, 0) });
    assert!(!peer.hear_transfer().0.more);
    assert_eq!(peer.event(), Event::Sent { link, delivery });
    assert!(!peer.engine.is_sending(link));
}

#[test]
fn states_on_the_way_say_nothing() {
    let mut peer = Peer::with_session(65536, 0);
    let link = peer.receiver(0, 0);
    peer.grant(0, credit(0, 0, 5));
    offered(&mut peer);
    let id = send(&mut peer, link, &[b"x"]).unwrap();
    let received = DeliveryState::Received(fe2o3_amqp_types::messaging::Received { section_number: 0, section_offset: 0 });
    peer.say(0, &disposition(Role::Receiver, id, id, false, Some(received)));
    peer.say(0, &disposition(Role::Receiver, id, id, false, None));
    peer.no_event();
    peer.say(0, &disposition(Role::Receiver, id, id, true, None));
    assert_eq!(settled(&mut peer), Disposition { deliveries: vec![(link, id)], state: None, settled: true });
}

#[test]
fn a_link_that_goes_takes_its_unsettled_deliveries_along() {
    let mut peer = Peer::with_session(65536, 0);
    let one = peer.receiver(0, 0);
    let two = peer.receiver_by(0, attach("two", 1, Role::Receiver));
    for handle in [0, 1] {
        peer.grant(0, credit(handle, 0, 5));
        offered(&mut peer);
    }
    let first = send(&mut peer, one, &[b"x"]).unwrap();
    let second = send(&mut peer, two, &[b"x"]).unwrap();
    peer.say(0, &detach(0));
    assert!(matches!(peer.event(), Event::Detached { .. }));
    peer.say(0, &disposition(Role::Receiver, first, second, true, Some(accepted())));
    assert_eq!(settled(&mut peer).deliveries, [(two, second)]);
}

#[test]
fn deliveries_that_nobody_settles_are_bounded() {
    let mut peer = Peer::with_session(65536, 0);
    let link = peer.receiver(0, 0);
    let max = u32::try_from(Limits::TRUSTED.unsettled_deliveries).unwrap();
    peer.grant(0, Flow { incoming_window: u32::MAX / 2, ..credit(0, 0, u32::MAX / 2) });
    offered(&mut peer);
    for _ in 0..max {
        send(&mut peer, link, &[]).unwrap();
        peer.run();
    }
    assert_eq!(send(&mut peer, link, &[]), Err(NotSent::Unsettled));
    assert_eq!(peer.engine.sendable(link), 0, "the caller need not try");
    assert!(peer.events.is_empty());
    peer.say(0, &disposition(Role::Receiver, 0, 0, true, Some(accepted())));
    settled(&mut peer);
    assert_eq!(offered(&mut peer), (link, false));
    assert_eq!(peer.engine.sendable(link), 1);
    send(&mut peer, link, &[]).unwrap();
    peer.run();
    peer.heard.clear();
    let other = peer.receiver_by(0, attach("other", 1, Role::Receiver));
    peer.grant(0, Flow { incoming_window: u32::MAX / 2, delivery_count: Some(0), ..credit(1, max, 5) });
    assert_eq!(peer.engine.sendable(other), 0);
    peer.events.clear();
    peer.say(0, &detach(0));
    let told: Vec<Event> = std::mem::take(&mut peer.events).into();
    assert!(told.contains(&Event::Credit { link: other, drain: false }), "what a link leaves is room for another: {told:?}");
    assert_eq!(peer.engine.sendable(other), 5);
}

#[test]
fn what_a_burst_took_is_given_back() {
    let mut peer = Peer::with_session(65536, 0);
    let before = peer.engine.heap_bytes();
    let links: Vec<LinkId> = (0..1000).map(|handle| peer.receiver_by(0, attach(&handle.to_string(), handle, Role::Receiver))).collect();
    peer.grant(0, credit(0, 0, 1000));
    offered(&mut peer);
    for _ in 0..1000 {
        send(&mut peer, links[0], &[]).unwrap();
    }
    peer.run();
    peer.heard.clear();
    peer.say(0, &disposition(Role::Receiver, 0, 999, true, Some(accepted())));
    for handle in 0..1000 {
        peer.say(0, &detach(handle));
    }
    peer.events.clear();
    peer.heard.clear();
    assert!(peer.engine.heap_bytes() <= before + 1024, "{} bytes are kept", peer.engine.heap_bytes());
}

#[test]
fn a_peer_that_does_not_read_is_sent_no_more_and_heard_no_more() {
    let mut peer = Peer::with_session(65536, 0);
    let link = peer.receiver(0, 0);
    peer.grant(0, credit(0, 0, 1000));
    offered(&mut peer);
    let message = vec![1; 50_000];
    let mut sent = 0;
    let refusal = loop {
        match send(&mut peer, link, &[&message]) {
            Ok(_) => sent += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!((refusal, sent), (NotSent::OutputFull, OUTPUT_MAX_BYTES / message.len() + 1));
    let mut input = bytes::BytesMut::from(&super::peer::said(0, &detach(0), &[])[..]);
    assert_eq!(peer.engine.receive(&mut input), None);
    assert!(!input.is_empty());
    peer.run();
    assert!(matches!(peer.engine.receive(&mut input), Some(Event::Detached { .. })));
}

#[test]
fn what_the_peer_can_not_take_is_not_sent() {
    let mut peer = Peer::with_session(65536, 0);
    let mut asks = attach("small", 0, Role::Receiver);
    asks.max_message_size = Some(10);
    let link = peer.receiver_by(0, asks);
    peer.grant(0, credit(0, 0, 5));
    offered(&mut peer);
    assert_eq!(send(&mut peer, link, &[&[1; 11]]), Err(NotSent::TooLarge));
    assert_eq!(send(&mut peer, link, &[&[1; 10]]), Ok(0));
    peer.hear_transfer();
    let into = peer.sender(0, 1, 1);
    assert_eq!(send(&mut peer, into, &[]), Err(NotSent::NoLink));
}
