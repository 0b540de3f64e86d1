//! MQTT's packets, as a stream of them.

use std::sync::OnceLock;

use mooring_hub::core::host::HubNames;
use mooring_hub::mqtt::codec::{Decoded, Limits, decode, encode};
use mooring_hub::mqtt::connect::admission;
use mooring_hub::mqtt::packet::Packet;
use mooring_hub::mqtt::topic;

/// Packet after packet, up to the first that is none. What is decoded is encoded to the same again, and no beginning of it is taken for
/// something else.
///
/// # Panics
/// When a promise is broken.
pub fn stream(data: &[u8]) {
    let (cut, mut rest) = match data.split_first() {
        Some((cut, rest)) => (usize::from(*cut), rest),
        None => return,
    };
    while let Ok(Decoded::Packet { packet, length }) = decode(rest, Limits::CONNECTED) {
        assert!(length > 0 && length <= rest.len());
        let beginning = decode(&rest[..cut % length], Limits::CONNECTED);
        assert!(matches!(beginning, Ok(Decoded::Incomplete { total }) if total.is_none_or(|total| total == length)), "{beginning:?}");
        let mut written = Vec::new();
        encode(&packet, &mut written).unwrap_or_else(|error| panic!("{error}: {packet:?}"));
        assert_eq!(decode(&written, Limits::CONNECTED), Ok(Decoded::Packet { packet: packet.clone(), length: written.len() }));
        match packet {
            Packet::Connect(connect) => drop(admission(&connect, names())),
            Packet::Publish(publish) => drop(topic::telemetry("D", publish.topic, publish.payload)),
            Packet::Subscribe(subscribe) => subscribe.filters.iter().for_each(|(filter, _)| {
                let _ = topic::subscription("D", filter);
            }),
            _ => {}
        }
        rest = &rest[length..];
    }
}

fn names() -> &'static HubNames {
    static NAMES: OnceLock<HubNames> = OnceLock::new();
    NAMES.get_or_init(|| HubNames::new("hub.test", &["other.test".into()]))
}
