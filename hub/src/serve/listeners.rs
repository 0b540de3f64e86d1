//! The hub's five ports, and what is spoken on each.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::http_server::{HttpServer, HttpTimes};
use crate::config::Config;
use crate::net::proxy_protocol::ProxySources;
use crate::net::tls::{ClientCertificate, ServerNames, server_config};
use crate::net::{Admissions, BindError, Front, ReloadingCertificate, StrangerLimits, bind};
use crate::ops::Hub;

/// What devices' HTTPS speaks: HTTP/2 has no capitals in header names, and the names of messages' properties are header names.
const DEVICE_HTTP: [&str; 1] = ["http/1.1"];

/// What the hub's own API speaks, the better first.
const API_HTTP: [&str; 2] = ["h2", "http/1.1"];

/// What scrapers and probes speak.
const METRICS_HTTP: [&str; 1] = ["http/1.1"];

/// How long a scraper's connection may be idle: longer than the minute that is the longest usual time between two scrapes.
const METRICS_IDLE_TIME: Duration = Duration::from_secs(150);

/// What the metrics port takes. Nobody authenticates there, so that every connection stays a stranger's until it ends: they are few, they
/// have a door of their own, so that no crowd there shuts out the fleet, and what they may send has no end, because a scraper keeps its
/// connection for months.
const METRICS_LIMITS: StrangerLimits = StrangerLimits {
    connections: 64,
    unfinished: 64,
    unfinished_per_address: 16,
    failed_per_address: 200,
    failed_per_address_per_second: 20,
    bytes_before_authentication: u32::MAX,
};

/// Ports that are bound, and not served yet.
pub struct BoundPorts {
    mqtt: Vec<TcpListener>,
    amqp: Vec<TcpListener>,
    https: Vec<TcpListener>,
    api: Vec<TcpListener>,
    metrics: Vec<TcpListener>,
    /// Why there is no HTTPS port, where it may be missing.
    pub https_left_out: Option<BindError>,
}

/// How exactly the ports have to be the configured ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// These and no others.
    Exactly,
    /// As a laptop lets them be: without the HTTPS port if it can't be had, because 443 is often somebody else's there; and what listens
    /// on 127.0.0.1 does so on ::1 as well where there is IPv6, because `localhost` may lead to either.
    OnALaptop,
}

/// Where a hub listens; of two loopback addresses, the one of IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// MQTT over TLS.
    pub mqtt: Option<SocketAddr>,
    /// AMQP 1.0 over TLS.
    pub amqp: Option<SocketAddr>,
    /// Devices' and Azure's HTTPS, WebSockets.
    pub https: Option<SocketAddr>,
    /// The hub's own API.
    pub api: Option<SocketAddr>,
    /// Health and metrics.
    pub metrics: Option<SocketAddr>,
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [("MQTT", self.mqtt), ("AMQP", self.amqp), ("HTTPS", self.https), ("API", self.api), ("metrics", self.metrics)];
        let bound = all.into_iter().filter_map(|(what, address)| Some(format!("{what} on {}", address?)));
        f.write_str(&bound.collect::<Vec<_>>().join(", "))
    }
}

impl BoundPorts {
    /// Binds what is configured.
    pub fn bind(config: &Config, ports: Ports) -> Result<Self, BindError> {
        let listeners = &config.listeners;
        let bind_all = |address: Option<SocketAddr>| {
            let mut bound: Vec<_> = address.map(bind).transpose()?.into_iter().collect();
            if ports == Ports::OnALaptop && address.is_some_and(|address| address.ip() == Ipv4Addr::LOCALHOST) {
                let port = bound.first().and_then(|listener| listener.local_addr().ok()).map(|address| address.port());
                bound.extend(port.and_then(|port| bind((Ipv6Addr::LOCALHOST, port).into()).ok()));
            }
            Ok(bound)
        };
        let (https, https_left_out) = match bind_all(listeners.https.0) {
            Err(error @ (BindError::NotAllowed(_) | BindError::InUse(_))) if ports == Ports::OnALaptop => (Vec::new(), Some(error)),
            bound => (bound?, None),
        };
        let (mqtt, amqp) = (bind_all(listeners.mqtt.0)?, bind_all(listeners.amqp.0)?);
        let (api, metrics) = (bind_all(listeners.api.0)?, bind_all(listeners.metrics.0)?);
        Ok(Self { mqtt, amqp, https, api, metrics, https_left_out })
    }

    /// Where they are.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        let address = |listeners: &[TcpListener]| listeners.first()?.local_addr().ok();
        Addresses {
            mqtt: address(&self.mqtt),
            amqp: address(&self.amqp),
            https: address(&self.https),
            api: address(&self.api),
            metrics: address(&self.metrics),
        }
    }
}

/// What the ports are served with.
pub struct Edge<'a> {
    /// Limits, names, proxies.
    pub config: &'a Config,
    /// What is shown to clients.
    pub certificate: Arc<ReloadingCertificate>,
    /// Who comes in.
    pub admissions: Arc<Admissions>,
    /// Ends everything.
    pub stop: CancellationToken,
}

