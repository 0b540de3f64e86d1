//! What unmodified SDKs said on the wire to this engine, byte for byte, and what it answers.
//!
//! The `.hex` files hold what each client wrote, a line for each read: azure-eventhub 5.15.1 and azure-iot-hub 2.7.0 (uamqp 1.6.11) for
//! Python; azure-iot-device 1.18.4 with azure-iot-device-amqp 1.14.4, azure-iothub 1.16.6 and @azure/event-hubs 6.0.4 for Node. What Java
//! and Go say is put together frame by frame. The snapshots beside this file tell the whole conversations. The caller in them grants every link, answers each request on `$cbs` and `$management` on the receiver of the same session, and has one
//! message of 6000 bytes for each receiver of commands, receipts or events. Contents are not the engine's business, so answers are opaque.

use std::fmt::Write as _;

use bytes::BytesMut;
use fe2o3_amqp_types::definitions::LinkError;
use fe2o3_amqp_types::messaging::{DeliveryState, Source, Target};

use super::super::error::error;
use super::super::frame::{self, Frame, FrameKind, Protocol};
use super::super::link::{LinkId, Role};
use super::super::performative::{AnyTarget, Attach, Open, Performative};
use super::super::sasl::{SaslInit, SaslOutcome};
use super::super::{Connection, DeliveryTag, Ending, Event, Outgoing, SessionId};
use super::handshake::sasl_init;
use super::peer::{TERMS, TRUST_WITHIN, attach, begin, credit, said, start};

#[test]
fn python_event_hubs_properties() {
    insta::assert_snapshot!(replayed(include_str!("transcripts/python_event_hubs_properties.hex")));
}

#[test]
fn python_event_hubs_reader() {
    insta::assert_snapshot!(replayed(include_str!("transcripts/python_event_hubs_reader.hex")));
}

#[test]
fn python_service() {
    insta::assert_snapshot!(replayed(include_str!("transcripts/python_service.hex")));
}

#[test]
fn node_event_hubs_reader() {
    insta::assert_snapshot!(replayed(include_str!("transcripts/node_event_hubs_reader.hex")));
}

#[test]
fn node_device() {
    insta::assert_snapshot!(replayed(include_str!("transcripts/node_device.hex")));
}

#[test]
fn node_service() {
    insta::assert_snapshot!(replayed(include_str!("transcripts/node_service.hex")));
}

/// The same bytes one by one: who said what does not depend on where reads end.
#[test]
fn byte_by_byte_every_transcript_is_answered_the_same() {
    for hex in [
        include_str!("transcripts/python_event_hubs_properties.hex"),
        include_str!("transcripts/python_event_hubs_reader.hex"),
        include_str!("transcripts/python_service.hex"),
        include_str!("transcripts/node_event_hubs_reader.hex"),
        include_str!("transcripts/node_device.hex"),
        include_str!("transcripts/node_service.hex"),
    ] {
        let said_by_hub = |told: &str| told.lines().filter(|line| !line.starts_with("C ")).map(str::to_owned).collect::<Vec<_>>();
        let lines = replayed(hex);
        let bytes: Vec<Vec<u8>> = hex.lines().flat_map(bytes_of).map(|byte| vec![byte]).collect();
        assert_eq!(said_by_hub(&conversation(bytes.into_iter())), said_by_hub(&lines));
    }
}

/// Java says everything up to its credit before it has heard a word, on two sessions, in frames of 4096, and leaves out the end of the
/// link that is its own.
#[test]
fn java_device() {
    let open = Open { hostname: Some("hub.test".into()), max_frame_size: Some(4096), idle_time_out: Some(115_000), ..Open::default() };
    let link =
        |name: &str, handle, role| Attach { snd_settle_mode: Some(if role == Role::Sender { 0 } else { 2 }), ..attach(name, handle, role) };
    let node = |address: &str| Some(AnyTarget::Target(Box::new(Target { address: Some(address.into()), ..Target::default() })));
    let from = |address: &str| Some(Box::new(Source { address: Some(address.into()), ..Source::default() }));
    let cbs_sender = Attach { source: None, target: node("$cbs"), ..link("cbs-sender", 0, Role::Sender) };
    let cbs_receiver = Attach { source: from("$cbs"), target: None, ..link("cbs-receiver", 1, Role::Receiver) };
    let telemetry = Attach { source: None, target: node("/devices/D/messages/events"), ..link("sender_link_telemetry-D", 0, Role::Sender) };
    let commands =
        Attach { source: from("/devices/D/messages/devicebound"), target: None, ..link("receiver_link_telemetry-D", 1, Role::Receiver) };
    let frame = |channel, performative: Performative| said(channel, &performative, &[]);
    let at_once = [
        Protocol::Sasl.header().to_vec(),
        sasl_init("ANONYMOUS", None),
        Protocol::Amqp.header().to_vec(),
        frame(0, Performative::Open(Box::new(open))),
        frame(0, Performative::Begin(Box::new(begin()))),
        frame(1, Performative::Begin(Box::new(begin()))),
        frame(0, Performative::Attach(Box::new(cbs_sender))),
        frame(0, Performative::Attach(Box::new(cbs_receiver))),
        frame(0, Performative::Flow(credit(1, 0, 1024))),
    ]
    .concat();
    let token = super::peer::delivery(0, 0);
    let links = [
        frame(1, Performative::Attach(Box::new(telemetry))),
        frame(1, Performative::Attach(Box::new(commands))),
        frame(1, Performative::Flow(credit(1, 0, 1024))),
    ]
    .concat();
    insta::assert_snapshot!(conversation([at_once, said(0, &Performative::Transfer(token), b"put-token"), links].into_iter()));
}

