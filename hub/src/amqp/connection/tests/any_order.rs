//! Any order of what a gateway may say: nothing is lost, nothing is done before it has left, and nobody is given up without having been
//! tried.

use std::collections::{BTreeMap, BTreeSet};

use fe2o3_amqp_types::messaging::{Rejected, Released};
use proptest::prelude::*;

use super::*;
use crate::amqp::engine::tests::peer::disposition;
use crate::core::command::{Acknowledgement, CommandId, Outcome};
use crate::ops::read_commands::{CommandFilter, CommandQuery, list_commands};
use crate::ops::send_command::{NewCommand, send_command};

const DEVICES: [&str; 3] = ["D", "E", "F"];

/// One thing that is said or done. Numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A back end sends a command, which may need two frames.
    Command {
        device: usize,
        is_large: bool,
    },
    /// A device asks for its commands; it may want to settle none.
    Attach {
        device: usize,
        settled: bool,
    },
    Grant {
        device: usize,
        credit: u32,
        window: u32,
        drain: bool,
    },
    Settle {
        first: usize,
        count: usize,
        outcome: usize,
        settled: bool,
    },
    Detach {
        device: usize,
    },
    /// The session of all devices ends, and another begins.
    End,
    Telemetry {
        device: usize,
    },
    Token,
    LocksRunOut,
}

fn step() -> impl Strategy<Value = Step> {
    let device = || 0..DEVICES.len();
    prop_oneof![
        3 => (device(), any::<bool>()).prop_map(|(device, is_large)| Step::Command { device, is_large }),
        2 => (device(), any::<bool>()).prop_map(|(device, settled)| Step::Attach { device, settled }),
        4 => (device(), prop_oneof![0..4_u32, Just(u32::MAX)], prop_oneof![0..3_u32, Just(u32::MAX)], prop::bool::weighted(0.2))
            .prop_map(|(device, credit, window, drain)| Step::Grant { device, credit, window, drain }),
        3 => (0..4_usize, 1..4_usize, 0..4_usize, any::<bool>())
            .prop_map(|(first, count, outcome, settled)| Step::Settle { first, count, outcome, settled }),
        1 => device().prop_map(|device| Step::Detach { device }),
        1 => Just(Step::End),
        1 => device().prop_map(|device| Step::Telemetry { device }),
        1 => Just(Step::Token),
        1 => Just(Step::LocksRunOut),
    ]
}

/// The gateway, with `$cbs` in session 0 and its devices in session 1: the receiver of each has its own number as its handle, its sender
/// one of the next three.
struct Gateway<'a> {
    world: &'a World,
    client: Client,
    receives: [bool; 3],
    sends: [bool; 3],
    delivery_counts: [u32; 3],
    transfers: u32,
    /// Deliveries that came and are not settled: their numbers and commands.
    unsettled: Vec<(u32, CommandId)>,
    /// What has come in part.
    coming: BTreeMap<u32, (Transfer, Vec<u8>)>,
    next_telemetry: u32,
    telemetry_accepted: u32,
    telemetry_sent: u32,
    tokens_answered: u32,
    /// Commands that have come whole and settled, or that were accepted.
    may_be_done: BTreeSet<CommandId>,
    may_be_rejected: BTreeSet<CommandId>,
    /// How often some of a command has come.
    arrivals: BTreeMap<CommandId, u32>,
}

impl<'a> Gateway<'a> {
    async fn new(world: &'a World) -> Self {
        let mut client = Client::with_cbs(world).await;
        for device in DEVICES {
            assert_eq!(client.put_token(&format!("hub.example/devices/{device}"), &long_token(device)).await, 200);
        }
        let mut gateway = Self {
            world,
            client,
            receives: [false; 3],
            sends: [false; 3],
            delivery_counts: [0; 3],
            transfers: 0,
            unsettled: Vec::new(),
            coming: BTreeMap::new(),
            next_telemetry: 0,
            telemetry_accepted: 0,
            telemetry_sent: 0,
            tokens_answered: 0,
            may_be_done: BTreeSet::new(),
            may_be_rejected: BTreeSet::new(),
            arrivals: BTreeMap::new(),
        };
        gateway.begin().await;
        gateway
    }

