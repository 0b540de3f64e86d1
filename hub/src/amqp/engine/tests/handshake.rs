//! From the first byte to the last: headers, SASL, open, idle time-outs, patience, close.

use std::time::Duration;

use fe2o3_amqp_types::definitions::{AmqpError, ConnectionError, ErrorCondition};
use fe2o3_amqp_types::sasl::{SaslMechanisms, SaslOutcome as ForeignOutcome};

use super::super::codec::Writer;
use super::super::error::error;
use super::super::frame::{self, FrameKind, Protocol};
use super::super::limits::Limits;
use super::super::link::Role;
use super::super::performative::{Open, Performative};
use super::super::sasl::{SaslInit, SaslOutcome};
use super::super::{Ending, Event};
use super::peer::{Heard, Peer, TERMS, attach, begin, open, said};

pub fn sasl_init(mechanism: &str, response: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, FrameKind::Sasl, 0, |body| {
        Writer(body).list(0x41, 3, |fields| {
            fields.typed(&fe2o3_amqp_types::primitives::Symbol::from(mechanism));
            fields.optional(response, Writer::binary);
            fields.string("hub.test");
        });
    });
    bytes
}

fn failed_with(event: Event) -> ErrorCondition {
    let Event::Closed(Ending::Failed(error)) = event else { panic!("a failure, not {event:?}") };
    error.condition
}

#[test]
fn sasl_comes_first_and_is_the_callers_to_judge() {
    let mut peer = Peer::new();
    peer.feed(&Protocol::Sasl.header());
    assert_eq!(peer.heard.pop_front(), Some(Heard::Header(Protocol::Sasl)));
    let Some(Heard::Sasl(mechanisms)) = peer.heard.pop_front() else { panic!("the offer follows at once") };
    let mechanisms: SaslMechanisms = serde_amqp::from_slice(&mechanisms).unwrap();
    assert_eq!(mechanisms.sasl_server_mechanisms.0.iter().map(|name| name.as_str()).collect::<Vec<_>>(), TERMS.mechanisms);

    // What follows is not looked at before the answer, however early it comes.
    let secret = b"\0policy\0key";
    peer.feed(&[&sasl_init("PLAIN", Some(secret))[..], &Protocol::Amqp.header()].concat());
    let init = SaslInit { mechanism: "PLAIN".into(), initial_response: Some(secret.to_vec()), hostname: Some("hub.test".into()) };
    assert!(!format!("{init:?}").contains("key"), "{init:?}");
    assert_eq!(peer.event(), Event::SaslInit(init));
    peer.hears_nothing();

    peer.engine.sasl_outcome(SaslOutcome::Ok);
    peer.run();
    let Some(Heard::Sasl(outcome)) = peer.heard.pop_front() else { panic!("the outcome") };
    let outcome: ForeignOutcome = serde_amqp::from_slice(&outcome).unwrap();
    assert_eq!(outcome.code, fe2o3_amqp_types::sasl::SaslCode::Ok);
    assert_eq!(peer.heard.pop_front(), Some(Heard::Header(Protocol::Amqp)));
    peer.say(0, &open(65536));
    assert!(matches!(peer.hear(), (0, Performative::Open(_))));
    assert!(matches!(peer.event(), Event::Opened(open) if open.hostname.as_deref() == Some("hub.test")));
}

#[test]
fn who_fails_sasl_is_gone() {
    let mut peer = Peer::new();
    peer.feed(&[&Protocol::Sasl.header()[..], &sasl_init("ANONYMOUS", None), &Protocol::Amqp.header()].concat());
    assert!(matches!(peer.event(), Event::SaslInit(_)));
    peer.engine.sasl_outcome(SaslOutcome::Auth);
    assert_eq!(peer.event(), Event::Closed(Ending::Refused));
    assert!(peer.engine.is_over());
    assert_eq!(peer.engine.deadline(), None);
    assert!(matches!(peer.heard.back(), Some(Heard::Sasl(_))));
}

#[test]
fn sasl_does_not_come_twice() {
    let mut peer = Peer::new();
    peer.feed(&[&Protocol::Sasl.header()[..], &sasl_init("ANONYMOUS", None)].concat());
    assert!(matches!(peer.event(), Event::SaslInit(_)));
    peer.engine.sasl_outcome(SaslOutcome::Ok);
    peer.feed(&Protocol::Sasl.header());
    assert_eq!(peer.event(), Event::Closed(Ending::ForeignProtocol));
}

#[test]
fn other_protocols_are_told_what_is_spoken() {
    for bytes in [&b"AMQP\x00\x00\x09\x01"[..], b"AMQP\x02\x01\x00\x00", b"GET / HTTP/1.1\r\n", b"X"] {
        let mut peer = Peer::new();
        peer.feed(bytes);
        assert_eq!(peer.event(), Event::Closed(Ending::ForeignProtocol));
        assert_eq!(peer.heard, [Heard::Header(Protocol::Amqp)]);
    }
}

