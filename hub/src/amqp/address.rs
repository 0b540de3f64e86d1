//! Which node an address means.
//!
//! SDKs write one node in many ways: with or without a slash, as a full URI, in any case of letters, with ids encoded or plain. What is an id
//! is compared as it is, everything else without case.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::core::device_id::DeviceId;

/// A place in the hub that a link can lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node<'a> {
    /// `$cbs`: tokens.
    Cbs,
    /// `$management`, of the hub itself or of what an address names before it: what there is to read.
    Management,
    /// `/devices/{id}/messages/events`: a device sends.
    DeviceEvents(DeviceId),
    /// `/devices/{id}/messages/devicebound`: a device receives its commands.
    DeviceCommands(DeviceId),
    /// `/messages/devicebound`: back ends send commands.
    Commands,
    /// `/messages/serviceBound/feedback`: back ends receive receipts.
    Feedback,
    /// `/messages/serviceBound/filenotifications`.
    FileNotifications,
    /// `{name}/ConsumerGroups/{group}/Partitions/{id}`: back ends read events.
    Partition {
        /// The Event Hub-compatible name, or `messages/events`.
        name: Cow<'a, str>,
        /// The consumer group.
        group: Cow<'a, str>,
        /// The partition's id, which need not exist.
        partition: Cow<'a, str>,
    },
    /// `messages/events` and what an old reader puts behind it, unless that is a partition: it is told where to go.
    Redirected {
        /// What follows `messages/events`, with its slash.
        rest: Cow<'a, str>,
    },
}

/// The name of the events' endpoint in hubs' own addresses.
const EVENTS: [&str; 2] = ["messages", "events"];

impl<'a> Node<'a> {
    /// The node of an address, `None` when there is none.
    #[must_use]
    pub fn parse(address: &'a str) -> Option<Self> {
        let path = path_of(address);
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let is = |at: usize, word: &str| segments.get(at).is_some_and(|segment| segment.eq_ignore_ascii_case(word));
        match segments.len() {
            1 if is(0, "$cbs") => Some(Self::Cbs),
            _ if segments.last().is_some_and(|last| last.eq_ignore_ascii_case("$management")) && segments.len() < 3 => {
                Some(Self::Management)
            }
            4 if is(0, "devices") && is(2, "messages") => {
                let device = device_id(segments[1])?;
                if is(3, "events") {
                    Some(Self::DeviceEvents(device))
                } else {
                    is(3, "devicebound").then_some(Self::DeviceCommands(device))
                }
            }
            2 if is(0, "messages") && is(1, "devicebound") => Some(Self::Commands),
            3 if is(0, "messages") && is(1, "servicebound") && is(2, "feedback") => Some(Self::Feedback),
            3 if is(0, "messages") && is(1, "servicebound") && is(2, "filenotifications") => Some(Self::FileNotifications),
            6 if is(0, EVENTS[0]) && is(1, EVENTS[1]) && is(2, "consumergroups") && is(4, "partitions") => {
                let [.., group, _, partition] = segments[..] else { return None };
                Some(Self::Partition { name: EVENTS.join("/").into(), group: decoded(group), partition: decoded(partition) })
            }
            _ if is(0, EVENTS[0]) && is(1, EVENTS[1]) => {
                let rest = path.trim_start_matches('/').get(EVENTS[0].len() + 1 + EVENTS[1].len()..)?;
                Some(Self::Redirected { rest: rest.into() })
            }
            5 if is(1, "consumergroups") && is(3, "partitions") => {
                let [name, _, group, _, partition] = segments[..] else { return None };
                Some(Self::Partition { name: decoded(name), group: decoded(group), partition: decoded(partition) })
            }
            _ => None,
        }
    }
}

/// Whom a command is for, as its `to` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressee {
    /// The device.
    pub device: DeviceId,
    /// The device that is meant if there is none of that name and the id was not encoded: only Node's SDK encodes it, and nothing says
    /// whether an id with a percent sign was.
    pub unencoded: Option<DeviceId>,
}

impl Addressee {
    /// From `/devices/{id}/messages/devicebound`, in every spelling.
    #[must_use]
    pub fn parse(to: &str) -> Option<Self> {
        let Some(Node::DeviceCommands(device)) = Node::parse(to) else { return None };
        let written = path_of(to).split('/').filter(|segment| !segment.is_empty()).nth(1)?;
        let unencoded = DeviceId::parse(written).ok().filter(|unencoded| *unencoded != device);
        Some(Self { device, unencoded })
    }
}