impl Edge<'_> {
    /// Serves the ports, each in a task, until the end.
    pub fn serve(&self, ports: BoundPorts, hub: &Arc<Hub>, routers: &Routers, tasks: &mut JoinSet<()>) -> Result<(), rustls::Error> {
        let names = self.server_names();
        let limits = &self.config.limits;
        let times = HttpTimes { header: limits.request_header_time.get(), authentication: Some(limits.authentication_time.get()) };
        for listener in ports.mqtt {
            let front = self.front("mqtt", names.clone(), ClientCertificate::Requested, &["mqtt"])?;
            let front = Front { kernel_keeps_alive: false, ..front };
            let hub = Arc::clone(hub);
            let stop = self.stop.clone();
            let time = limits.authentication_time.get();
            let serve = move |connection| super::protocols::serve_mqtt(Arc::clone(&hub), connection, time, stop.clone());
            tasks.spawn(front.accept(listener, self.stop.clone(), serve));
        }
        for listener in ports.amqp {
            let front = self.front("amqp", names.clone(), ClientCertificate::Requested, &["amqp"])?;
            // Idle time-outs are AMQP's own.
            let front = Front { kernel_keeps_alive: false, ..front };
            let (hub, stop) = (Arc::clone(hub), self.stop.clone());
            let time = limits.authentication_time.get();
            let serve = move |connection| super::protocols::serve_amqp(Arc::clone(&hub), connection, time, stop.clone());
            tasks.spawn(front.accept(listener, self.stop.clone(), serve));
        }
        let carry = |http: HttpServer, router: Router| move |connection| http.clone().serve(connection, router.clone());
        for listener in ports.https {
            let front = self.front("https", names.clone(), ClientCertificate::Requested, &DEVICE_HTTP)?;
            let http = HttpServer::http1(times, self.stop.clone());
            tasks.spawn(front.accept(listener, self.stop.clone(), carry(http, routers.azure.clone())));
        }
        for listener in ports.api {
            let front = self.front("api", names.clone(), ClientCertificate::NotRequested, &API_HTTP)?;
            let http = HttpServer::http1_and_2(times, self.stop.clone());
            tasks.spawn(front.accept(listener, self.stop.clone(), carry(http, routers.api.clone())));
        }
        for listener in ports.metrics {
            let front = Front {
                admissions: self.admissions.beside(METRICS_LIMITS),
                // Scrapers and probes come straight to the hub, also from the networks of its load balancers.
                proxies: ProxySources::default(),
                ..self.front("metrics", ServerNames::any(), ClientCertificate::NotRequested, &METRICS_HTTP)?
            };
            let times = HttpTimes { header: METRICS_IDLE_TIME, authentication: None };
            let http = HttpServer::http1(times, self.stop.clone());
            tasks.spawn(front.accept(listener, self.stop.clone(), carry(http, routers.metrics.clone())));
        }
        Ok(())
    }

    fn front(&self, name: &'static str, names: ServerNames, ask: ClientCertificate, protocols: &[&str]) -> Result<Front, rustls::Error> {
        Ok(Front {
            name,
            tls: server_config(Arc::clone(&self.certificate), names.clone(), ask, protocols)?,
            names,
            admissions: Arc::clone(&self.admissions),
            proxies: ProxySources::new(self.config.proxy_sources.clone()),
            handshake_time: self.config.limits.handshake_time.get(),
            kernel_keeps_alive: true,
        })
    }

    /// Every name of the hub. `localhost` is one only where the configuration says so, as the laptop's does.
    fn server_names(&self) -> ServerNames {
        let config = self.config;
        let own = [&config.host_name].into_iter().chain(&config.other_host_names).chain(&config.aliases);
        ServerNames::only(own.map(ToString::to_string))
    }
}

/// What the HTTP ports answer with.
pub struct Routers {
    /// Port 443.
    pub azure: Router,
    /// Port 8443.
    pub api: Router,
    /// Port 9464.
    pub metrics: Router,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Override, Source};

    #[tokio::test]
    async fn a_laptop_listens_wherever_localhost_leads() {
        let settings = [
            ("host_name", "localhost"),
            ("data", "/nowhere"),
            ("tls.certificate", "/nowhere"),
            ("tls.key", "/nowhere"),
            ("listeners.mqtt", "127.0.0.1:0"),
            ("listeners.amqp", "off"),
            ("listeners.https", "off"),
            ("listeners.api", "127.0.0.2:0"),
            ("listeners.metrics", "off"),
        ];
        let overrides = settings.map(|(name, text)| Override { name: name.into(), text: text.into(), origin: name.into() }).to_vec();
        let config = Source { path: None, overrides }.read().unwrap();
        let has_ipv6 = bind((Ipv6Addr::LOCALHOST, 0).into()).is_ok();
        for (ports, mqtt) in [(Ports::Exactly, 1), (Ports::OnALaptop, 1 + usize::from(has_ipv6))] {
            let bound = BoundPorts::bind(&config, ports).unwrap();
            assert_eq!((bound.mqtt.len(), bound.https.len(), bound.api.len()), (mqtt, 0, 1), "{ports:?}");
            assert!(bound.addresses().mqtt.unwrap().is_ipv4());
        }
    }
}
