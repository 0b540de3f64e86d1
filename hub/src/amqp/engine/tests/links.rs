//! Sessions and links: any numbers, names per direction, refusals, limits, ends of every kind.

use fe2o3_amqp_types::definitions::{AmqpError, ConnectionError, Error, ErrorCondition, LinkError, SessionError};
use fe2o3_amqp_types::messaging::{Source, Target};

use super::super::error::error;
use super::super::limits::Limits;
use super::super::link::{LinkId, Role};
use super::super::performative::{AnyTarget, Attach, Begin, Detach, Open, Performative};
use super::super::{Connection, DeliveryTag, Ending, Event, Outgoing};
use super::peer::{Peer, accepted, attach, begin, credit, delivery, detach};

/// The next attach of the hub's, which must be followed by a detach with an error.
fn refused(peer: &mut Peer) -> (Attach, Error) {
    let (_, Performative::Attach(attach)) = peer.hear() else { panic!("attach comes first") };
    let (_, Performative::Detach(Detach { handle, closed: true, error: Some(error) })) = peer.hear() else { panic!("detach follows") };
    assert_eq!(handle, attach.handle);
    assert_eq!((&attach.source, &attach.target), (&None, &None));
    (*attach, error)
}

fn asked(peer: &mut Peer) -> LinkId {
    match peer.event() {
        Event::Attach(request) => request.link,
        other => panic!("a link is asked for, not {other:?}"),
    }
}

fn detached(peer: &mut Peer) -> (LinkId, Option<ErrorCondition>) {
    match peer.event() {
        Event::Detached { link, error } => (link, error.map(|error| error.condition)),
        other => panic!("a link is gone, not {other:?}"),
    }
}

#[test]
fn channels_and_handles_start_anywhere() {
    let mut peer = Peer::with_session(65536, 8191);
    let out = peer.receiver(8191, u32::MAX);
    let into = peer.sender(8191, 7, 10);
    peer.transfer(8191, delivery(7, u32::MAX), b"a");
    assert!(matches!(peer.event(), Event::Delivery(delivery) if delivery.link == into && delivery.id == u32::MAX));
    peer.transfer(8191, delivery(7, 0), b"b");
    assert!(matches!(peer.event(), Event::Delivery(delivery) if delivery.id == 0));
    assert_ne!(out, into);
}

#[test]
fn a_sender_and_a_receiver_may_share_a_name_and_others_steal() {
    let mut peer = Peer::with_session(65536, 0);
    for (handle, role) in [(0, Role::Sender), (1, Role::Receiver)] {
        peer.say(0, &Performative::Attach(Box::new(attach("same", handle, role))));
        let link = asked(&mut peer);
        peer.engine.accept_link(link, super::super::AttachRequest::new(link, attach("same", handle, role)).as_asked(0));
        assert!(matches!(peer.hear(), (0, Performative::Attach(attach)) if attach.name == "same" && attach.role == role.other()));
    }
    peer.no_event();
    peer.say(0, &Performative::Attach(Box::new(attach("same", 2, Role::Sender))));
    let (_, Performative::Detach(stolen)) = peer.hear() else { panic!("the older one goes") };
    assert_eq!((stolen.handle, stolen.error.unwrap().condition), (0, LinkError::Stolen.into()));
    assert_eq!(detached(&mut peer).1, Some(LinkError::Stolen.into()));
    asked(&mut peer);
    // Another session is another place: some clients use the same names in each.
    peer.begin(1);
    peer.say(1, &Performative::Attach(Box::new(attach("same", 0, Role::Sender))));
    asked(&mut peer);
    peer.no_event();
}