/// An address without the scheme and host that some SDKs put before it.
fn path_of(address: &str) -> &str {
    match address.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => address,
    }
}

/// Some clients encode the id, which may hold a percent sign of its own.
fn device_id(segment: &str) -> Option<DeviceId> {
    DeviceId::parse(&decoded(segment)).or_else(|_| DeviceId::parse(segment)).ok()
}

fn decoded(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment).decode_utf8().unwrap_or(Cow::Borrowed(segment))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn device(id: &str) -> DeviceId {
        DeviceId::parse(id).unwrap()
    }

    fn partition(name: &'static str, group: &'static str, partition: &'static str) -> Node<'static> {
        Node::Partition { name: name.into(), group: group.into(), partition: partition.into() }
    }

    #[test]
    fn every_spelling_of_the_sdks_is_known() {
        let cases = [
            ("$cbs", Node::Cbs),
            ("$CBS", Node::Cbs),
            ("amqps://hub.test/$cbs", Node::Cbs),
            ("$management", Node::Management),
            ("EH/$management", Node::Management),
            ("/devices/D/messages/events", Node::DeviceEvents(device("D"))),
            ("amqps://hub.test/devices/D/messages/events/", Node::DeviceEvents(device("D"))),
            ("/devices/a%3Ab/messages/deviceBound", Node::DeviceCommands(device("a:b"))),
            ("/devices/100%/messages/devicebound", Node::DeviceCommands(device("100%"))),
            ("/messages/devicebound", Node::Commands),
            ("amqps://hub.test:5671/messages/deviceBound", Node::Commands),
            ("/messages/serviceBound/feedback", Node::Feedback),
            ("/messages/servicebound/feedback", Node::Feedback),
            ("/messages/serviceBound/filenotifications", Node::FileNotifications),
            ("EH/ConsumerGroups/$Default/Partitions/0", partition("EH", "$Default", "0")),
            ("/EH/ConsumerGroups/$Default/Partitions/0", partition("EH", "$Default", "0")),
            ("amqps://hub.test/EH/consumergroups/a%20b/Partitions/x", partition("EH", "a b", "x")),
            ("messages/events/", Node::Redirected { rest: "/".into() }),
            ("/messages/events", Node::Redirected { rest: "".into() }),
            ("messages/events/$management", Node::Redirected { rest: "/$management".into() }),
            ("messages/events/ConsumerGroups/G/Partitions/3", partition("messages/events", "G", "3")),
            ("amqps://hub.test/Messages/Events/consumergroups/G/partitions/3/", partition("messages/events", "G", "3")),
            ("messages/events/ConsumerGroups/G", Node::Redirected { rest: "/ConsumerGroups/G".into() }),
        ];
        for (address, node) in cases {
            assert_eq!(Node::parse(address), Some(node), "{address}");
        }
    }

    #[test]
    fn other_addresses_lead_nowhere() {
        for address in [
            "",
            "/",
            "amqps://hub.test",
            "EH",
            "/devices/D",
            "/devices//messages/events",
            "/devices/D/messages/other",
            "/devices/D/twin",
            "/devices/sp ace/messages/events",
            "/messages/servicebound",
            "EH/ConsumerGroups/G/Partitions",
            "EH/ConsumerGroups/G/Partitions/0/1",
        ] {
            assert_eq!(Node::parse(address), None, "{address}");
        }
    }

    #[test]
    fn an_addressee_may_be_encoded_or_not() {
        for (to, id, unencoded) in [
            ("/devices/D/messages/devicebound", "D", None),
            ("amqps://hub.test/devices/D/messages/deviceBound", "D", None),
            ("/devices/a%3Ab/messages/devicebound", "a:b", Some("a%3Ab")),
            ("/devices/100%/messages/devicebound", "100%", None),
            ("/devices/a%20b/messages/devicebound", "a%20b", None),
        ] {
            let addressee = Addressee { device: device(id), unencoded: unencoded.map(device) };
            assert_eq!(Addressee::parse(to), Some(addressee), "{to}");
        }
        for to in ["/devices/D/messages/events", "/messages/devicebound", "/devices/D/modules/M/messages/devicebound", ""] {
            assert_eq!(Addressee::parse(to), None, "{to}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(address in "\\PC{0,60}", tail in "(messages|/messages//events|é)?[/%$a-z]{0,9}") {
            let _ = Node::parse(&address);
            let _ = Node::parse(&tail);
        }
    }
}