/// The C SDK (uamqp-c) says that it takes as many transfers as there are numbers, in `begin` and in every flow.
#[test]
fn c_device() {
    let window = u32::MAX;
    let begin = super::super::performative::Begin { incoming_window: window, outgoing_window: 1, ..begin() };
    let node = |address: &str| Some(AnyTarget::Target(Box::new(Target { address: Some(address.into()), ..Target::default() })));
    let from = |address: &str| Some(Box::new(Source { address: Some(address.into()), ..Source::default() }));
    let cbs_sender = Attach { source: from("$cbs"), target: node("$cbs"), ..attach("$cbs-sender", 1, Role::Sender) };
    let cbs_receiver = Attach { source: from("$cbs"), target: node("$cbs"), ..attach("$cbs-receiver", 0, Role::Receiver) };
    let commands = Attach { source: from("/devices/D/messages/devicebound"), ..attach("link-rcv-D", 2, Role::Receiver) };
    let frame = |performative: Performative| said(0, &performative, &[]);
    let flow =
        |handle, received| Performative::Flow(super::super::flow::Flow { incoming_window: window, ..credit(handle, received, 10_000) });
    let open = Open { max_frame_size: Some(u32::MAX), channel_max: Some(65535), ..Open::default() };
    let pieces = [
        [Protocol::Sasl.header().to_vec(), sasl_init("MSSBCBS", None)].concat(),
        [Protocol::Amqp.header().to_vec(), frame(Performative::Open(Box::new(open))), frame(Performative::Begin(Box::new(begin)))].concat(),
        [frame(Performative::Attach(Box::new(cbs_receiver))), frame(Performative::Attach(Box::new(cbs_sender))), frame(flow(0, 0))]
            .concat(),
        said(0, &Performative::Transfer(super::peer::delivery(1, 0)), b"put-token"),
        [
            frame(super::peer::disposition(Role::Receiver, 0, 0, true, Some(super::peer::accepted()))),
            frame(Performative::Attach(Box::new(commands))),
            frame(Performative::Flow(super::super::flow::Flow {
                next_incoming_id: Some(1),
                incoming_window: window,
                ..credit(2, 0, 10_000)
            })),
        ]
        .concat(),
        frame(super::peer::disposition(Role::Receiver, 1, 1, true, Some(super::peer::accepted()))),
    ];
    insta::assert_snapshot!(conversation(pieces.into_iter()));
}

/// Java's reader asks for the hub's properties before it has shown a token anywhere but in the request, with a settled message and one
/// credit, and on a session of its own.
#[test]
fn java_event_hubs() {
    let node = |address: &str| Some(AnyTarget::Target(Box::new(Target { address: Some(address.into()), ..Target::default() })));
    let from = |address: &str| Some(Box::new(Source { address: Some(address.into()), ..Source::default() }));
    let sender = Attach { snd_settle_mode: Some(1), target: node("$management"), ..attach("mgmt:sender", 0, Role::Sender) };
    let receiver =
        Attach { source: from("$management"), target: node("management-client-reply-to"), ..attach("mgmt:receiver", 1, Role::Receiver) };
    let events =
        Attach { rcv_settle_mode: Some(1), source: from("EH/ConsumerGroups/$Default/Partitions/0"), ..attach("events", 0, Role::Receiver) };
    let frame = |channel, performative: Performative| said(channel, &performative, &[]);
    let open = Open { max_frame_size: Some(65536), idle_time_out: Some(30_000), ..Open::default() };
    let request = super::super::transfer::Transfer { settled: Some(true), ..super::peer::delivery(0, 0) };
    let pieces = [
        [Protocol::Sasl.header().to_vec(), sasl_init("ANONYMOUS", None)].concat(),
        [Protocol::Amqp.header().to_vec(), frame(0, Performative::Open(Box::new(open))), frame(0, Performative::Begin(Box::new(begin())))]
            .concat(),
        [
            frame(0, Performative::Attach(Box::new(sender))),
            frame(0, Performative::Attach(Box::new(receiver))),
            frame(0, Performative::Flow(credit(1, 0, 1))),
        ]
        .concat(),
        said(0, &Performative::Transfer(request), b"READ"),
        [
            frame(1, Performative::Begin(Box::new(begin()))),
            frame(1, Performative::Attach(Box::new(events))),
            frame(1, Performative::Flow(credit(0, 0, 1))),
        ]
        .concat(),
        frame(1, super::peer::disposition(Role::Receiver, 0, 0, false, Some(super::peer::accepted()))),
    ];
    insta::assert_snapshot!(conversation(pieces.into_iter()));
}