#[test]
fn an_accepted_link_says_what_was_granted() {
    let mut peer = Peer::with_session(65536, 0);
    let mut asks = attach("bare", 4, Role::Sender);
    (asks.source, asks.rcv_settle_mode, asks.snd_settle_mode) = (None, Some(1), Some(0));
    peer.say(0, &Performative::Attach(Box::new(asks)));
    let Event::Attach(request) = peer.event() else { panic!("asked") };
    assert_eq!((request.peer, request.rcv_settle_mode, request.source.is_none()), (Role::Sender, 1, true));
    assert!(peer.engine.accept_link(request.link, request.as_asked(100)));
    let (_, Performative::Attach(granted)) = peer.hear() else { panic!("attach") };
    // Clients wait for both to be there.
    assert_eq!(granted.source, Some(Box::<Source>::default()));
    let target = Target { address: Some("elsewhere".into()), ..Target::default() };
    assert_eq!(granted.target, Some(AnyTarget::Target(Box::new(target))));
    assert_eq!((granted.snd_settle_mode, granted.rcv_settle_mode), (Some(0), Some(0)));
    assert_eq!(granted.max_message_size, Some(Limits::TRUSTED.message_bytes as u64));
    assert_eq!(granted.initial_delivery_count, None);
    let (_, Performative::Flow(flow)) = peer.hear() else { panic!("credit") };
    assert_eq!((flow.handle, flow.link_credit, flow.delivery_count), (Some(4), Some(100), Some(0)));
    // Twice is once.
    assert!(!peer.engine.accept_link(request.link, request.as_asked(100)));
    peer.hears_nothing();

    let link = peer.receiver(0, 5);
    assert_eq!(peer.engine.sendable(link), 0);
}

#[test]
fn a_filter_holds_only_when_it_is_granted() {
    let mut peer = Peer::with_session(65536, 0);
    let mut asks = attach("filtered", 0, Role::Receiver);
    let mut filter = fe2o3_amqp_types::messaging::FilterSet::new();
    filter.insert("apache.org:selector-filter:string".into(), serde_amqp::Value::String("x".into()));
    asks.source.as_mut().unwrap().filter = Some(filter);
    peer.say(0, &Performative::Attach(Box::new(asks.clone())));
    let Event::Attach(request) = peer.event() else { panic!("asked") };
    assert_eq!(request.source, asks.source);
    let mut granted = request.as_asked(0);
    assert_eq!(granted.source.filter, None);
    granted.source.filter = request.source.as_ref().unwrap().filter.clone();
    peer.engine.accept_link(request.link, granted);
    assert!(matches!(peer.hear(), (_, Performative::Attach(attach)) if attach.source == asks.source));
}

#[test]
fn a_refused_link_has_neither_source_nor_target() {
    let mut peer = Peer::with_session(65536, 0);
    peer.say(0, &Performative::Attach(Box::new(attach("no", 3, Role::Receiver))));
    let link = asked(&mut peer);
    let mut redirect = error(LinkError::Redirect, "over there");
    let mut info = fe2o3_amqp_types::definitions::Fields::new();
    info.insert("network-host".into(), serde_amqp::Value::String("hub.test".into()));
    redirect.info = Some(Box::new(info));
    peer.engine.refuse_link(link, redirect.clone());
    let (attach, why) = refused(&mut peer);
    assert_eq!((attach.role, attach.initial_delivery_count, why), (Role::Sender, Some(0), redirect));
    // What the peer has sent meanwhile is let fall, and the handle is free after its detach.
    peer.grant(0, credit(3, 0, 10));
    peer.no_event();
    peer.hears_nothing();
    peer.say(0, &detach(3));
    peer.hears_nothing();
    peer.no_event();
    peer.receiver(0, 3);
}

#[test]
fn what_the_hub_does_not_have_is_not_implemented() {
    let mut peer = Peer::with_session(65536, 0);
    let base = attach("x", 0, Role::Sender);
    let dynamic = |dynamic| Some(AnyTarget::Target(Box::new(Target { dynamic, ..Target::default() })));
    let cases = [
        Attach { source: Some(Box::new(Source { dynamic: true, ..Source::default() })), role: Role::Receiver, ..base.clone() },
        Attach { target: dynamic(true), ..base.clone() },
        Attach { resumes: true, ..base.clone() },
        Attach { incomplete_unsettled: true, ..base },
    ];
    for (handle, case) in (0..).zip(cases) {
        peer.say(0, &Performative::Attach(Box::new(Attach { handle, name: handle.to_string(), ..case })));
        assert_eq!(refused(&mut peer).1.condition, AmqpError::NotImplemented.into());
        peer.no_event();
    }
    // A coordinator, in the fewest bytes: attach with a target of descriptor 0x30.
    let attach = [0x00, 0x53, 0x12, 0xc0, 14, 7, 0xa1, 1, b't', 0x52, 9, 0x42, 0x40, 0x40, 0x40, 0x00, 0x53, 0x30, 0x45];
    let mut bytes = Vec::new();
    super::super::frame::write(&mut bytes, super::super::frame::FrameKind::Amqp, 0, |body| body.extend(attach));
    peer.feed(&bytes);
    assert_eq!(refused(&mut peer).1.condition, AmqpError::NotImplemented.into());
    peer.no_event();
}

