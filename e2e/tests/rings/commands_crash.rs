//! The crash ring of commands: the real binary is killed again and again while commands are sent, delivered, acknowledged and their
//! receipts read, and the history is judged.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use e2e::amqp;
use e2e::command_history::CommandHistory;
use e2e::commands::{self, BackEnd, step_names};
use e2e::hub::Hub;
use e2e::mqtt::{Connection, Packet, commands_filter, puback, subscribe};
use e2e::namespace::isolated;
use e2e::patience::within;
use fe2o3_amqp::Receiver;
use fe2o3_amqp::types::messaging::Data;
use fe2o3_amqp::types::messaging::annotations::AnnotationKey;
use fe2o3_amqp::types::primitives::{Symbol, Value};
use futures_util::future::try_join_all;
use nix::sys::signal::{Signal, kill};
use tokio::sync::watch;

/// How often the hub is killed, unless MOORING_KILLS says otherwise (`make soak` does).
const KILLS: u32 = 12;

/// Devices that take commands all the while.
const DEVICES: usize = 4;

/// A kill comes after so many acknowledgements at most since the start.
const ACKNOWLEDGEMENTS_MAX: u64 = 120;

#[test]
fn commands_outlive_kills_under_load() -> Result<()> {
    outlive_kills(Transport::Mqtt)
}

#[test]
fn commands_over_amqp_outlive_kills_under_load() -> Result<()> {
    outlive_kills(Transport::Amqp)
}

fn outlive_kills(transport: Transport) -> Result<()> {
    isolated(async move || {
        let kills = std::env::var("MOORING_KILLS").ok().map_or(Ok(KILLS), |text| text.parse()).context("MOORING_KILLS is not a number")?;
        let ids: Vec<String> = (0..DEVICES).map(|number| format!("taker-{number}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut hub = Hub::start(&ids).await?;
        let story = Story { transport, history: Arc::default() };
        for number in 0..kills {
            // Spread over the whole range, and the same in every run.
            let target = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) % ACKNOWLEDGEMENTS_MAX;
            story.until_killed(&mut hub, &ids, number, target).await.with_context(|| format!("kill {number}, after {target} PUBACKs"))?;
            hub.restart().await.with_context(|| format!("the restart after kill {number}"))?;
        }
        story.until_settled(&hub, &ids).await?;
        report(kills, &story.history());
        Ok(())
    })
}

/// Over what devices take commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Mqtt,
    Amqp,
}

#[derive(Clone, Debug)]
struct Story {
    transport: Transport,
    history: Arc<Mutex<CommandHistory>>,
}

impl Story {
    fn history(&self) -> MutexGuard<'_, CommandHistory> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends, takes and reads until `target` PUBACKs have left; then kills the hub, at whatever it is doing.
    async fn until_killed(&self, hub: &mut Hub, devices: &[&str], round: u32, target: u64) -> Result<()> {
        let (progress, mut acknowledged) = watch::channel(0);
        let process = hub.process_id()?;
        let back_end = BackEnd::new(hub)?;
        let killing = async {
            within("acknowledgements", acknowledged.wait_for(|count| *count >= target)).await??;
            kill(process, Signal::SIGKILL).context("the hub can't be killed")
        };
        let sending = try_join_all(devices.iter().map(|device| self.send(&back_end, device, round)));
        let taking = try_join_all(devices.iter().map(|device| self.take(hub, device, Manner::Careless, &progress)));
        let (receipts, _) = watch::channel(());
        tokio::try_join!(killing, sending, taking, self.read(&back_end, &receipts))?;
        hub.kill9().await
    }

    /// Takes all that is left, and judges every command.
    async fn until_settled(&self, hub: &Hub, devices: &[&str]) -> Result<()> {
        let ((progress, _), (receipts, mut read)) = (watch::channel(0), watch::channel(()));
        let back_end = BackEnd::new(hub)?;
        let reading = async { bail!("no more receipts: {:?}", self.read(&back_end, &receipts).await) };
        let judging = async {
            let taking = try_join_all(devices.iter().map(|device| self.take(hub, device, Manner::Careful, &progress)));
            tokio::select! {
                taken = taking => bail!("the devices were sent away: {taken:?}"),
                all = within("the last receipts", read.wait_for(|()| self.history().has_all_receipts())) => { all??; }
            }
            self.judge(&back_end).await
        };
        tokio::select! {
            failed = reading => failed,
            judged = judging => judged,
        }
    }

    /// A back end sends to one device until the hub is gone.
    async fn send(&self, back_end: &BackEnd, device: &str, round: u32) -> Result<()> {
        for number in 0.. {
            let message_id = format!("{device}.{round}.{number}");
            let headers = [("iothub-ack", "full"), ("iothub-messageid", &*message_id)];
            let Ok(answer) = back_end.offer(device, &headers, message_id.as_bytes()).await else { break };
            match answer.status.as_u16() {
                201 => {
                    self.history().accepted.insert(commands::id(&answer)?, message_id);
                }
                // The device's queue is full.
                403 => tokio::task::yield_now().await,
                _ => bail!("{message_id} was answered {answer:?}"),
            }
        }
        Ok(())
    }

