//! Mooring's benchmark. It measures the hub, and mosquitto and AMQP servers beside it, over the wire and from `/proc`; it prints and records
//! numbers and asserts none. It shares no code with the hub: its MQTT, its AMQP, its HTTP and its tokens are its own.

mod amqp;
mod amqp_client;
mod clock;
mod connection;
mod histogram;
mod http;
mod hub;
mod load;
mod machine;
mod mqtt;
mod options;
mod peers;
mod process;
mod report;
mod sas;
mod scenario;
mod server;
mod tls;
mod websocket;

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::options::{Options, Scenario};
use crate::report::{
    ALONE, BROWSER_COLUMNS, CATCH_UP_COLUMNS, COMMAND_COLUMNS, Comparison, IDENTITY_COLUMNS, IDLE_COLUMNS, LOAD_COLUMNS, Metrics,
    PRESENCE_COLUMNS, READ_COLUMNS, Row, Section, compare_with_first,
};
use crate::scenario::browsers::{self, Page};
use crate::scenario::publish::Load;
use crate::scenario::{amqp_catch_up, amqp_idle, amqp_read, amqp_send, commands, connects, https, identities, idle, presence, publish};
use crate::server::{AMQP, Kind, MQTT, Stage};
use crate::tls::Certificate;

/// Between two runs: what the last server left to the kernel gets done.
const PAUSE: Duration = Duration::from_secs(1);
const SWEPT_WINDOWS: [usize; 6] = [1, 2, 5, 10, 20, 50];
const SWEPT_PAYLOADS_BYTES: [usize; 7] = [16, 256, 1024, 4096, 16_384, 32_768, 65_536];
/// Connections, and messages in flight on each.
const AMQP_LOADS: [(usize, usize); 3] = [(1, 500), (100, 1), (100, 10)];
/// Connections, and messages in flight on each, while others read.
const SENDING_BESIDE_READERS: (usize, usize) = (100, 10);
/// Readers of a cold journal while others send.
const CATCHING_UP: [usize; 3] = [0, 1, amqp_catch_up::PARTITIONS];
/// The payload sweep's window: 64 KiB payloads fill the pipe with far fewer messages than this.
const PAYLOAD_SWEEP_WINDOW: usize = 10;
/// The sweeps show a shape, one run each; half the time of a headline run is enough for that.
const SWEEP_TIME_DIVISOR: u32 = 2;

/// A scenario, all its servers and rounds.
type Measure = fn(&Stage, &Options) -> Result<Section>;

fn main() -> Result<()> {
    let options = Options::read();
    machine::make_room_for(options.idle.max(options.connections).max(options.command_devices))?;
    fs::create_dir_all(&options.work_folder).with_context(|| format!("making {}", options.work_folder.display()))?;
    let stage = stage(&options)?;
    if !options.anyway {
        machine::wait_for_calm()?;
    }
    let facts = json!({
        "machine": machine::describe(&stage.folder)?,
        "hub": machine::version_of(&stage.programs.hub, "--version"),
        "mosquitto": machine::version_of(&stage.programs.mosquitto, "-h"),
        "artemis": stage.programs.artemis,
        "tls": tls::SETTINGS,
        "onBusyMachine": options.anyway,
        "rounds": options.rounds,
        "secondsPerRun": options.seconds,
        "generatorThreads": options.threads,
    });
    report::print(&serde_json::to_string_pretty(&facts)?);

    let mut sections = Vec::new();
    let planned: [(Scenario, Measure); 14] = [
        (Scenario::Publish, publishing),
        (Scenario::Idle, idling),
        (Scenario::Connects, connecting),
        (Scenario::Https, posting),
        (Scenario::Browsers, publishing_before_browsers),
        (Scenario::Commands, commanding),
        (Scenario::Presence, resetting),
        (Scenario::Identities, registering),
        (Scenario::AmqpSend, sending),
        (Scenario::AmqpIdle, idling_with_links),
        (Scenario::AmqpRead, reading),
        (Scenario::AmqpCatchUp, sending_beside_readers),
        (Scenario::WindowSweep, sweeping_windows),
        (Scenario::PayloadSweep, sweeping_payloads),
    ];
    for (_, measure) in planned.into_iter().filter(|(scenario, _)| options.wants(*scenario)) {
        let section = measure(&stage, &options)?;
        if !section.rows.is_empty() {
            report::print(&section.table());
            sections.push(section.json());
        }
    }
    let results = json!({"facts": facts, "sections": sections});
    let file = options.json.unwrap_or_else(|| stage.folder.join(format!("results-{}.json", clock::unix_seconds())));
    fs::write(&file, serde_json::to_string_pretty(&results)?)?;
    report::progress(&format!("results: {}", file.display()));
    Ok(())
}

