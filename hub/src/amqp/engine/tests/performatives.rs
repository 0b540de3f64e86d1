//! Every performative against the judge, in both directions, and the field counts that clients rely on.

use fe2o3_amqp_types::definitions::{AmqpError, Error, ErrorCondition, Fields};
use fe2o3_amqp_types::messaging::{
    Accepted, DeliveryState, DistributionMode, Modified, Outcome, Received, Rejected, Released, Source, Target, TerminusDurability,
    TerminusExpiryPolicy,
};
use fe2o3_amqp_types::primitives::{Array, Symbol};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use serde_amqp::Value;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;

use super::super::codec::{Input, Malformed};
use super::super::delivery::DeliveryTag;
use super::super::disposition::Disposition;
use super::super::flow::Flow;
use super::super::link::Role;
use super::super::performative::{AnyTarget, Attach, Begin, Detach, Open, Performative, Symbols};
use super::super::transfer::Transfer;
use super::judge;
use super::peer::attach;

/// What each descriptor's list must have.
const FIELD_COUNTS: [(u8, u8); 17] = [
    (0x10, 10),
    (0x11, 8),
    (0x12, 14),
    (0x13, 11),
    (0x14, 11),
    (0x15, 6),
    (0x16, 3),
    (0x17, 1),
    (0x18, 1),
    (0x1d, 3),
    (0x23, 2),
    (0x24, 0),
    (0x25, 1),
    (0x26, 0),
    (0x27, 3),
    (0x28, 11),
    (0x29, 7),
];