#[test]
fn a_link_may_be_granted_and_then_taken_away() {
    let mut peer = Peer::with_session(65536, 0);
    let link = peer.receiver(0, 0);
    peer.engine.detach(link, Some(error(LinkError::Stolen, "a reader with a higher epoch came")));
    assert!(matches!(peer.hear(), (0, Performative::Detach(Detach { handle: 0, closed: true, error: Some(_) }))));
    // Until the peer has answered, its handle is taken; afterwards a new link is another one.
    peer.say(0, &detach(0));
    let again = peer.receiver(0, 0);
    assert_ne!(link, again);
    peer.grant(0, credit(0, 0, 10));
    assert_eq!((peer.engine.sendable(link), peer.engine.sendable(again)), (0, 10));
    peer.engine.detach(link, None);
    peer.hears_nothing();
}

#[test]
fn the_peers_detach_is_answered_in_kind() {
    for closed in [true, false] {
        let mut peer = Peer::with_session(65536, 0);
        let link = peer.sender(0, 2, 10);
        peer.say(0, &Performative::Detach(Detach { handle: 2, closed, error: None }));
        assert_eq!(peer.hear(), (0, Performative::Detach(Detach { handle: 2, closed, error: None })));
        assert_eq!(detached(&mut peer), (link, None));
        // Late answers do nothing.
        peer.engine.settle(link, 0, accepted());
        peer.hears_nothing();
    }
}

#[test]
fn a_link_may_go_before_it_was_answered() {
    let mut peer = Peer::with_session(65536, 0);
    peer.say(0, &Performative::Attach(Box::new(attach("hasty", 0, Role::Sender))));
    let Event::Attach(request) = peer.event() else { panic!("asked") };
    peer.say(0, &detach(0));
    assert!(matches!(peer.hear(), (0, Performative::Attach(_))));
    assert!(matches!(peer.hear(), (0, Performative::Detach(_))));
    assert_eq!(detached(&mut peer).0, request.link);
    assert!(!peer.engine.accept_link(request.link, request.as_asked(10)));
    peer.engine.refuse_link(request.link, error(AmqpError::NotFound, ""));
    peer.hears_nothing();
}

#[test]
fn both_may_detach_at_once() {
    let mut peer = Peer::with_session(65536, 0);
    let link = peer.sender(0, 0, 10);
    peer.engine.detach(link, None);
    peer.say(0, &detach(0));
    assert!(matches!(peer.hear(), (0, Performative::Detach(_))));
    peer.hears_nothing();
    peer.no_event();
    // A detach for nothing harms nobody.
    peer.say(0, &detach(0));
    peer.hears_nothing();
    peer.no_event();
}

#[test]
fn what_breaks_a_sessions_rules_ends_the_session_alone() {
    let cases: [(Performative, SessionError); 2] = [
        (Performative::Attach(Box::new(attach("other", 0, Role::Sender))), SessionError::HandleInUse),
        (Performative::Flow(credit(77, 0, 1)), SessionError::UnattachedHandle),
    ];
    for (frame, condition) in cases {
        let mut peer = Peer::with_session(65536, 0);
        peer.begin(1);
        let link = peer.sender(0, 0, 10);
        let other = peer.sender(1, 0, 10);
        peer.say(0, &frame);
        let (0, Performative::End(Some(error))) = peer.hear() else { panic!("the session ends") };
        assert_eq!(error.condition, condition.clone().into());
        assert_eq!(detached(&mut peer), (link, Some(condition.into())));
        assert!(matches!(peer.event(), Event::SessionEnded { .. }));
        // Until its end has come, what the peer says there is let fall.
        peer.transfer(0, delivery(0, 0), b"late");
        peer.no_event();
        peer.say(0, &Performative::End(None));
        peer.hears_nothing();
        peer.transfer(1, delivery(0, 0), b"x");
        assert!(matches!(peer.event(), Event::Delivery(delivery) if delivery.link == other));
        peer.begin(0);
    }
}