/// go-amqp takes an attach with neither source nor target and the detach after it for a refusal, and finds the way in its error.
#[test]
fn go_is_shown_another_way() {
    let mut peer = super::peer::Peer::with_session(65536, 0);
    let events = Attach {
        source: Some(Box::new(Source { address: Some("messages/events/".into()), ..Source::default() })),
        ..attach("r", 0, Role::Receiver)
    };
    peer.say(0, &Performative::Attach(Box::new(events)));
    let Event::Attach(request) = peer.event() else { panic!("asked") };
    let mut redirect = error(LinkError::Redirect, "");
    let mut info = fe2o3_amqp_types::definitions::Fields::new();
    for (key, value) in [("hostname", "hub.test"), ("network-host", "hub.test"), ("address", "amqps://hub.test:5671/EH/")] {
        info.insert(key.into(), serde_amqp::Value::String(value.into()));
    }
    info.insert("port".into(), serde_amqp::Value::Int(5671));
    redirect.info = Some(Box::new(info));
    peer.engine.refuse_link(request.link, redirect.clone());
    assert!(matches!(peer.hear(), (0, Performative::Attach(attach)) if attach.source.is_none() && attach.target.is_none()));
    assert!(matches!(peer.hear(), (0, Performative::Detach(detach)) if detach.closed && detach.error == Some(redirect)));
}

fn replayed(hex: &str) -> String {
    conversation(hex.lines().map(bytes_of))
}