#[test]
fn open_says_everything_explicitly() {
    let mut peer = Peer::new();
    peer.feed(&Protocol::Amqp.header());
    peer.say(0, &Performative::Open(Box::default()));
    assert_eq!(peer.heard.pop_front(), Some(Heard::Header(Protocol::Amqp)));
    let expected = Open {
        container_id: "mooring-hub".into(),
        max_frame_size: Some(65536),
        channel_max: Some(8191),
        idle_time_out: Some(240_000),
        ..Open::default()
    };
    assert_eq!(peer.hear(), (0, Performative::Open(Box::new(expected))));
}

#[test]
fn whoever_begins_with_something_else_than_open_hears_an_open_and_a_close() {
    let mut peer = Peer::new();
    peer.feed(&Protocol::Amqp.header());
    peer.say(0, &Performative::Begin(Box::new(begin())));
    peer.heard.pop_front();
    assert!(matches!(peer.hear(), (0, Performative::Open(_))));
    assert!(matches!(peer.hear(), (0, Performative::Close(Some(_)))));
    assert_eq!(failed_with(peer.event()), AmqpError::NotAllowed.into());
}

#[test]
fn a_foreign_host_can_be_refused_after_open() {
    let mut peer = Peer::opened(65536);
    let refusal = error(AmqpError::NotFound, "there is no such hub here");
    peer.engine.close(Some(refusal.clone()));
    assert_eq!(peer.hear(), (0, Performative::Close(Some(refusal))));
    // What still comes is let fall.
    peer.say(0, &Performative::Begin(Box::new(begin())));
    peer.hears_nothing();
    peer.say(0, &Performative::Close(None));
    assert_eq!(peer.event(), Event::Closed(Ending::ByHub));
    peer.hears_nothing();
}

#[test]
fn a_peer_that_does_not_answer_close_is_not_waited_for() {
    let mut peer = Peer::opened(65536);
    peer.engine.close(None);
    assert_eq!(peer.engine.deadline(), Some(peer.now + Duration::from_secs(2)));
    peer.wait(Duration::from_secs(2));
    assert_eq!(peer.event(), Event::Closed(Ending::ByHub));
}

#[test]
fn the_peers_close_is_answered() {
    let mut peer = Peer::opened(65536);
    let why = error(ConnectionError::ConnectionForced, "bye");
    peer.say(0, &Performative::Close(Some(why.clone())));
    assert_eq!(peer.hear(), (0, Performative::Close(None)));
    assert_eq!(peer.event(), Event::Closed(Ending::ByPeer(Some(why))));
    // It is over: nothing has an effect.
    peer.feed(&said(0, &Performative::Begin(Box::new(begin())), &[]));
    peer.engine.close(None);
    peer.wait(Duration::from_secs(1000));
    peer.hears_nothing();
    peer.no_event();
}

#[test]
fn strangers_have_fifteen_seconds() {
    let mut peer = Peer::new();
    peer.feed(&Protocol::Amqp.header());
    peer.say(0, &open(65536));
    peer.event();
    peer.heard.clear();
    peer.wait(Duration::from_millis(14_999));
    peer.no_event();
    peer.wait(Duration::from_millis(1));
    let (_, Performative::Close(Some(error))) = peer.hear() else { panic!("close") };
    assert_eq!(error.condition, AmqpError::UnauthorizedAccess.into());
    assert_eq!(peer.event(), Event::Closed(Ending::Late));

    let mut silent = Peer::new();
    silent.wait(Duration::from_secs(15));
    assert_eq!(silent.event(), Event::Closed(Ending::Late));
    silent.hears_nothing();
}

#[test]
fn a_stranger_that_comes_nearer_has_as_long_for_the_next_step_and_not_for_ever() {
    let mut peer = Peer::new();
    peer.wait(Duration::from_secs(14));
    peer.feed(&Protocol::Amqp.header());
    peer.say(0, &open(65536));
    peer.event();
    peer.wait(Duration::from_secs(14));
    peer.say(0, &Performative::Begin(Box::new(begin())));
    peer.event();
    for handle in 0..3 {
        peer.wait(Duration::from_secs(14));
        peer.say(0, &Performative::Attach(Box::new(attach(&format!("link-{handle}"), handle, Role::Sender))));
        peer.event();
    }
    peer.wait(Duration::from_secs(14));
    // Nobody needs so many links to bring a token.
    peer.say(0, &Performative::Attach(Box::new(attach("one more", 3, Role::Sender))));
    peer.event();
    peer.wait(Duration::from_secs(1));
    assert_eq!(peer.event(), Event::Closed(Ending::Late));
}