    async fn begin(&mut self) {
        self.say(&Performative::Begin(Box::new(begin()))).await;
        (self.receives, self.sends, self.delivery_counts, self.transfers) = ([false; 3], [false; 3], [0; 3], 0);
        self.unsettled.clear();
        self.coming.clear();
        self.next_telemetry = 0;
        self.listen().await;
    }

    async fn say(&mut self, performative: &Performative) {
        self.client.send(&said(1, performative, &[])).await;
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Command { device, is_large } => {
                let body = vec![7; if is_large { 6000 } else { 10 }];
                let properties = Properties { message_id: Some(MessageId::String("m".into())), ..Properties::default() };
                let message = Message { properties, body: Body::Data(vec![body.into()]), ..Message::default() };
                let command = NewCommand { message, ack: Acknowledgement::None, sent_by: "service".into(), again_of: None };
                // The queue may be full.
                let _ = send_command(&self.world.hub, identity(DEVICES[device]).device_id, command).await;
            }
            Step::Attach { device, settled } if !self.receives[device] => {
                let handle = u32::try_from(device).unwrap();
                let mode = Some(if settled { 1 } else { 0 });
                let attach = Attach { snd_settle_mode: mode, ..receiver(&devicebound(DEVICES[device]), handle) };
                self.say(&Performative::Attach(Box::new(attach))).await;
                (self.receives[device], self.delivery_counts[device]) = (true, 0);
            }
            Step::Grant { device, credit, window, drain } if self.receives[device] => {
                let flow = Flow {
                    next_incoming_id: Some(self.transfers),
                    incoming_window: window,
                    drain,
                    ..peer::credit(u32::try_from(device).unwrap(), self.delivery_counts[device], credit)
                };
                self.say(&Performative::Flow(flow)).await;
            }
            Step::Settle { first, count, outcome, settled } if first < self.unsettled.len() => {
                self.settle(first, count, outcome, settled).await
            }
            Step::Detach { device } if self.receives[device] => {
                self.say(&detach(u32::try_from(device).unwrap())).await;
                self.receives[device] = false;
                let handle = u32::try_from(device).unwrap();
                self.coming.retain(|_, (transfer, _)| transfer.handle != handle);
            }
            Step::End => {
                self.say(&Performative::End(None)).await;
                self.listen().await;
                self.begin().await;
            }
            Step::Telemetry { device } => {
                let handle = u32::try_from(device + DEVICES.len()).unwrap();
                if !std::mem::replace(&mut self.sends[device], true) {
                    self.say(&Performative::Attach(Box::new(sender(&events(DEVICES[device]), handle)))).await;
                }
                let transfer = Performative::Transfer(delivery(handle, self.next_telemetry));
                self.client.send(&said(1, &transfer, &text("event"))).await;
                self.next_telemetry += 1;
                self.telemetry_sent += 1;
            }
            Step::Token => {
                let id = self.client.next_delivery;
                self.client.next_delivery += 1;
                let request = put_token(Some(MessageId::Ulong(id.into())), "hub.example/devices/D", &long_token("D"));
                self.client.send(&said(0, &Performative::Transfer(delivery(0, id)), &request)).await;
                let before = self.tokens_answered;
                self.listen().await;
                assert_eq!(self.tokens_answered, before + 1, "an answer is lost");
            }
            Step::LocksRunOut => {
                self.world.clock.0.fetch_add(61_000, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(61)).await;
            }
            Step::Attach { .. } | Step::Grant { .. } | Step::Settle { .. } | Step::Detach { .. } => {}
        }
        self.listen().await;
    }

    async fn settle(&mut self, first: usize, count: usize, outcome: usize, settled: bool) {
        let last = (first + count).min(self.unsettled.len()) - 1;
        let state = match outcome {
            0 => accepted(),
            1 => DeliveryState::Released(Released {}),
            2 => DeliveryState::Rejected(Rejected { error: None }),
            _ => return,
        };
        let range: Vec<(u32, CommandId)> = self.unsettled.drain(first..=last).collect();
        let (from, to) = (range[0].0, range[range.len() - 1].0);
        // What has come in part lies in the range as well.
        let coming = self.coming.iter().filter(|(id, _)| (from..=to).contains(*id)).map(|(_, (_, whole))| command_of(whole));
        let commands: Vec<CommandId> = range.iter().map(|(_, command)| *command).chain(coming).collect();
        match outcome {
            0 => self.may_be_done.extend(commands),
            2 => self.may_be_rejected.extend(commands),
            _ => {}
        }
        self.say(&disposition(Role::Receiver, from, to, settled, Some(state))).await;
    }

    /// Hears everything that the hub has to say now.
    async fn listen(&mut self) {
        loop {
            while let Some(heard) = hear(&mut self.client.input) {
                self.heard(heard);
            }
            // Time goes by only when nobody has anything to do.
            let read = timeout(Duration::from_millis(300), self.client.stream.read_buf(&mut self.client.input)).await;
            match read {
                Ok(read) => assert!(read.unwrap() > 0, "the hub has closed the connection"),
                Err(_) => return,
            }
        }
    }

    fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Frame(0, Performative::Transfer(_), _) => self.tokens_answered += 1,
            Heard::Frame(1, Performative::Transfer(transfer), payload) => self.arrived(transfer, &payload),
            Heard::Frame(1, Performative::Disposition(said), _) if said.role == Role::Receiver => {
                assert_eq!((said.settled, said.state), (true, Some(accepted())));
                self.telemetry_accepted += said.last.unwrap_or(said.first) - said.first + 1;
            }
            Heard::Frame(1, Performative::Flow(Flow { handle: Some(handle @ 0..3), delivery_count: Some(count), .. }), _) => {
                self.delivery_counts[handle as usize] = count;
            }
            Heard::Frame(1, Performative::Detach(detach), _) => assert_eq!(detach.error, None),
            Heard::Alive | Heard::Frame(0 | 1, ..) => {}
            other => panic!("{other:?}"),
        }
    }

    fn arrived(&mut self, transfer: Transfer, payload: &[u8]) {
        self.transfers += 1;
        let (id, more, device) = (transfer.delivery_id.unwrap(), transfer.more, transfer.handle as usize);
        let is_first = !self.coming.contains_key(&id);
        let (first, whole) = self.coming.entry(id).or_insert_with(|| (transfer, Vec::new()));
        whole.extend_from_slice(payload);
        let annotated = command_of(whole);
        let settled = first.settled == Some(true);
        if is_first {
            self.delivery_counts[device] = self.delivery_counts[device].wrapping_add(1);
            *self.arrivals.entry(annotated).or_default() += 1;
        }
        if more {
            return;
        }
        self.coming.remove(&id);
        if settled {
            self.may_be_done.insert(annotated);
        } else {
            self.unsettled.push((id, annotated));
        }
    }

    /// What became of everything.
    async fn judge(&self) {
        let query = CommandQuery { device: None, state: CommandFilter::Any, before: None, limit: 1000 };
        for view in list_commands(&self.world.hub, query).await.unwrap() {
            let id = view.command.id;
            let arrivals = self.arrivals.get(&id).copied().unwrap_or(0);
            match view.command.ended.map(|(outcome, _)| outcome) {
                None => {}
                Some(Outcome::Completed) => assert!(self.may_be_done.contains(&id), "{id} is done, and never left"),
                Some(Outcome::Rejected) => assert!(self.may_be_rejected.contains(&id), "nobody rejected {id}"),
                Some(Outcome::DeliveryCountExceeded) => assert!(arrivals >= 10, "{id} was given up after {arrivals} deliveries"),
                Some(other) => panic!("{id} has ended as {other:?}"),
            }
            assert!(view.command.delivery_count <= arrivals + 1, "{id} counts {} of {arrivals} deliveries", view.command.delivery_count);
        }
        assert_eq!(self.telemetry_accepted, self.telemetry_sent, "what was sent is not answered");
    }
}

/// The number that the hub put into the annotations, which come first.
fn command_of(payload: &[u8]) -> CommandId {
    let name = b"iothub-sequencenumber";
    let at = payload.windows(name.len()).position(|window| window == name).expect("the stamp is in the first frame") + name.len();
    match payload[at] {
        0x44 => CommandId(0),
        0x53 => CommandId(payload[at + 1].into()),
        0x80 => CommandId(u64::from_be_bytes(payload[at + 1..at + 9].try_into().unwrap())),
        other => panic!("{other:02x} is no ulong"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn commands_and_events_survive_any_order_of_things(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = World::with_device("D").await;
            for device in ["E", "F"] {
                world.write(Expected::Absent, Some(identity(device))).await;
            }
            let mut gateway = Gateway::new(&world).await;
            for step in steps {
                gateway.take(step).await;
            }
            gateway.judge().await;
        });
    }
}
