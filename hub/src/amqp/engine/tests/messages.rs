//! Messages that come: in pieces, in good order or not, and their answers.

use fe2o3_amqp_types::definitions::{AmqpError, ErrorCondition, LinkError, SessionError};
use fe2o3_amqp_types::messaging::{DeliveryState, Modified, Rejected, Released};

use super::super::disposition::Disposition;
use super::super::error::error;
use super::super::limits::{INCOMING_WINDOW_TRANSFERS, Limits};
use super::super::link::Role;
use super::super::performative::{Detach, Performative};
use super::super::transfer::Transfer;
use super::super::{Delivery, DeliveryTag, Ending, Event};
use super::peer::{Peer, attach, delivery, disposition, said};

fn message(peer: &mut Peer) -> Delivery {
    match peer.event() {
        Event::Delivery(delivery) => delivery,
        other => panic!("a message, not {other:?}"),
    }
}

fn detached_for(peer: &mut Peer, handle: u32) -> ErrorCondition {
    let (_, Performative::Detach(Detach { handle: gone, closed: true, error: Some(error) })) = peer.hear() else { panic!("detach") };
    assert_eq!(gone, handle);
    assert!(matches!(peer.event(), Event::Detached { error: Some(told), .. } if told == error));
    error.condition
}

#[test]
fn a_message_is_handed_over_as_it_came() {
    let mut peer = Peer::with_session(65536, 0);
    let link = peer.sender(0, 5, 10);
    let batch = Transfer { message_format: Some(0x8001_3700), delivery_tag: DeliveryTag::new(&[9; 32]), ..delivery(5, 3) };
    peer.transfer(0, batch, b"not even AMQP");
    let expected = Delivery {
        link,
        id: 3,
        tag: DeliveryTag::new(&[9; 32]).unwrap(),
        message_format: 0x8001_3700,
        settled: false,
        payload: b"not even AMQP"[..].into(),
    };
    assert_eq!(message(&mut peer), expected);
}

#[test]
fn pieces_become_one_message_and_those_of_other_links_stay_apart() {
    let mut peer = Peer::with_session(65536, 0);
    let (one, two) = (peer.sender(0, 1, 10), peer.sender_by(0, attach("two", 2, Role::Sender), 10));
    let rest = |handle, more| Transfer { handle, more, ..Transfer::default() };
    peer.transfer(0, Transfer { more: true, ..delivery(1, 10) }, b"ab");
    peer.transfer(0, Transfer { more: true, ..delivery(2, 11) }, b"xy");
    peer.transfer(0, rest(1, true), b"");
    peer.transfer(0, Transfer { delivery_id: Some(10), ..rest(1, true) }, b"cd");
    peer.no_event();
    // The later one is whole first.
    peer.transfer(0, rest(2, false), b"z");
    let whole = message(&mut peer);
    assert_eq!((whole.link, whole.id, &whole.payload[..]), (two, 11, &b"xyz"[..]));
    peer.transfer(0, Transfer { settled: Some(true), ..rest(1, false) }, b"e");
    let whole = message(&mut peer);
    assert_eq!((whole.link, whole.id, &whole.payload[..], whole.settled), (one, 10, &b"abcde"[..], true));
}

#[test]
fn an_aborted_message_comes_to_nothing() {
    let mut peer = Peer::with_session(65536, 0);
    peer.sender(0, 0, 10);
    peer.transfer(0, Transfer { more: true, ..delivery(0, 0) }, b"ab");
    peer.transfer(0, Transfer { handle: 0, aborted: true, ..Transfer::default() }, b"");
    peer.transfer(0, Transfer { aborted: true, ..delivery(0, 1) }, b"");
    peer.no_event();
    peer.transfer(0, delivery(0, 2), b"whole");
    assert_eq!(message(&mut peer).id, 2);
}

#[test]
fn broken_transfers_end_their_link() {
    let cases: [(Transfer, ErrorCondition); 5] = [
        (Transfer { delivery_id: None, ..delivery(0, 0) }, AmqpError::InvalidField.into()),
        (Transfer { delivery_tag: None, ..delivery(0, 0) }, AmqpError::InvalidField.into()),
        (Transfer { resume: true, ..delivery(0, 0) }, AmqpError::NotImplemented.into()),
        (Transfer { more: true, ..delivery(0, 0) }, AmqpError::NotAllowed.into()),
        (delivery(1, 0), AmqpError::NotAllowed.into()),
    ];
    for (transfer, condition) in cases {
        let mut peer = Peer::with_session(65536, 0);
        peer.sender(0, 0, 10);
        peer.receiver(0, 1);
        let (handle, more) = (transfer.handle, transfer.more);
        peer.transfer(0, transfer, b"");
        if more {
            // Another delivery before this one has ended.
            peer.transfer(0, delivery(0, 1), b"");
        }
        assert_eq!(detached_for(&mut peer, handle), condition);
        // What is under way still counts, and nothing else happens.
        peer.transfer(0, delivery(handle, 2), b"late");
        peer.no_event();
        peer.hears_nothing();
    }
}