proptest! {
    #[test]
    fn the_judge_reads_what_the_engine_writes(performative in performative(), payload in vec(any::<u8>(), 0..40)) {
        let mut bytes = Vec::new();
        performative.write(&mut bytes);
        prop_assert_eq!(judge::decode(&bytes), judge::foreign(&performative));
        let length = bytes.len();
        bytes.extend(payload);
        let (again, read) = Performative::read(&bytes).unwrap();
        prop_assert_eq!(judge::foreign(&again), judge::foreign(&performative));
        prop_assert_eq!(read, length);
    }

    #[test]
    fn the_engine_reads_what_the_judge_writes(performative in performative()) {
        let bytes = judge::encode(&performative);
        let (read, length) = Performative::read(&bytes).unwrap();
        prop_assert_eq!(judge::foreign(&read), judge::foreign(&performative));
        prop_assert_eq!(length, bytes.len());
    }

    #[test]
    fn every_list_has_the_fields_that_the_specification_gives_it(performative in performative()) {
        let mut bytes = Vec::new();
        performative.write(&mut bytes);
        let (descriptor, count) = list(&bytes);
        prop_assert!(FIELD_COUNTS.contains(&(descriptor, count)), "{descriptor:#x} has {count} fields");
        // Nothing of what stands in them is left to its default either.
        let mut input = Input(&bytes);
        input.descriptor().unwrap();
        let mut fields = input.list("").unwrap();
        for _ in 0..count {
            if let Some(value) = fields.encoded().unwrap()
                && value.starts_with(&[0x00, 0x53])
            {
                prop_assert!(FIELD_COUNTS.contains(&list(value)), "{value:02x?}");
            }
        }
    }

    #[test]
    fn cut_off_anywhere_it_is_refused(performative in performative(), at: prop::sample::Index) {
        let mut bytes = Vec::new();
        performative.write(&mut bytes);
        prop_assert!(Performative::read(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200), code in 0x10..0x19_u8) {
        let _ = Performative::read(&bytes);
        let _ = Performative::read(&[&[0x00, 0x53, code, 0xc0, u8::try_from(bytes.len()).unwrap_or(255)], &bytes[..]].concat());
    }

    #[test]
    fn a_flipped_byte_does_not_make_it_panic(performative in performative(), at: prop::sample::Index, to: u8) {
        let mut bytes = Vec::new();
        performative.write(&mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = Performative::read(&bytes);
    }
}

#[test]
fn the_numbers_that_python_needs_are_never_null() {
    let mut bytes = Vec::new();
    Performative::Open(Box::default()).write(&mut bytes);
    let mut input = Input(&bytes);
    input.descriptor().unwrap();
    let mut fields = input.list("open").unwrap();
    assert_eq!(fields.string(), Ok(Some("")));
    assert_eq!(fields.string(), Ok(None));
    assert_eq!(fields.uint(), Ok(Some(u32::MAX)));
    assert_eq!(fields.ushort(), Ok(Some(u16::MAX)));

    bytes.clear();
    Performative::Begin(Box::default()).write(&mut bytes);
    let mut input = Input(&bytes);
    input.descriptor().unwrap();
    let mut fields = input.list("begin").unwrap();
    assert_eq!(fields.ushort(), Ok(None));
    assert_eq!((fields.uint(), fields.uint(), fields.uint(), fields.uint()), (Ok(Some(0)), Ok(Some(0)), Ok(Some(0)), Ok(Some(u32::MAX))));
}

#[test]
fn an_error_has_all_three_fields_even_when_it_says_nothing() {
    let mut bytes = Vec::new();
    Performative::Close(Some(AmqpError::NotFound.into())).write(&mut bytes);
    let condition = b"amqp:not-found";
    let expected = [&[0x00, 0x53, 0x18, 0xc0, 25, 1, 0x00, 0x53, 0x1d, 0xc0, 19, 3, 0xa3, 14][..], condition, &[0x40, 0x40]].concat();
    assert_eq!(bytes, expected);
}

#[test]
fn a_field_too_many_is_refused() {
    let bytes = [0x00, 0x53, 0x18, 0xc0, 3, 2, 0x40, 0x40];
    assert_eq!(Performative::read(&bytes), Err(Malformed::SurplusFields("close")));
}

#[test]
fn a_single_symbol_is_an_array_of_one() {
    let mut foreign = judge::encode(&Performative::Attach(Box::new(attach("a", 0, Role::Sender))));
    // The judge leaves the last fields out; offered-capabilities is put at the end.
    let symbol = b"\xa3\x03abc";
    assert_eq!(foreign[3], 0xc0);
    let missing = 12 - foreign[5];
    foreign.extend(std::iter::repeat_n(0x40, usize::from(missing - 1)));
    foreign.extend_from_slice(symbol);
    foreign[4] += missing - 1 + 5;
    foreign[5] = 12;
    let (Performative::Attach(attach), _) = Performative::read(&foreign).unwrap() else { panic!("an attach") };
    assert_eq!(attach.offered_capabilities, Some(Array(vec![Symbol::from("abc")])));
}

#[test]
fn values_nested_without_end_are_refused_before_they_are_read() {
    // Lists in lists in an error's info, 16 thousand deep: what reads them by recursion would not come back.
    let mut value = vec![0x45];
    for _ in 0..4000 {
        let size = u32::try_from(value.len() + 4).unwrap().to_be_bytes();
        value = [&[0xd0][..], &size, &1_u32.to_be_bytes(), &value].concat();
    }
    let size = u32::try_from(value.len() + 4).unwrap().to_be_bytes();
    let bytes = [&[0x00, 0x53, 0x18, 0xd0][..], &size, &1_u32.to_be_bytes(), &value].concat();
    assert_eq!(Performative::read(&bytes), Err(Malformed::TooDeep));
    let described = [&[0x00, 0x53, 0x18, 0xd0, 0, 0, 0x20, 0, 0, 0, 0, 1][..], &[0; 0x2000]].concat();
    assert_eq!(Performative::read(&described), Err(Malformed::TooDeep));
}

#[test]
fn counts_that_lie_cost_nothing() {
    // An array of four billion nulls in twelve bytes.
    let bytes = [0x00, 0x53, 0x18, 0xc0, 11, 1, 0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40];
    assert_eq!(Performative::read(&bytes), Err(Malformed::Count));
    assert_eq!(Performative::read(&[0x00, 0x53, 0x18, 0xc0, 1, 255]), Err(Malformed::Count));
}

fn list(bytes: &[u8]) -> (u8, u8) {
    match *bytes {
        [0x00, 0x53, descriptor, 0xc0, _, count, ..] => (descriptor, count),
        [0x00, 0x53, descriptor, 0xd0, _, _, _, _, 0, 0, 0, count, ..] => (descriptor, count),
        [0x00, 0x53, descriptor, 0x45, ..] => (descriptor, 0),
        _ => panic!("no described list with a small descriptor: {bytes:02x?}"),
    }
}

fn performative() -> impl Strategy<Value = Performative> {
    prop_oneof![
        // Boxed, because trees of values within values would not fit on a test's stack.
        open().prop_map(|open| Performative::Open(Box::new(open))).boxed(),
        begin().prop_map(|begin| Performative::Begin(Box::new(begin))).boxed(),
        any_attach().prop_map(|attach| Performative::Attach(Box::new(attach))).boxed(),
        flow().prop_map(Performative::Flow).boxed(),
        transfer().prop_map(Performative::Transfer).boxed(),
        disposition().prop_map(Performative::Disposition).boxed(),
        (any::<u32>(), any::<bool>(), of(error().boxed()))
            .prop_map(|(handle, closed, error)| Performative::Detach(Detach { handle, closed, error }))
            .boxed(),
        of(error().boxed()).prop_map(Performative::End).boxed(),
        of(error().boxed()).prop_map(Performative::Close).boxed(),
    ]
}

fn open() -> impl Strategy<Value = Open> {
    (
        text(),
        of(text()),
        any::<Option<u32>>(),
        any::<Option<u16>>(),
        any::<Option<u32>>(),
        symbols(),
        symbols(),
        symbols(),
        symbols(),
        of(fields().boxed()),
    )
        .prop_map(
            |(container_id, hostname, max_frame_size, channel_max, idle_time_out, outgoing, incoming, offered, desired, properties)| Open {
                container_id,
                hostname,
                max_frame_size,
                channel_max,
                idle_time_out,
                outgoing_locales: outgoing,
                incoming_locales: incoming,
                offered_capabilities: offered,
                desired_capabilities: desired,
                properties,
            },
        )
}

fn begin() -> impl Strategy<Value = Begin> {
    (any::<Option<u16>>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<Option<u32>>(), symbols(), symbols(), of(fields().boxed()))
        .prop_map(|(remote_channel, next_outgoing_id, incoming_window, outgoing_window, handle_max, offered, desired, properties)| Begin {
            remote_channel,
            next_outgoing_id,
            incoming_window,
            outgoing_window,
            handle_max,
            offered_capabilities: offered,
            desired_capabilities: desired,
            properties,
        })
}

fn any_attach() -> impl Strategy<Value = Attach> {
    (
        (text(), any::<u32>(), role(), of(0..3_u8), of(0..2_u8)),
        (of(source().boxed()), of(target().boxed()), any::<bool>(), any::<Option<u32>>(), any::<Option<u64>>()),
        (symbols(), symbols(), of(fields().boxed())),
    )
        .prop_map(
            |(
                (name, handle, role, snd_settle_mode, rcv_settle_mode),
                (source, target, incomplete_unsettled, initial_delivery_count, max_message_size),
                (offered_capabilities, desired_capabilities, properties),
            )| Attach {
                name,
                handle,
                role,
                snd_settle_mode,
                rcv_settle_mode,
                source: source.map(Box::new),
                target: target.map(|target| AnyTarget::Target(Box::new(target))),
                resumes: false,
                incomplete_unsettled,
                initial_delivery_count,
                // Null and 0 both mean any size; the engine says 0.
                max_message_size: Some(max_message_size.unwrap_or(0)),
                offered_capabilities,
                desired_capabilities,
                properties,
            },
        )
}

fn source() -> impl Strategy<Value = Source> {
    (
        (of(text()), durability(), expiry(), any::<u32>(), any::<bool>(), of(fields().boxed())),
        (
            of(prop_oneof![Just(DistributionMode::Move), Just(DistributionMode::Copy)]),
            of(fields().boxed()),
            of(outcome().boxed()),
            symbols(),
            symbols(),
        ),
    )
        .prop_map(
            |(
                (address, durable, expiry_policy, timeout, dynamic, node),
                (distribution_mode, filter, default_outcome, outcomes, capabilities),
            )| {
                Source {
                    address,
                    durable,
                    expiry_policy,
                    timeout,
                    dynamic,
                    dynamic_node_properties: node,
                    distribution_mode,
                    filter,
                    default_outcome,
                    outcomes,
                    capabilities,
                }
            },
        )
}

fn target() -> impl Strategy<Value = Target> {
    (of(text()), durability(), expiry(), any::<u32>(), any::<bool>(), of(fields().boxed()), symbols()).prop_map(
        |(address, durable, expiry_policy, timeout, dynamic, dynamic_node_properties, capabilities)| Target {
            address,
            durable,
            expiry_policy,
            timeout,
            dynamic,
            dynamic_node_properties,
            capabilities,
        },
    )
}

fn flow() -> impl Strategy<Value = Flow> {
    (
        (any::<Option<u32>>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<Option<u32>>()),
        (any::<Option<u32>>(), any::<Option<u32>>(), any::<Option<u32>>(), any::<bool>(), any::<bool>(), of(fields().boxed())),
    )
        .prop_map(
            |(
                (next_incoming_id, incoming_window, next_outgoing_id, outgoing_window, handle),
                (delivery_count, link_credit, available, drain, echo, properties),
            )| Flow {
                next_incoming_id,
                incoming_window,
                next_outgoing_id,
                outgoing_window,
                handle,
                delivery_count,
                link_credit,
                available,
                drain,
                echo,
                properties,
            },
        )
}

fn transfer() -> impl Strategy<Value = Transfer> {
    (
        (any::<u32>(), any::<Option<u32>>(), of(vec(any::<u8>(), 0..33)), any::<Option<u32>>(), any::<Option<bool>>(), any::<bool>()),
        (of(0..2_u8), of(state().boxed()), any::<bool>(), any::<bool>(), any::<bool>()),
    )
        .prop_map(
            |((handle, delivery_id, tag, message_format, settled, more), (rcv_settle_mode, state, resume, aborted, batchable))| Transfer {
                handle,
                delivery_id,
                delivery_tag: tag.map(|tag| DeliveryTag::new(&tag).unwrap()),
                message_format,
                settled,
                more,
                rcv_settle_mode,
                state,
                resume,
                aborted,
                batchable,
            },
        )
}

fn disposition() -> impl Strategy<Value = Disposition> {
    (role(), any::<u32>(), any::<u32>(), any::<bool>(), of(state().boxed()), any::<bool>())
        .prop_map(|(role, first, last, settled, state, batchable)| Disposition { role, first, last: Some(last), settled, state, batchable })
}

fn state() -> impl Strategy<Value = DeliveryState> {
    prop_oneof![
        outcome().prop_map(|outcome| match outcome {
            Outcome::Accepted(accepted) => accepted.into(),
            Outcome::Rejected(rejected) => rejected.into(),
            Outcome::Released(released) => released.into(),
            Outcome::Modified(modified) => modified.into(),
        }),
        (any::<u32>(), any::<u64>())
            .prop_map(|(section_number, section_offset)| DeliveryState::Received(Received { section_number, section_offset })),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Accepted(Accepted {})),
        Just(Outcome::Released(Released {})),
        of(error().boxed()).prop_map(|error| Outcome::Rejected(Rejected { error })),
        (any::<Option<bool>>(), any::<Option<bool>>(), of(fields().boxed())).prop_map(
            |(delivery_failed, undeliverable_here, message_annotations)| {
                Outcome::Modified(Modified { delivery_failed, undeliverable_here, message_annotations })
            }
        ),
    ]
}

fn error() -> impl Strategy<Value = Error> {
    let condition = prop_oneof![
        Just(ErrorCondition::from(AmqpError::UnauthorizedAccess)),
        symbol().prop_map(|symbol| ErrorCondition::Custom(Symbol::from(format!("com.microsoft:{}", symbol.as_str())))),
    ];
    (condition, of(text()), of(fields().boxed())).prop_map(|(condition, description, info)| Error::new(condition, description, info))
}

fn fields() -> impl Strategy<Value = Fields> {
    vec((symbol(), value()), 0..4).prop_map(|entries| {
        let mut fields = Fields::new();
        for (key, value) in entries {
            fields.insert(key, value);
        }
        fields
    })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Long),
        any::<u32>().prop_map(Value::Uint),
        text().prop_map(Value::String),
        symbol().prop_map(Value::Symbol),
        // What a selector filter is.
        text().prop_map(|text| {
            let descriptor = Descriptor::Name(Symbol::from("apache.org:selector-filter:string"));
            Value::Described(Box::new(Described { descriptor, value: Value::String(text) }))
        }),
    ]
}

fn symbols() -> impl Strategy<Value = Symbols> {
    of(vec(symbol(), 1..4).prop_map(Array))
}

fn symbol() -> impl Strategy<Value = Symbol> {
    "[a-z:.-]{1,20}".prop_map(Symbol::from)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,20}", "[a-z]{200,300}"]
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Sender), Just(Role::Receiver)]
}

fn durability() -> impl Strategy<Value = TerminusDurability> {
    prop_oneof![Just(TerminusDurability::None), Just(TerminusDurability::Configuration), Just(TerminusDurability::UnsettledState)]
}

fn expiry() -> impl Strategy<Value = TerminusExpiryPolicy> {
    prop_oneof![
        Just(TerminusExpiryPolicy::LinkDetach),
        Just(TerminusExpiryPolicy::SessionEnd),
        Just(TerminusExpiryPolicy::ConnectionClose),
        Just(TerminusExpiryPolicy::Never)
    ]
}