#[test]
fn a_session_ends_with_its_links() {
    let mut peer = Peer::with_session(65536, 1);
    let links = [peer.sender(1, 1, 10), peer.receiver(1, 2)];
    peer.say(1, &Performative::End(None));
    assert_eq!(peer.hear(), (1, Performative::End(None)));
    for link in links {
        assert_eq!(detached(&mut peer), (link, None));
    }
    assert!(matches!(peer.event(), Event::SessionEnded { error: None, .. }));
    // Python tidies up after the end.
    peer.say(1, &detach(1));
    peer.say(1, &detach(2));
    peer.hears_nothing();
    peer.no_event();
    // But nothing begins without a session.
    peer.say(1, &Performative::Attach(Box::new(attach("x", 0, Role::Sender))));
    assert!(matches!(peer.event(), Event::Closed(Ending::Failed(error)) if error.condition == AmqpError::NotAllowed.into()));
}

/// Its numbers are its own: what it can't take is only told to the hub.
#[test]
fn a_peer_that_takes_low_numbers_may_use_high_ones() {
    let mut peer = Peer::new();
    peer.feed(&super::super::frame::Protocol::Amqp.header());
    let open = Open { channel_max: Some(1), ..Open::default() };
    peer.say(0, &Performative::Open(Box::new(open)));
    peer.engine.trust();
    peer.heard.clear();
    peer.events.clear();
    for (channel, own) in [(700, 0), (1, 1)] {
        peer.say(channel, &Performative::Begin(Box::new(Begin { handle_max: Some(1), ..begin() })));
        assert!(matches!(peer.hear(), (on, Performative::Begin(begin)) if on == own && begin.remote_channel == Some(channel)));
        peer.event();
    }
    peer.say(700, &Performative::Attach(Box::new(attach("high", 90, Role::Receiver))));
    let Event::Attach(request) = peer.event() else { panic!("asked") };
    peer.engine.accept_link(request.link, request.as_asked(0));
    assert!(matches!(peer.hear(), (0, Performative::Attach(attach)) if attach.handle == 0));
    peer.say(700, &Performative::Attach(Box::new(attach("low", 0, Role::Sender))));
    let Event::Attach(low) = peer.event() else { panic!("asked") };
    peer.engine.accept_link(low.link, low.as_asked(4));
    assert!(matches!(peer.hear(), (0, Performative::Attach(attach)) if attach.handle == 1));
    assert!(matches!(peer.hear(), (0, Performative::Flow(flow)) if flow.handle == Some(1) && flow.link_credit == Some(4)));
    peer.grant(700, credit(90, 0, 1));
    let tag = DeliveryTag::new(b"t").unwrap();
    peer.engine.send(request.link, &Outgoing { tag, message_format: 0, settled: false, payload: &[b"x"] }).unwrap();
    assert_eq!(peer.hear_transfer().0.handle, 0);
    // There is no third.
    peer.say(700, &Performative::Attach(Box::new(attach("none", 5, Role::Sender))));
    assert!(matches!(peer.hear(), (0, Performative::End(Some(error))) if error.condition == AmqpError::ResourceLimitExceeded.into()));
    peer.say(700, &Performative::End(None));
    peer.say(1, &Performative::End(None));
    assert_eq!(peer.hear(), (1, Performative::End(None)));
}

