//! The servers that the hub is measured beside: how each is started in an empty folder, with TLS, with whatever is in its favour.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::server::Addresses;
use crate::tls::Certificate;

/// Protects a copy of the certificate's key that lives as long as a run, in a folder of its own.
const KEY_STORE_PASSWORD: &str = "benchmark";

/// Nothing is stored, nobody is checked, no delay for small packets: all of it in mosquitto's favour.
pub fn mosquitto(program: &Path, folder: &Path, addresses: &Addresses, certificate: &Certificate) -> Result<Command> {
    let settings = folder.join("mosquitto.conf");
    fs::write(&settings, mosquitto_settings(addresses, certificate))?;
    let mut command = Command::new(program);
    command.arg("-c").arg(settings);
    Ok(command)
}

fn mosquitto_settings(addresses: &Addresses, certificate: &Certificate) -> String {
    let file = |path: &Path| path.display().to_string();
    let mut lines = vec![
        format!("listener {} 127.0.0.1", addresses.mqtt.port()),
        format!("certfile {}", file(&certificate.chain_file)),
        format!("keyfile {}", file(&certificate.key_file)),
        "tls_version tlsv1.3".to_owned(),
        "allow_anonymous true".to_owned(),
        "persistence false".to_owned(),
        "set_tcp_nodelay true".to_owned(),
        "connection_messages false".to_owned(),
        "log_dest stderr".to_owned(),
        "log_type error".to_owned(),
        "log_type warning".to_owned(),
    ];
    // Started by root, mosquitto becomes another user, who may not read the key.
    if rustix::process::geteuid().is_root() {
        lines.push("user root".to_owned());
    }
    lines.join("\n") + "\n"
}

/// A program of this benchmark's own; see `fe2o3.rs`.
pub fn fe2o3(program: &Path, addresses: &Addresses, certificate: &Certificate) -> Command {
    let mut command = Command::new(program);
    command.arg(addresses.amqp.to_string()).arg(&certificate.chain_file).arg(&certificate.key_file);
    command
}

/// An instance as its own tool makes it, nobody checked, its journal synchronised as by default, with one listener for AMQP over TLS.
pub fn artemis(home: &Path, folder: &Path, addresses: &Addresses, certificate: &Certificate) -> Result<Command> {
    let instance = folder.join("instance");
    let mut create = Command::new(home.join("bin/artemis"));
    create.arg("create").arg(&instance).args(["--silent", "--user", "bench", "--password", "bench", "--allow-anonymous"]);
    create.args(["--no-web", "--no-autotune", "--no-amqp-acceptor", "--no-hornetq-acceptor", "--no-mqtt-acceptor", "--no-stomp-acceptor"]);
    run(&mut create)?;

    let store = folder.join("server.p12");
    let mut export = Command::new("openssl");
    export.args(["pkcs12", "-export", "-passout"]).arg(format!("pass:{KEY_STORE_PASSWORD}"));
    export.arg("-in").arg(&certificate.chain_file).arg("-inkey").arg(&certificate.key_file).arg("-out").arg(&store);
    run(&mut export)?;

    let file = instance.join("etc/broker.xml");
    let settings = fs::read_to_string(&file)?;
    let (before, rest) = settings.split_once("<acceptors>").context("broker.xml has no acceptors")?;
    let (_, after) = rest.split_once("</acceptors>").context("broker.xml has no end of acceptors")?;
    // It would stop on a disk that is fuller than this, however much is left of it.
    let before = before.replace("<max-disk-usage>90<", "<max-disk-usage>100<");
    let listener = format!(
        "tcp://{}?protocols=AMQP;amqpCredits=1000;amqpLowCredits=300;sslEnabled=true;enabledProtocols=TLSv1.3;\
         keyStoreType=PKCS12;keyStorePath={};keyStorePassword={KEY_STORE_PASSWORD}",
        addresses.amqp,
        store.display()
    );
    fs::write(&file, format!("{before}<acceptors><acceptor name=\"amqp\">{listener}</acceptor></acceptors>{after}"))?;
    let mut command = Command::new(instance.join("bin/artemis"));
    command.arg("run");
    Ok(command)
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let output = command.output().with_context(|| format!("starting {}", program.display()))?;
    ensure!(output.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    Ok(())
}