fn bytes_of(line: &str) -> Vec<u8> {
    (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect()
}

/// Plays a client's part to the end, with a caller that grants everything, and tells who said what.
fn conversation(pieces: impl Iterator<Item = Vec<u8>>) -> String {
    let now = start();
    let mut caller = Caller::default();
    let (mut told, mut said, mut input) = (String::new(), Vec::new(), BytesMut::new());
    for piece in pieces {
        said.extend_from_slice(&piece);
        tell("C", &mut said, &mut told);
        input.extend_from_slice(&piece);
        caller.engine.heard(now);
        loop {
            while let Some(event) = caller.engine.receive(&mut input) {
                caller.act(event);
            }
            let mut output = caller.engine.take_output(now);
            if output.is_empty() {
                break;
            }
            tell("S", &mut output, &mut told);
            assert!(output.is_empty(), "whole frames are written");
        }
    }
    assert!(said.is_empty() && input.is_empty(), "the transcript ends in the middle of a frame");
    if let Some(ending) = &caller.ending {
        writeln!(told, "{ending:?}").unwrap();
    }
    told
}

/// Who owns the nodes in a transcript.
struct Caller {
    engine: Connection,
    senders: Vec<(LinkId, String)>,
    receivers: Vec<(SessionId, String, LinkId)>,
    waiting: Vec<(LinkId, Vec<u8>)>,
    ending: Option<Ending>,
}

impl Default for Caller {
    fn default() -> Self {
        let engine = Connection::new(&TERMS, TRUST_WITHIN, start());
        Self { engine, senders: Vec::new(), receivers: Vec::new(), waiting: Vec::new(), ending: None }
    }
}

impl Caller {
    fn act(&mut self, event: Event) {
        match event {
            Event::SaslInit(_) => self.engine.sasl_outcome(SaslOutcome::Ok),
            Event::Attach(request) => {
                let mut granted = request.as_asked(100);
                granted.source.filter = request.source.as_ref().and_then(|source| source.filter.clone());
                self.engine.accept_link(request.link, granted);
                if request.peer == Role::Sender {
                    let target = request.target.and_then(|target| target.address).unwrap_or_default();
                    self.senders.push((request.link, target));
                } else {
                    let source = request.source.and_then(|source| source.address).unwrap_or_default();
                    if ["devicebound", "partitions", "feedback"].iter().any(|node| source.to_lowercase().contains(node)) {
                        self.waiting.push((request.link, vec![7; 6000]));
                    }
                    self.receivers.push((request.link.session, source, request.link));
                }
            }
            Event::Delivery(delivery) => {
                // A token, or a request that carries one.
                self.engine.trust();
                if !delivery.settled {
                    self.engine.settle(delivery.link, delivery.id, super::peer::accepted());
                }
                let node = &self.senders.iter().find(|(link, _)| *link == delivery.link).unwrap().1;
                let answers = |(session, source, _): &&(SessionId, String, LinkId)| {
                    node.contains('$') && *session == delivery.link.session && source == node
                };
                if let Some((_, _, link)) = self.receivers.iter().rev().find(answers) {
                    self.waiting.push((*link, b"answer".to_vec()));
                }
            }
            Event::Disposition(disposition) if !disposition.settled => {
                let (session, first, last) = disposition.range().unwrap();
                self.engine.settle_sent(session, first, last, disposition.state);
            }
            Event::Closed(ending) => self.ending = Some(ending),
            _ => {}
        }
        let Self { engine, waiting, .. } = self;
        waiting.retain(|(link, payload)| {
            let message = Outgoing { tag: DeliveryTag::new(&[5; 16]).unwrap(), message_format: 0, settled: false, payload: &[payload] };
            engine.send(*link, &message).is_err()
        });
    }
}

/// Takes what is whole out of `bytes`, and tells it.
fn tell(who: &str, bytes: &mut Vec<u8>, told: &mut String) {
    loop {
        if let Ok(Some(protocol)) = Protocol::read(bytes) {
            writeln!(told, "{who} {protocol:?} header").unwrap();
            bytes.drain(..frame::HEADER_BYTES);
            continue;
        }
        let Some(frame) = Frame::read(bytes, usize::MAX).unwrap() else { return };
        let whole: Vec<u8> = bytes.drain(..frame.size).collect();
        let body = &whole[frame.body..];
        match (frame.kind, body) {
            (FrameKind::Sasl, _) => match SaslInit::read(body) {
                Ok(init) => writeln!(told, "{who} sasl-init {}", init.mechanism),
                Err(_) => writeln!(told, "{who} sasl {}", if body[2] == 0x40 { "mechanisms" } else { "outcome" }),
            }
            .unwrap(),
            (FrameKind::Amqp, []) => writeln!(told, "{who} empty frame").unwrap(),
            (FrameKind::Amqp, _) => {
                let (performative, length) = Performative::read(body).unwrap();
                writeln!(told, "{who} {}: {}", frame.channel, words(&performative, body.len() - length)).unwrap();
            }
        }
    }
}

fn words(performative: &Performative, payload: usize) -> String {
    let or_none = |value: Option<u32>| value.map_or("-".to_owned(), |value| value.to_string());
    match performative {
        Performative::Open(open) => {
            format!("open frame {} channel {:?} idle {}", or_none(open.max_frame_size), open.channel_max, or_none(open.idle_time_out))
        }
        Performative::Begin(begin) => format!("begin {:?} window {}", begin.remote_channel, begin.incoming_window),
        Performative::Attach(attach) => {
            let source = attach.source.as_ref().map(|source| source.address.as_deref().unwrap_or("?"));
            let target = match &attach.target {
                Some(AnyTarget::Target(target)) => Some(target.address.as_deref().unwrap_or("?")),
                other => other.as_ref().map(|_| "coordinator"),
            };
            let modes = (attach.snd_settle_mode, attach.rcv_settle_mode);
            format!("attach {} {:?} {source:?} to {target:?} modes {modes:?}", attach.handle, attach.role)
        }
        Performative::Flow(flow) => {
            let (handle, credit) = (or_none(flow.handle), or_none(flow.link_credit));
            format!("flow {handle} count {} credit {credit} drain {} echo {}", or_none(flow.delivery_count), flow.drain, flow.echo)
        }
        Performative::Transfer(transfer) => {
            let (id, more) = (or_none(transfer.delivery_id), if transfer.more { " more" } else { "" });
            format!("transfer {} id {id} settled {:?} {payload} bytes{more}", transfer.handle, transfer.settled)
        }
        Performative::Disposition(disposition) => {
            let state = disposition.state.as_ref().map_or("-", |state| match state {
                DeliveryState::Accepted(_) => "accepted",
                DeliveryState::Rejected(_) => "rejected",
                DeliveryState::Released(_) => "released",
                DeliveryState::Modified(_) => "modified",
                DeliveryState::Received(_) => "received",
            });
            let last = disposition.last.unwrap_or(disposition.first);
            format!("disposition {:?} {}..={last} {state} settled {}", disposition.role, disposition.first, disposition.settled)
        }
        Performative::Detach(detach) => format!("detach {} closed {}", detach.handle, detach.closed),
        Performative::End(_) => "end".to_owned(),
        Performative::Close(_) => "close".to_owned(),
    }
}