fn stage(options: &Options) -> Result<Stage> {
    let programs = options.programs()?;
    let mut kinds = options.servers.clone();
    if kinds.is_empty() {
        kinds = vec![Kind::Hub, Kind::Mosquitto];
        for peer in [Kind::Fe2o3, Kind::Artemis] {
            if programs.of(peer).exists() {
                kinds.push(peer);
            } else {
                report::progress(&format!("without {}: there is no {}", peer.name(), programs.of(peer).display()));
            }
        }
    }
    for kind in &kinds {
        let program = programs.of(*kind);
        if !program.exists() {
            bail!("there is no {}: build or install {}, or leave it out with --servers", program.display(), kind.name());
        }
    }
    let folder = options.work_folder.canonicalize()?;
    Ok(Stage { certificate: Certificate::make(&folder)?, folder, programs, kinds })
}

/// Those of `comparable` that are measured.
fn chosen(stage: &Stage, comparable: &[Kind]) -> Vec<Kind> {
    comparable.iter().copied().filter(|kind| stage.kinds.contains(kind)).collect()
}

/// Runs the hub, if it is measured at all.
fn hub_only(stage: &Stage, rounds: usize, parameters: &str, run: impl Fn() -> Result<Metrics>) -> Result<Vec<Row>> {
    take_turns(&chosen(stage, &[Kind::Hub]), rounds, parameters, |_| run())
}

/// Runs every server of the comparison in turn, round after round, so that what changes on the machine meets all alike.
fn take_turns(kinds: &[Kind], rounds: usize, parameters: &str, run: impl Fn(Kind) -> Result<Metrics>) -> Result<Vec<Row>> {
    let turns = kinds.iter().map(|kind| (kind.name(), parameters.to_owned(), *kind)).collect();
    in_turn(turns, rounds, run)
}