    /// A device takes commands until the hub is gone.
    async fn take(&self, hub: &Hub, device: &str, manner: Manner, progress: &watch::Sender<u64>) -> Result<()> {
        match self.transport {
            Transport::Mqtt => self.take_over_mqtt(hub, device, manner, progress).await,
            Transport::Amqp => self.take_over_amqp(hub, device, manner, progress).await,
        }
    }

    /// Over AMQP it is the delivery count that says whether a command comes again.
    async fn take_over_amqp(&self, hub: &Hub, device: &str, manner: Manner, progress: &watch::Sender<u64>) -> Result<()> {
        let Ok(mut connection) = amqp::Device::admitted(hub, device).await else { return Ok(()) };
        let Ok(receiver) = connection.receiver().await else { return Ok(()) };
        tokio::select! {
            taken = self.take_from(receiver, device, manner, progress) => taken,
            () = connection.lost() => Ok(()),
        }
    }

    async fn take_from(&self, mut receiver: Receiver, device: &str, manner: Manner, progress: &watch::Sender<u64>) -> Result<()> {
        let (mut held_back, mut number) = (None, 0_u32);
        while let Ok(delivery) = within("a command", receiver.recv::<Data>()).await? {
            let count = delivery
                .message()
                .message_annotations
                .as_ref()
                .and_then(|all| all.get(&Symbol::from("iothub-deliverycount") as &dyn AnnotationKey));
            let Some(Value::Ubyte(count)) = count else { bail!("{device}: a delivery count of {count:?}") };
            let message_id = String::from_utf8(delivery.body().0.to_vec())?;
            self.history().delivered(&message_id, *count > 1)?;
            let mut due = vec![(delivery, message_id)];
            if manner == Manner::Careless && number % 3 == 0 && held_back.is_none() {
                held_back = due.pop();
            } else {
                due.extend(held_back.take());
            }
            number += 1;
            for (delivery, message_id) in due {
                self.history().acknowledges(&message_id);
                if receiver.accept(&delivery).await.is_err() {
                    return Ok(());
                }
                progress.send_modify(|count| *count += 1);
            }
        }
        Ok(())
    }

    async fn take_over_mqtt(&self, hub: &Hub, device: &str, manner: Manner, progress: &watch::Sender<u64>) -> Result<()> {
        let Ok(mut connection) = Connection::admitted(hub, device).await else { return Ok(()) };
        // What the kept subscription brings may come before SUBACK does.
        if connection.send(&subscribe(1, &commands_filter(device), 1)).await.is_err() {
            return Ok(());
        }
        let mut held_back = None;
        while let Some(packet) = connection.next().await? {
            let (packet_id, duplicate, payload) = match packet {
                Packet::Publish { id: Some(id), duplicate, payload, .. } => (id, duplicate, payload),
                Packet::SubAck { code: 1, .. } => continue,
                other => bail!("{device}: {other:?} instead of a command"),
            };
            let message_id = String::from_utf8(payload)?;
            self.history().delivered(&message_id, duplicate)?;
            let mut due = vec![(packet_id, message_id)];
            if manner == Manner::Careless && packet_id % 3 == 0 && held_back.is_none() {
                held_back = due.pop();
            } else {
                due.extend(held_back.take());
            }
            for (packet_id, message_id) in due {
                self.history().acknowledges(&message_id);
                if connection.send(&puback(packet_id)).await.is_err() {
                    return Ok(());
                }
                progress.send_modify(|count| *count += 1);
            }
        }
        Ok(())
    }

    /// A back end reads receipts until the hub is gone.
    async fn read(&self, back_end: &BackEnd, progress: &watch::Sender<()>) -> Result<()> {
        while let Ok(batch) = back_end.receive().await {
            let Some((token, receipts)) = batch else { continue };
            self.history().read(&receipts)?;
            if back_end.complete(&token).await.is_err() {
                break;
            }
            self.history().taken(&receipts)?;
            progress.send_replace(());
        }
        Ok(())
    }

    async fn judge(&self, back_end: &BackEnd) -> Result<()> {
        let accepted = self.history().accepted.clone();
        ensure!(!accepted.is_empty(), "nothing was ever accepted");
        for (id, message_id) in accepted {
            let timeline = within(&format!("the receipt of {message_id} to be read"), async {
                loop {
                    let timeline = back_end.history(&id).await?;
                    if step_names(&timeline).contains(&"ReceiptRead") {
                        return anyhow::Ok(timeline);
                    }
                }
            })
            .await??;
            self.history().judge(&message_id, &timeline)?;
        }
        Ok(())
    }
}

/// How a device acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Some later than the next, so that kills find locks of all ages.
    Careless,
    /// All at once.
    Careful,
}

#[expect(clippy::print_stderr, reason = "a test's voice")]
fn report(kills: u32, history: &CommandHistory) {
    let (accepted, deliveries) = history.counts();
    eprintln!("{kills} kills: {accepted} commands accepted, {deliveries} deliveries seen by devices");
}