#[test]
fn nothing_comes_without_credit() {
    let mut peer = Peer::with_session(65536, 0);
    peer.sender(0, 0, 2);
    for id in 0..2 {
        peer.transfer(0, Transfer { settled: Some(true), more: true, ..delivery(0, 2 * id) }, b"");
        peer.transfer(0, Transfer { handle: 0, ..Transfer::default() }, b"");
        message(&mut peer);
        peer.heard.clear();
    }
    let mut peer = Peer::with_session(65536, 0);
    peer.sender(0, 0, 2);
    for id in 0..2 {
        peer.transfer(0, delivery(0, id), b"");
        message(&mut peer);
    }
    peer.hears_nothing();
    peer.transfer(0, delivery(0, 2), b"");
    assert_eq!(detached_for(&mut peer, 0), LinkError::TransferLimitExceeded.into());
    // Nor before the link is granted.
    peer.say(0, &Performative::Attach(Box::new(attach("early", 1, Role::Sender))));
    peer.event();
    peer.transfer(0, delivery(1, 3), b"");
    assert!(matches!(peer.hear(), (_, Performative::Attach(attach)) if attach.target.is_none()));
    assert_eq!(detached_for(&mut peer, 1), LinkError::TransferLimitExceeded.into());
}

#[test]
fn credit_comes_back_with_answers_and_not_before() {
    let mut peer = Peer::with_session(65536, 0);
    let link = peer.sender(0, 0, 4);
    for id in 0..4 {
        peer.transfer(0, delivery(0, id), b"");
        message(&mut peer);
    }
    peer.hears_nothing();
    peer.accept(link, 0);
    assert!(matches!(peer.hear(), (_, Performative::Disposition(_))));
    peer.hears_nothing();
    // The second answer makes half of the window, and leaves with its flow in one write.
    let writes = peer.writes;
    peer.accept(link, 1);
    assert!(matches!(peer.hear(), (_, Performative::Disposition(_))));
    let (_, Performative::Flow(flow)) = peer.hear() else { panic!("credit") };
    assert_eq!((flow.delivery_count, flow.link_credit, flow.next_incoming_id), (Some(4), Some(2), Some(4)));
    assert_eq!(peer.writes, writes + 1);
    // What needs no answer gives its credit back itself.
    for id in 4..6 {
        peer.transfer(0, Transfer { settled: Some(true), ..delivery(0, id) }, b"");
        assert!(message(&mut peer).settled);
    }
    assert!(matches!(peer.hear(), (_, Performative::Flow(flow)) if flow.link_credit == Some(2) && flow.delivery_count == Some(6)));
}

#[test]
fn nothing_is_taken_without_credit() {
    let mut peer = Peer::with_session(65536, 0);
    peer.sender(0, 0, 4);
    for id in 0..4 {
        peer.transfer(0, delivery(0, id), b"");
        message(&mut peer);
    }
    peer.transfer(0, delivery(0, 4), b"");
    assert_eq!(detached_for(&mut peer, 0), LinkError::TransferLimitExceeded.into());
}

#[test]
fn acceptances_of_neighbours_leave_as_one() {
    let mut peer = Peer::with_session(65536, 0);
    let link = peer.sender(0, 0, 100);
    for id in 0..20 {
        peer.transfer(0, delivery(0, u32::MAX.wrapping_add(id).wrapping_sub(5)), b"");
        message(&mut peer);
    }
    let id = |at: u32| u32::MAX.wrapping_add(at).wrapping_sub(5);
    for at in (0..10).chain(12..20) {
        peer.accept(link, id(at));
    }
    let rejected = DeliveryState::Rejected(Rejected { error: Some(error(AmqpError::NotAllowed, "no")) });
    peer.engine.settle(link, id(10), rejected.clone());
    peer.engine.settle(link, id(11), DeliveryState::Released(Released {}));
    let said = |first: u32, last: u32, state: DeliveryState| Disposition {
        role: Role::Receiver,
        first: id(first),
        last: Some(id(last)),
        settled: true,
        state: Some(state),
        batchable: false,
    };
    let accepted = super::peer::accepted();
    for expected in
        [said(0, 9, accepted.clone()), said(12, 19, accepted), said(10, 10, rejected), said(11, 11, DeliveryState::Released(Released {}))]
    {
        assert_eq!(peer.hear(), (0, Performative::Disposition(expected)));
    }
    peer.hears_nothing();
}