#[test]
fn links_are_counted_over_all_sessions() {
    let opened = || {
        let mut peer = Peer::new();
        peer.feed(&super::super::frame::Protocol::Amqp.header());
        peer.say(0, &super::peer::open(65536));
        peer.event();
        peer.heard.clear();
        for channel in 0..2 {
            peer.begin(channel);
        }
        peer
    };
    let mut peer = opened();
    for handle in 0..4 {
        peer.say(u16::from(handle > 1), &Performative::Attach(Box::new(attach(&handle.to_string(), handle, Role::Sender))));
        asked(&mut peer);
    }
    peer.say(0, &Performative::Attach(Box::new(attach("five", 9, Role::Sender))));
    assert_eq!(refused(&mut peer).1.condition, AmqpError::ResourceLimitExceeded.into());
    peer.no_event();
    // One that has gone makes room.
    peer.say(0, &detach(9));
    peer.say(0, &detach(0));
    assert!(matches!(peer.hear(), (_, Performative::Attach(_))));
    assert!(matches!(peer.hear(), (_, Performative::Detach(_))));
    detached(&mut peer);
    peer.say(0, &Performative::Attach(Box::new(attach("again", 0, Role::Sender))));
    asked(&mut peer);
    // Whoever goes on asking for more is sent away.
    for handle in 10..30 {
        peer.say(0, &Performative::Attach(Box::new(attach(&handle.to_string(), handle, Role::Sender))));
    }
    assert!(matches!(peer.event(), Event::Closed(Ending::Failed(error)) if error.condition == AmqpError::ResourceLimitExceeded.into()));
}

#[test]
fn channels_have_a_highest() {
    for (begin, channel, condition) in [
        (begin(), 8192, ErrorCondition::from(ConnectionError::FramingError)),
        (Begin { remote_channel: Some(0), ..begin() }, 0, AmqpError::NotAllowed.into()),
    ] {
        let mut peer = Peer::opened(65536);
        peer.say(channel, &Performative::Begin(Box::new(begin)));
        assert!(matches!(peer.event(), Event::Closed(Ending::Failed(error)) if error.condition == condition));
    }
    let mut peer = Peer::with_session(65536, 0);
    peer.say(0, &Performative::Begin(Box::new(begin())));
    assert!(matches!(peer.event(), Event::Closed(Ending::Failed(error)) if error.condition == AmqpError::NotAllowed.into()));
}

#[test]
fn errors_fit_into_the_smallest_frame() {
    let mut peer = Peer::with_session(512, 0);
    let link = peer.receiver(0, 0);
    let mut info = fe2o3_amqp_types::definitions::Fields::new();
    info.insert("address".into(), serde_amqp::Value::String("x".repeat(600)));
    let long = Error::new(LinkError::Redirect, "é".repeat(5000), info);
    peer.engine.detach(link, Some(long.clone()));
    let (_, Performative::Detach(detach)) = peer.hear() else { panic!("detach") };
    let told = detach.error.unwrap();
    assert_eq!((told.condition, told.info), (LinkError::Redirect.into(), None));
    assert_eq!(told.description.unwrap().len(), 256);
    peer.engine.close(Some(Error { info: None, ..long }));
    peer.run();
    assert!(peer.largest_frame <= 512, "{}", peer.largest_frame);
}

#[test]
fn a_links_name_is_bounded() {
    let mut peer = Peer::with_session(512, 0);
    peer.say(0, &Performative::Attach(Box::new(attach(&"n".repeat(256), 1, Role::Sender))));
    let link = asked(&mut peer);
    peer.engine.refuse_link(link, error(AmqpError::NotFound, &"d".repeat(1000)));
    refused(&mut peer);
    assert!(peer.largest_frame <= 512, "{}", peer.largest_frame);
    peer.say(0, &Performative::Attach(Box::new(attach(&"n".repeat(257), 0, Role::Sender))));
    assert!(matches!(peer.event(), Event::Closed(Ending::Failed(error)) if error.condition == AmqpError::InvalidField.into()));
}

/// A link outlives no reuse of its numbers, whatever is asked of it.
#[test]
fn verbs_on_what_is_gone_do_nothing() {
    let mut peer = Peer::with_session(65536, 0);
    let link = peer.sender(0, 0, 10);
    peer.say(0, &Performative::End(None));
    peer.heard.clear();
    peer.events.clear();
    peer.begin(0);
    peer.sender(0, 0, 10);
    let verbs: [fn(&mut Connection, LinkId); 4] = [
        |engine, link| engine.settle(link, 0, accepted()),
        |engine, link| engine.drained(link),
        |engine, link| engine.settle_sent(link.session, 0, 0, None),
        |engine, link| engine.detach(link, None),
    ];
    for verb in verbs {
        verb(&mut peer.engine, link);
    }
    peer.hears_nothing();
}