/// Runs all that are compared in turn, each a server with parameters, round after round.
fn in_turn<T: Copy>(turns: Vec<(&'static str, String, T)>, rounds: usize, run: impl Fn(T) -> Result<Metrics>) -> Result<Vec<Row>> {
    let row = |(server, parameters, turn)| (turn, Row { server, parameters, rounds: Vec::new() });
    let mut turns: Vec<_> = turns.into_iter().map(row).collect();
    for round in 1..=rounds {
        for (turn, row) in &mut turns {
            thread::sleep(PAUSE);
            let (server, parameters) = (row.server, &row.parameters);
            let metrics = run(*turn).with_context(|| format!("{server}, {parameters}, round {round}"))?;
            let shown = metrics.iter().map(|(name, value)| format!("{name} {value:.1}")).collect::<Vec<_>>().join(", ");
            report::progress(&format!("{server}, {parameters}, round {round} of {rounds}: {shown}"));
            row.rounds.push(metrics);
        }
    }
    Ok(turns.into_iter().map(|(_, row)| row).collect())
}

fn publishing(stage: &Stage, options: &Options) -> Result<Section> {
    let mut rows = Vec::new();
    for &window in &options.windows {
        let load = Load { connections: options.connections, window, payload_bytes: options.payload };
        let parameters = format!("{} connections, window {window}, {} B", load.connections, load.payload_bytes);
        let run = |kind| publish::run(stage, kind, load, options.pace());
        rows.extend(take_turns(&chosen(stage, &MQTT), options.rounds, &parameters, run)?);
    }
    let compared = Comparison { metric: "per_second", peers: &[Kind::Mosquitto] };
    Ok(Section { title: "MQTT QoS 1 over TLS", columns: LOAD_COLUMNS, compared, rows })
}

fn idling(stage: &Stage, options: &Options) -> Result<Section> {
    let parameters = format!("{} connections", options.idle);
    let rows = take_turns(&chosen(stage, &MQTT), options.rounds, &parameters, |kind| idle::run(stage, kind, options.idle))?;
    let compared = Comparison { metric: "rss_kib_each", peers: &[Kind::Mosquitto] };
    Ok(Section { title: "Memory of idle MQTT connections over TLS", columns: IDLE_COLUMNS, compared, rows })
}

fn connecting(stage: &Stage, options: &Options) -> Result<Section> {
    let parameters = format!("{} connects", options.connects);
    let rows = take_turns(&chosen(stage, &MQTT), options.rounds, &parameters, |kind| connects::run(stage, kind, options.connects))?;
    let compared = Comparison { metric: "per_second", peers: &[Kind::Mosquitto] };
    Ok(Section { title: "TLS handshake, CONNECT, DISCONNECT", columns: LOAD_COLUMNS, compared, rows })
}

fn posting(stage: &Stage, options: &Options) -> Result<Section> {
    let parameters = format!("{} connections, {} B", options.https_connections, options.payload);
    let run = || https::run(stage, options.https_connections, options.payload, options.pace());
    let rows = hub_only(stage, options.rounds, &parameters, run)?;
    Ok(Section { title: "HTTPS POST of telemetry", columns: LOAD_COLUMNS, compared: ALONE, rows })
}

fn publishing_before_browsers(stage: &Stage, options: &Options) -> Result<Section> {
    let mut all = Vec::new();
    for &window in options.windows.iter().filter(|_| stage.kinds.contains(&Kind::Hub)) {
        let sending = Load { connections: options.connections, window, payload_bytes: options.payload };
        let looked_at = [(0, Page::Overview), (options.browsers, Page::Overview), (options.browsers, Page::Flow)];
        let turn = |(browsers, page): (usize, Page)| {
            let what = if browsers == 0 { String::new() } else { format!(" at {}", page.name()) };
            let parameters =
                format!("{} connections, window {window}, {} B, {browsers} browsers{what}", sending.connections, sending.payload_bytes);
            (Kind::Hub.name(), parameters, browsers::Load { browsers, page, sending })
        };
        let run = |load| browsers::run(stage, load, options.pace());
        let mut rows = in_turn(looked_at.map(turn).into(), options.rounds, run)?;
        compare_with_first(&mut rows, "server_cpu_us", "of_nobodys");
        all.extend(rows);
    }
    Ok(Section { title: "MQTT QoS 1 over TLS while people look at the dashboard", columns: BROWSER_COLUMNS, compared: ALONE, rows: all })
}

fn commanding(stage: &Stage, options: &Options) -> Result<Section> {
    let load = commands::Load {
        devices: options.command_devices,
        senders: options.command_senders,
        readers: options.command_readers,
        window: options.command_window,
        payload_bytes: options.payload,
    };
    let parameters = format!("{} devices, {} senders, {} on their way, {} B", load.devices, load.senders, load.window, load.payload_bytes);
    let rows = hub_only(stage, options.rounds, &parameters, || commands::run(stage, load, options.pace()))?;
    Ok(Section {
        title: "Commands: sent over HTTPS, delivered over MQTT, receipts read and completed",
        columns: COMMAND_COLUMNS,
        compared: ALONE,
        rows,
    })
}

fn resetting(stage: &Stage, options: &Options) -> Result<Section> {
    let parameters = format!("{} resets", options.resets);
    let rows = hub_only(stage, options.rounds, &parameters, || presence::run(stage, options.resets))?;
    Ok(Section { title: "TCP reset until the API says Disconnected", columns: PRESENCE_COLUMNS, compared: ALONE, rows })
}

fn registering(stage: &Stage, options: &Options) -> Result<Section> {
    let parameters = format!("{} identities, {} disabled", options.identities, options.disables);
    let run = || identities::run(stage, options.identities, options.disables, options.pace());
    let rows = hub_only(stage, options.rounds, &parameters, run)?;
    Ok(Section { title: "Identities", columns: IDENTITY_COLUMNS, compared: ALONE, rows })
}

fn sending(stage: &Stage, options: &Options) -> Result<Section> {
    let mut rows = Vec::new();
    for (connections, window) in AMQP_LOADS {
        let load = Load { connections, window, payload_bytes: options.payload };
        let parameters = format!("{connections} connections, {window} in flight, {} B", load.payload_bytes);
        let run = |kind| amqp_send::run(stage, kind, load, options.pace());
        rows.extend(take_turns(&chosen(stage, &AMQP), options.rounds, &parameters, run)?);
    }
    let compared = Comparison { metric: "server_cpu_us", peers: &[Kind::Fe2o3, Kind::Artemis] };
    Ok(Section { title: "Telemetry over AMQP and TLS", columns: LOAD_COLUMNS, compared, rows })
}

fn idling_with_links(stage: &Stage, options: &Options) -> Result<Section> {
    let parameters = format!("{} connections", options.idle);
    let rows = take_turns(&chosen(stage, &AMQP), options.rounds, &parameters, |kind| amqp_idle::run(stage, kind, options.idle))?;
    let compared = Comparison { metric: "rss_kib_each", peers: &[Kind::Fe2o3, Kind::Artemis] };
    let title = "Memory of idle AMQP connections over TLS, a session and two links each";
    Ok(Section { title, columns: IDLE_COLUMNS, compared, rows })
}

fn reading(stage: &Stage, options: &Options) -> Result<Section> {
    let mut rows = Vec::new();
    for &readers in &options.readers {
        let load = amqp_read::Load { readers, events: options.events, payload_bytes: options.payload };
        let parameters = format!("{readers} readers, {} events of {} B", load.events, load.payload_bytes);
        rows.extend(hub_only(stage, options.rounds, &parameters, || amqp_read::run(stage, load))?);
    }
    Ok(Section { title: "Events read over AMQP from a cold journal", columns: READ_COLUMNS, compared: ALONE, rows })
}

fn sending_beside_readers(stage: &Stage, options: &Options) -> Result<Section> {
    let (connections, window) = SENDING_BESIDE_READERS;
    let sending = Load { connections, window, payload_bytes: options.payload };
    let mut rows = Vec::new();
    for readers in CATCHING_UP {
        let load = amqp_catch_up::Load { readers, events: options.events, sending };
        let parameters =
            format!("{connections} connections, {window} in flight, {} B, {readers} readers catching up", sending.payload_bytes);
        rows.extend(hub_only(stage, options.rounds, &parameters, || amqp_catch_up::run(stage, load, options.pace()))?);
    }
    Ok(Section { title: "Telemetry over AMQP while others catch up from a cold journal", columns: CATCH_UP_COLUMNS, compared: ALONE, rows })
}

fn sweeping_windows(stage: &Stage, options: &Options) -> Result<Section> {
    let loads = SWEPT_WINDOWS.map(|window| Load { connections: options.connections, window, payload_bytes: options.payload });
    sweep(stage, options, "Windows, the hub alone", &loads, |load| format!("window {}", load.window))
}

fn sweeping_payloads(stage: &Stage, options: &Options) -> Result<Section> {
    let load = |payload_bytes| Load { connections: options.connections, window: PAYLOAD_SWEEP_WINDOW, payload_bytes };
    let loads = SWEPT_PAYLOADS_BYTES.map(load);
    sweep(stage, options, "Payloads, the hub alone", &loads, |load| format!("{} B", load.payload_bytes))
}

fn sweep(stage: &Stage, options: &Options, title: &'static str, loads: &[Load], name: fn(&Load) -> String) -> Result<Section> {
    let mut pace = options.pace();
    pace.measured /= SWEEP_TIME_DIVISOR;
    let mut rows = Vec::new();
    for load in loads {
        rows.extend(hub_only(stage, 1, &name(load), || publish::run(stage, Kind::Hub, *load, pace))?);
    }
    Ok(Section { title, columns: LOAD_COLUMNS, compared: ALONE, rows })
}