#[test]
fn with_rcv_settle_mode_second_the_sender_settles_before_the_hub() {
    let mut peer = Peer::with_session(65536, 0);
    peer.say(0, &Performative::Attach(Box::new(attach("careful", 0, Role::Sender))));
    let Event::Attach(request) = peer.event() else { panic!("asked") };
    let mut granted = request.as_asked(4);
    granted.rcv_settle_mode = 1;
    peer.engine.accept_link(request.link, granted);
    assert!(matches!(peer.hear(), (_, Performative::Attach(attach)) if attach.rcv_settle_mode == Some(1)));
    peer.hear();
    for id in 0..4 {
        peer.transfer(0, delivery(0, id), b"");
        message(&mut peer);
        peer.accept(request.link, id);
        let (_, Performative::Disposition(answer)) = peer.hear() else { panic!("an answer") };
        assert_eq!((answer.first, answer.settled, answer.state), (id, false, Some(super::peer::accepted())));
    }
    // No credit until the sender has settled: what waits is bounded.
    peer.hears_nothing();
    peer.say(0, &disposition(Role::Sender, 0, 2, true, None));
    assert!(matches!(peer.hear(), (_, Performative::Flow(flow)) if flow.link_credit == Some(3)));
    peer.hears_nothing();
}

#[test]
fn messages_have_a_largest_size_whole_or_in_pieces() {
    let max = Limits::TRUSTED.message_bytes;
    let piece = vec![7; 60_000];
    let mut peer = Peer::with_session(65536, 0);
    peer.sender(0, 0, 10);
    let mut sent = 0;
    while sent + piece.len() <= max {
        peer.transfer(0, Transfer { more: true, ..delivery(0, 0) }, &piece);
        sent += piece.len();
    }
    peer.transfer(0, delivery(0, 0), &piece[..max - sent]);
    assert_eq!(message(&mut peer).payload.len(), max);
    sent = 0;
    while sent + piece.len() <= max {
        peer.transfer(0, Transfer { more: true, ..delivery(0, 1) }, &piece);
        sent += piece.len();
    }
    peer.transfer(0, delivery(0, 1), &piece[..=max - sent]);
    assert_eq!(detached_for(&mut peer, 0), LinkError::MessageSizeExceeded.into());
}

#[test]
fn pieces_of_many_messages_have_a_largest_size_too() {
    let mut peer = Peer::with_session(65536, 0);
    let piece = vec![7; 60_000];
    let needed = Limits::TRUSTED.pieces_bytes / piece.len() + 1;
    for handle in 0..u32::try_from(needed).unwrap() {
        peer.no_event();
        let mut link = attach(&handle.to_string(), handle, Role::Sender);
        link.initial_delivery_count = Some(9);
        peer.say(0, &Performative::Attach(Box::new(link)));
        let Event::Attach(request) = peer.event() else { panic!("asked") };
        peer.engine.accept_link(request.link, request.as_asked(1));
        peer.transfer(0, Transfer { more: true, ..delivery(handle, handle) }, &piece);
    }
    assert!(matches!(peer.event(), Event::Closed(Ending::Failed(error)) if error.condition == AmqpError::ResourceLimitExceeded.into()));
}

#[test]
fn delivery_ids_rise_but_need_not_follow_each_other() {
    let mut peer = Peer::with_session(65536, 0);
    peer.sender(0, 0, 10);
    for id in [u32::MAX - 1, 4, 5, 100] {
        peer.transfer(0, delivery(0, id), b"");
        assert_eq!(message(&mut peer).id, id);
    }
    peer.transfer(0, delivery(0, 100), b"");
    assert!(matches!(peer.hear(), (_, Performative::End(Some(error))) if error.condition == AmqpError::InvalidField.into()));
}

#[test]
fn the_sessions_window_opens_again_in_time_and_not_too_far() {
    let mut peer = Peer::with_session(65536, 0);
    peer.sender(0, 0, 4);
    let rest = said(0, &Performative::Transfer(Transfer { handle: 0, more: true, ..Transfer::default() }), b"");
    peer.transfer(0, Transfer { more: true, ..delivery(0, 0) }, b"");
    for _ in 0..INCOMING_WINDOW_TRANSFERS / 2 {
        peer.feed(&rest);
    }
    let (_, Performative::Flow(flow)) = peer.hear() else { panic!("a flow") };
    assert_eq!((flow.handle, flow.incoming_window), (None, INCOMING_WINDOW_TRANSFERS));
    assert_eq!(flow.next_incoming_id, Some(INCOMING_WINDOW_TRANSFERS / 2 + 1));
    // Whoever counts wrong is told so: here by closing the window by hand.
    peer.engine.close_window(0);
    peer.feed(&rest);
    let (_, Performative::End(Some(error))) = peer.hear() else { panic!("the session ends") };
    assert_eq!(error.condition, SessionError::WindowViolation.into());
}

#[test]
fn outcomes_of_every_kind_are_told() {
    let mut peer = Peer::with_session(65536, 0);
    let link = peer.sender(0, 0, 10);
    let modified = DeliveryState::Modified(Modified { delivery_failed: Some(true), undeliverable_here: None, message_annotations: None });
    peer.transfer(0, delivery(0, 0), b"");
    message(&mut peer);
    peer.engine.settle(link, 0, modified.clone());
    assert!(matches!(peer.hear(), (_, Performative::Disposition(said)) if said.state == Some(modified) && said.settled));
}