#[test]
fn whoever_is_trusted_may_be_silent_for_one_and_a_half_times_as_long_as_was_said() {
    let mut peer = Peer::opened(65536);
    peer.wait(Duration::from_secs(300));
    peer.feed(&[0, 0, 0, 8, 2, 0, 0, 0]);
    peer.wait(Duration::from_secs(359));
    peer.no_event();
    assert_eq!(peer.engine.deadline(), Some(peer.now + Duration::from_secs(1)));
    peer.wait(Duration::from_secs(1));
    let (_, Performative::Close(Some(error))) = peer.hear() else { panic!("close") };
    assert_eq!(error.condition, AmqpError::ResourceLimitExceeded.into());
    assert!(error.description.unwrap().contains("local-idle-timeout"));
    assert_eq!(peer.event(), Event::Closed(Ending::Silent));
}

#[test]
fn an_idle_hub_shows_that_it_lives_twice_as_often_as_the_peer_wants() {
    let mut peer = Peer::new();
    peer.feed(&Protocol::Amqp.header());
    peer.say(0, &Performative::Open(Box::new(Open { idle_time_out: Some(10_000), ..Open::default() })));
    peer.engine.trust();
    peer.heard.clear();
    for _ in 0..3 {
        assert_eq!(peer.engine.deadline(), Some(peer.now + Duration::from_secs(5)));
        peer.wait(Duration::from_millis(4_999));
        peer.hears_nothing();
        peer.wait(Duration::from_millis(1));
        assert_eq!(peer.heard.pop_front(), Some(Heard::Alive));
    }
    // What is sent otherwise is a sign of life too.
    peer.wait(Duration::from_secs(3));
    peer.events.clear();
    peer.begin(0);
    peer.wait(Duration::from_secs(4));
    peer.hears_nothing();
    peer.wait(Duration::from_secs(1));
    assert_eq!(peer.heard.pop_front(), Some(Heard::Alive));
}

#[test]
fn an_idle_time_out_of_nothing_is_none_and_one_of_a_moment_is_refused() {
    for (idle_time_out, refused) in [(None, false), (Some(0), false), (Some(500), false), (Some(499), true), (Some(1), true)] {
        let mut peer = Peer::new();
        peer.feed(&Protocol::Amqp.header());
        peer.say(0, &Performative::Open(Box::new(Open { idle_time_out, ..Open::default() })));
        let event = peer.event();
        assert_eq!(matches!(event, Event::Closed(Ending::Failed(_))), refused, "{idle_time_out:?}: {event:?}");
    }
}

#[test]
fn strangers_get_little() {
    let opened = || {
        let mut peer = Peer::new();
        peer.feed(&Protocol::Amqp.header());
        peer.say(0, &open(65536));
        peer.event();
        peer.heard.clear();
        peer
    };
    let mut peer = opened();
    for channel in 0..4 {
        peer.say(channel, &Performative::Begin(Box::new(begin())));
        assert!(matches!(peer.event(), Event::SessionBegun(_)));
    }
    peer.say(4, &Performative::Begin(Box::new(begin())));
    assert_eq!(failed_with(peer.event()), AmqpError::ResourceLimitExceeded.into());

    // A frame is refused by its header, before its bytes are kept.
    let mut peer = opened();
    let size = Limits::STRANGER.frame_bytes + 1;
    peer.feed(&[&size.to_be_bytes()[..], &[2, 0, 0, 0]].concat());
    assert_eq!(failed_with(peer.event()), ConnectionError::FramingError.into());

    let mut trusted = Peer::opened(65536);
    trusted.feed(&[&size.to_be_bytes()[..], &[2, 0, 0, 0]].concat());
    trusted.no_event();
}

#[test]
fn frames_have_a_largest_size_and_a_header_that_holds() {
    let long = [0, 1, 0, 1, 2, 0, 0, 0];
    let short_offset = [0, 0, 0, 8, 1, 0, 0, 0];
    let offset_beyond = [0, 0, 0, 8, 3, 0, 0, 0];
    let unknown_type = [0, 0, 0, 8, 2, 9, 0, 0];
    let sasl = [0, 0, 0, 8, 2, 1, 0, 0];
    for header in [long, short_offset, offset_beyond, unknown_type, sasl] {
        let mut peer = Peer::opened(65536);
        peer.feed(&header);
        assert_eq!(failed_with(peer.event()), ConnectionError::FramingError.into(), "{header:?}");
        assert!(matches!(peer.hear(), (0, Performative::Close(Some(_)))));
    }
    // An extended header is passed over (AMQP 2.3.1).
    let mut peer = Peer::opened(65536);
    peer.feed(&[0, 0, 0, 12, 3, 0, 0, 0, 1, 2, 3, 4]);
    peer.no_event();
}

#[test]
fn an_idle_connection_keeps_no_buffers() {
    let mut peer = Peer::with_session(65536, 0);
    peer.sender(0, 0, 100);
    peer.receiver(0, 1);
    peer.run();
    assert_eq!(peer.engine.take_output(peer.now).capacity(), 0);
    // The engine itself beside what its session and links take.
    let bytes = size_of_val(&peer.engine) + peer.engine.heap_bytes();
    assert!(bytes < 1536, "{bytes} bytes");
}
