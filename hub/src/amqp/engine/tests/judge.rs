//! Performatives as `fe2o3-amqp-types` has them.

use fe2o3_amqp_types::definitions::{DeliveryTag, Handle, ReceiverSettleMode, Role as ForeignRole, SenderSettleMode};
use fe2o3_amqp_types::messaging::TargetArchetype;
use fe2o3_amqp_types::performatives as foreign;
use fe2o3_amqp_types::primitives::OrderedMap;

use super::super::link::Role;
use super::super::performative::{AnyTarget, Performative};

/// The same in the judge's words.
pub fn foreign(ours: &Performative) -> foreign::Performative {
    match ours.clone() {
        Performative::Open(open) => foreign::Performative::Open(foreign::Open {
            container_id: open.container_id,
            hostname: open.hostname,
            max_frame_size: open.max_frame_size.unwrap_or(u32::MAX).into(),
            channel_max: open.channel_max.unwrap_or(u16::MAX).into(),
            idle_time_out: open.idle_time_out,
            outgoing_locales: open.outgoing_locales,
            incoming_locales: open.incoming_locales,
            offered_capabilities: open.offered_capabilities,
            desired_capabilities: open.desired_capabilities,
            properties: open.properties,
        }),
        Performative::Begin(begin) => foreign::Performative::Begin(foreign::Begin {
            remote_channel: begin.remote_channel,
            next_outgoing_id: begin.next_outgoing_id,
            incoming_window: begin.incoming_window,
            outgoing_window: begin.outgoing_window,
            handle_max: Handle(begin.handle_max.unwrap_or(u32::MAX)),
            offered_capabilities: begin.offered_capabilities,
            desired_capabilities: begin.desired_capabilities,
            properties: begin.properties,
        }),
        Performative::Attach(attach) => foreign::Performative::Attach(foreign::Attach {
            name: attach.name,
            handle: Handle(attach.handle),
            role: role(attach.role),
            snd_settle_mode: match attach.snd_settle_mode {
                Some(0) => SenderSettleMode::Unsettled,
                Some(1) => SenderSettleMode::Settled,
                _ => SenderSettleMode::Mixed,
            },
            rcv_settle_mode: receiver_settle_mode(attach.rcv_settle_mode.unwrap_or(0)),
            source: attach.source,
            target: attach.target.map(|target| match target {
                AnyTarget::Target(target) => Box::new(TargetArchetype::Target(*target)),
                AnyTarget::Coordinator => panic!("the judge was built without transactions"),
            }),
            unsettled: attach.resumes.then(|| {
                let mut unsettled = OrderedMap::new();
                unsettled.insert(DeliveryTag::from(vec![7]), None);
                unsettled
            }),
            incomplete_unsettled: attach.incomplete_unsettled,
            initial_delivery_count: attach.initial_delivery_count,
            max_message_size: attach.max_message_size,
            offered_capabilities: attach.offered_capabilities,
            desired_capabilities: attach.desired_capabilities,
            properties: attach.properties,
        }),
        Performative::Flow(flow) => foreign::Performative::Flow(foreign::Flow {
            next_incoming_id: flow.next_incoming_id,
            incoming_window: flow.incoming_window,
            next_outgoing_id: flow.next_outgoing_id,
            outgoing_window: flow.outgoing_window,
            handle: flow.handle.map(Handle),
            delivery_count: flow.delivery_count,
            link_credit: flow.link_credit,
            available: flow.available,
            drain: flow.drain,
            echo: flow.echo,
            properties: flow.properties,
        }),
        Performative::Transfer(transfer) => foreign::Performative::Transfer(foreign::Transfer {
            handle: Handle(transfer.handle),
            delivery_id: transfer.delivery_id,
            delivery_tag: transfer.delivery_tag.map(|tag| DeliveryTag::from(tag.as_bytes().to_vec())),
            message_format: transfer.message_format,
            settled: transfer.settled,
            more: transfer.more,
            rcv_settle_mode: transfer.rcv_settle_mode.map(receiver_settle_mode),
            state: transfer.state,
            resume: transfer.resume,
            aborted: transfer.aborted,
            batchable: transfer.batchable,
        }),
        Performative::Disposition(disposition) => foreign::Performative::Disposition(foreign::Disposition {
            role: role(disposition.role),
            first: disposition.first,
            last: disposition.last,
            settled: disposition.settled,
            state: disposition.state,
            batchable: disposition.batchable,
        }),
        Performative::Detach(detach) => {
            foreign::Performative::Detach(foreign::Detach { handle: Handle(detach.handle), closed: detach.closed, error: detach.error })
        }
        Performative::End(error) => foreign::Performative::End(foreign::End { error }),
        Performative::Close(error) => foreign::Performative::Close(foreign::Close { error }),
    }
}

/// As the judge writes it: with whatever it leaves out at the end.
pub fn encode(ours: &Performative) -> Vec<u8> {
    serde_amqp::to_vec(&foreign(ours)).unwrap()
}

/// As the judge reads it.
pub fn decode(bytes: &[u8]) -> foreign::Performative {
    serde_amqp::from_slice(bytes).unwrap_or_else(|error| panic!("the judge can't read {bytes:02x?}: {error}"))
}

fn role(role: Role) -> ForeignRole {
    match role {
        Role::Sender => ForeignRole::Sender,
        Role::Receiver => ForeignRole::Receiver,
    }
}

fn receiver_settle_mode(mode: u8) -> ReceiverSettleMode {
    if mode == 1 { ReceiverSettleMode::Second } else { ReceiverSettleMode::First }
}
