//! Transfers of devices: checked, stamped, and appended with their neighbours. Accepted once they are on disk.

use fe2o3_amqp_types::messaging::{Accepted, DeliveryState};

use super::{Conversation, Place, now};
use crate::amqp::conditions::NotTaken;
use crate::amqp::engine::Delivery;
use crate::amqp::message;
use crate::amqp::receipts::Receipt;
use crate::core::device_id::DeviceId;
use crate::core::session::DisconnectReason;
use crate::core::telemetry::{Occasion, Stamps};
use crate::ops::EventBatch;
use crate::ops::send_telemetry::{self, AppendRefused};

/// What one device sent and is to be appended.
#[derive(Default)]
pub struct Staged {
    device: Option<DeviceId>,
    batch: EventBatch,
}

impl Conversation<'_> {
    /// A message has come whole.
    pub(super) async fn delivery(&mut self, delivery: &Delivery) {
        match self.links.get(&delivery.link) {
            Some(Place::Events(device)) => {
                if self.staged.device.as_ref().is_some_and(|staged| staged != device) {
                    self.append().await;
                }
                self.stage(delivery);
            }
            Some(Place::PutToken) => {
                self.append().await;
                Box::pin(self.put_token(delivery)).await;
            }
            Some(Place::SentCommands) => self.send_command(delivery),
            Some(Place::ReadProperties) => {
                self.append().await;
                Box::pin(self.read_properties(delivery)).await;
            }
            // Of a link that the hub has ended meanwhile: nothing of it takes effect.
            Some(
                Place::Commands { .. }
                | Place::Answers
                | Place::Feedback { .. }
                | Place::FileNotifications
                | Place::Properties { .. }
                | Place::Partition,
            )
            | None => {}
        }
    }

    fn stage(&mut self, delivery: &Delivery) {
        let Self { links, devices, staged, receipts, engine, .. } = self;
        let Some(Place::Events(id)) = links.get(&delivery.link) else { return };
        let Some(device) = devices.get(id) else { return };
        let (bytes, messages) = (staged.batch.bytes.len(), staged.batch.len());
        match stage_each(delivery, &device.stamps, &mut staged.batch) {
            Ok(()) => {
                let (link, messages) = (delivery.link, staged.batch.len() - messages);
                if messages > 0 {
                    staged.device.get_or_insert_with(|| id.clone());
                    let (settled, bytes) = (delivery.settled, staged.batch.bytes.len() - bytes);
                    receipts.stage(Receipt { link, delivery: delivery.id, settled, messages, bytes });
                } else if !delivery.settled {
                    engine.settle(link, delivery.id, DeliveryState::Accepted(Accepted {}));
                }
            }
            Err(not_taken) => {
                // A batch is taken whole or not at all.
                staged.batch.bytes.truncate(bytes);
                staged.batch.ends.truncate(messages);
                tracing::debug!(device = %id, %not_taken, "a message of device {id} is not taken: {not_taken}");
                if !delivery.settled {
                    engine.settle(delivery.link, delivery.id, not_taken.outcome());
                }
            }
        }
    }

    /// Appends what is staged, waiting for room.
    pub(super) async fn append(&mut self) {
        let Some(id) = self.staged.device.take() else { return };
        let Some(device) = self.devices.get(&id) else { return self.not_appended() };
        let session = &device.session;
        if device.right_ends <= now() {
            // By the steady clock, whatever has been done to the other one.
            session.end(DisconnectReason::TokenExpired);
        }
        let appended = tokio::select! {
            biased;
            appended = send_telemetry::append(self.hub, session, &mut self.staged.batch) => appended,
            reason = session.wait_ended() => Err(AppendRefused::SessionEnded(reason)),
        };
        match appended {
            Ok(ticket) => self.receipts.appended(ticket),
            Err(AppendRefused::SessionEnded(_)) => self.not_appended(),
            Err(error) => {
                tracing::warn!(device = %id, %error, "device {id} is sent away, its messages can't be stored: {error}");
                session.end(DisconnectReason::StoreUnavailable);
                self.not_appended();
            }
        }
        self.staged = Staged::default();
    }

    fn not_appended(&mut self) {
        self.receipts.not_appended();
        self.staged = Staged::default();
        self.is_woken = true;
    }
}

/// Stages the message that a delivery is, or each of the batch.
fn stage_each(delivery: &Delivery, stamps: &Stamps, batch: &mut EventBatch) -> Result<(), NotTaken> {
    message::read_each(delivery.message_format, &delivery.payload, |message| {
        Ok(send_telemetry::stage(message, Occasion::default(), stamps, batch)?)
    })
}
