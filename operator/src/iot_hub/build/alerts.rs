//! A hub's alerts: rules for Prometheus, as a PrometheusRule for the Prometheus Operator and as a plain file for everybody else.
//!
//! Pure: the hub's names and `spec.monitoring` in, rules out. Every expression looks back over a few scrapes and not at the last one, so
//! that one that failed neither ends an alert nor begins its time anew; and it takes the hub's series together, because each Pod of the
//! hub has its own. Tests with a Prometheus's own judgement are in `e2e/alerts`; what to do when one fires, in `docs/runbooks`.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use mooring_crds::GoDuration;
use mooring_crds::iot_hub::{Alerts, Monitoring};
use serde_json::{Map, Value, json};

/// Where the pages about alerts are; an alert's name follows.
const RUNBOOKS: &str = "https://mooring.dev/docs/runbooks/";

/// What a value has to last after a hub has come back, so that its devices have time to do so too.
const SETTLING: &str = "2m";

/// How long the end of a certificate has to be near: one that is just being renewed calls nobody.
const RENEWAL: &str = "15m";

/// The kind PrometheusRule of the Prometheus Operator.
#[must_use]
pub fn prometheus_rule_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("monitoring.coreos.com", "v1", "PrometheusRule"), "prometheusrules")
}

/// The hub's alerts for the Prometheus Operator. It bears the labels of `spec.monitoring.prometheus`; the operator's own labels and the
/// owner are the caller's to add.
#[must_use]
pub fn prometheus_rule(name: &str, namespace: &str, monitoring: &Monitoring) -> DynamicObject {
    let mut object = DynamicObject::new(name, &prometheus_rule_resource()).within(namespace);
    object.metadata.labels = Some(monitoring.prometheus.labels.clone());
    object.data = json!({ "spec": rules_file(name, namespace, monitoring) });
    object
}

/// The same rules, as `rule_files` of a Prometheus has them.
#[must_use]
pub fn rules_file(name: &str, namespace: &str, monitoring: &Monitoring) -> Value {
    let hub = Hub { name, namespace, pace: Pace::of(monitoring) };
    let alerts = &monitoring.alerts;
    let rules = [
        hub_absent(hub, alerts),
        fleet_drop(hub, alerts),
        devices_offline(hub, alerts),
        refusal_burst(hub, alerts),
        certificate_expiry(hub, alerts),
        consumer_group_unread(hub, alerts),
    ];
    let rules: Vec<Value> = rules.into_iter().map(|rule| rule.into_json(hub, alerts)).collect();
    json!({ "groups": [{ "name": format!("mooring-{namespace}-{name}"), "rules": rules }] })
}

/// Whose alerts these are.
#[derive(Clone, Copy, Debug)]
struct Hub<'a> {
    name: &'a str,
    namespace: &'a str,
    pace: Pace,
}

impl Hub<'_> {
    /// The hub's series of a metric. Names of hubs and namespaces have no character that would have to be escaped.
    fn series(self, metric: &str) -> String {
        format!("{metric}{{{}}}", self.matchers())
    }

    fn matchers(self) -> String {
        format!(r#"namespace="{}",iothub="{}""#, self.namespace, self.name)
    }
}

/// How far back the expressions look: fixed times, unless the hub is scraped so rarely that there would be nothing in them.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Whether the hub is scraped less than once a minute. Prometheus forgets a sample after five minutes by itself.
    rare: bool,
    /// How long the last sample counts when scrapes fail: three scrapes.
    gap: GoDuration,
    /// How far back the most connected devices are looked for.
    fleet: GoDuration,
    /// How far back refusals are counted.
    refusals: GoDuration,
}

impl Pace {
    fn of(monitoring: &Monitoring) -> Self {
        let interval = monitoring.prometheus.interval.unwrap_or(GoDuration::minutes(1));
        let at_least = |minutes, scrapes| whole_seconds(GoDuration::minutes(minutes).max(GoDuration(interval.0.saturating_mul(scrapes))));
        Self { rare: interval > GoDuration::minutes(1), gap: at_least(3, 3), fleet: at_least(15, 8), refusals: at_least(5, 3) }
    }
}

/// How soon somebody has to look.
#[derive(Clone, Copy, Debug)]
enum Severity {
    /// Now.
    Critical,
    /// In working hours.
    Warning,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

/// One alert.
#[derive(Debug)]
struct Rule {
    alert: &'static str,
    expr: String,
    lasts: String,
    severity: Severity,
    summary: String,
    description: String,
}

impl Rule {
    fn into_json(self, hub: Hub<'_>, alerts: &Alerts) -> Value {
        // One label that Prometheus can't have would cost the hub all its alerts.
        let given = alerts.labels.iter().filter(|(name, _)| is_label_name(name));
        let mut labels: Map<String, Value> = given.map(|(name, value)| (name.clone(), json!(value))).collect();
        for (name, value) in [("namespace", hub.namespace), ("iothub", hub.name), ("severity", self.severity.name())] {
            labels.insert(name.to_owned(), json!(value));
        }
        json!({
            "alert": self.alert,
            "expr": self.expr,
            "for": self.lasts,
            "labels": labels,
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": format!("{RUNBOOKS}{}", self.alert),
            },
        })
    }
}

/// Nothing is heard of the hub. A sample of the hub's own is asked for and not `up`, so that a target that was never found counts as well.
fn hub_absent(hub: Hub<'_>, alerts: &Alerts) -> Rule {
    let lasts = whole_seconds(alerts.hub_absent_for);
    let heard = hub.series("mooring_build_info");
    Rule {
        alert: "MooringHubAbsent",
        expr: if hub.pace.rare { format!("absent_over_time({heard}[{}])", hub.pace.gap) } else { format!("absent({heard})") },
        severity: Severity::Critical,
        summary: format!("Nothing is heard of the hub {}/{}", hub.namespace, hub.name),
        description: format!(
            "Prometheus has read no metrics of the hub {}/{} for {lasts}. It does not run, can't be reached, or is not scraped.",
            hub.namespace, hub.name
        ),
        lasts: lasts.to_string(),
    }
}

/// Suddenly many devices fewer. What was disabled or deleted in the meantime is taken off what there was at the most; nothing connected and
/// nothing to connect is 0/0, which is no alert.
///
/// The hub that was there until a moment ago speaks for [`Pace::gap`], and then the new one's devices have [`SETTLING`] to come back. Once the
/// drop is older than the window it ends by itself: what goes on missing is for [`devices_offline`].
fn fleet_drop(hub: Hub<'_>, alerts: &Alerts) -> Rule {
    let connected = hub.series("mooring_devices_connected");
    let enabled = format!(r#"mooring_devices{{{},status="enabled"}}"#, hub.matchers());
    let Pace { gap, fleet, .. } = hub.pace;
    let left = f64::from(100 - alerts.fleet_drop_percent.clamp(1, 100)) / 100.0;
    Rule {
        alert: "MooringFleetDrop",
        expr: format!(
            "\
max by (namespace, iothub) (max_over_time({connected}[{gap}]))
/
clamp_min(
  max by (namespace, iothub) (max_over_time({connected}[{fleet}]))
  - clamp_min(
      max by (namespace, iothub) (max_over_time({enabled}[{fleet}]))
      - max by (namespace, iothub) (last_over_time({enabled}[{gap}])),
      0),
  0)
<= {left}"
        ),
        lasts: SETTLING.to_owned(),
        severity: Severity::Critical,
        summary: format!("Many devices of the hub {}/{} have disconnected", hub.namespace, hub.name),
        description: format!(
            "{{{{ $value | humanizePercentage }}}} of the devices that were connected to the hub {}/{} are connected still: {} now, {} at the \
             most in the last {fleet}. Devices that were disabled or deleted since are not counted as missing. The alert fires from \
             {} % fewer.",
            hub.namespace,
            hub.name,
            number(&format!("max({connected})")),
            number(&format!("max(max_over_time({connected}[{fleet}]))")),
            alerts.fleet_drop_percent,
        ),
    }
}

/// Devices that are expected to be connected, and are not; how long each may be away is said by `offlineAfter`.
fn devices_offline(hub: Hub<'_>, alerts: &Alerts) -> Rule {
    let offline = hub.series("mooring_devices_expected_offline");
    let expected = hub.series("mooring_devices_expected");
    Rule {
        alert: "MooringDevicesOffline",
        expr: format!(
            "max by (namespace, iothub) (last_over_time({offline}[{}])) > {}",
            hub.pace.gap,
            alerts.devices_offline_more_than.max(0)
        ),
        lasts: SETTLING.to_owned(),
        severity: Severity::Warning,
        summary: format!("Devices of the hub {}/{} are missing", hub.namespace, hub.name),
        description: format!(
            "{{{{ $value }}}} of the {} devices that are expected to be connected to the hub {}/{} have been away for longer than they may \
             (offlineAfter). The alert fires from more than {}.",
            number(&format!("max({expected})")),
            hub.namespace,
            hub.name,
            alerts.devices_offline_more_than,
        ),
    }
}

/// Many refusals. Counted over the old Pod and the new one: a hub that is restarted does not forget them.
fn refusal_burst(hub: Hub<'_>, alerts: &Alerts) -> Rule {
    let refusals = hub.series("mooring_refusals_total");
    let window = hub.pace.refusals;
    let most = format!("topk(1, sum by (reason) (increase({refusals}[{window}])))");
    Rule {
        alert: "MooringRefusalBurst",
        expr: format!("sum by (namespace, iothub) (increase({refusals}[{window}])) > {}", alerts.refusals_more_than),
        lasts: "0s".to_owned(),
        severity: Severity::Warning,
        summary: format!("The hub {}/{} refuses many", hub.namespace, hub.name),
        description: format!(
            "The hub {}/{} has refused {{{{ $value | printf \"%.0f\" }}}} times in {window}, most often for \
             {{{{ with query `{most}` }}}}{{{{ . | first | label \"reason\" }}}}{{{{ end }}}}. The alert fires from more than {}.",
            hub.namespace, hub.name, alerts.refusals_more_than,
        ),
    }
}

/// The hub's certificate ends soon. The latest that was served in the last minutes counts: after a renewal that is the new one.
fn certificate_expiry(hub: Hub<'_>, alerts: &Alerts) -> Rule {
    let expiry = hub.series("mooring_certificate_expiry_timestamp_seconds");
    let within = alerts.certificate_expires_within;
    Rule {
        alert: "MooringCertificateExpiry",
        expr: format!("max by (namespace, iothub) (last_over_time({expiry}[{}])) - time() < {}", hub.pace.gap, within.0.as_secs()),
        lasts: RENEWAL.to_owned(),
        severity: Severity::Warning,
        summary: format!("The certificate of the hub {}/{} is about to end", hub.namespace, hub.name),
        description: format!(
            "The certificate that the hub {}/{} serves ends in {{{{ $value | humanizeDuration }}}}; from then on no device connects. It \
             should have been renewed before the last {}.",
            hub.namespace,
            hub.name,
            whole_seconds(within),
        ),
    }
}

/// Nobody reads a partition in a consumer group that has been read there before, and what it has not been given grows old. A group that nobody has
/// ever read in has no lag, and so no alert; one that reads from time to time has the whole threshold to come back.
///
/// A reader that was there in the last [`Pace::gap`] still counts, so that neither a restart of the hub nor readers that hand a partition
/// over are taken for an end.
fn consumer_group_unread(hub: Hub<'_>, alerts: &Alerts) -> Rule {
    let (age, readers) = (hub.series("mooring_consumer_group_lag_seconds"), hub.series("mooring_consumer_group_readers"));
    let (gap, threshold) = (hub.pace.gap, whole_seconds(alerts.consumer_group_unread_for));
    let events = format!("mooring_consumer_group_lag_events{{{},group=%q}}", hub.matchers());
    let lag = format!("{{{{ with query (printf `sum(max by (partition) ({events}))` $labels.group) }}}}");
    Rule {
        alert: "MooringConsumerGroupUnread",
        expr: format!(
            "\
max by (namespace, iothub, group) (
  max by (namespace, iothub, group, partition) (last_over_time({age}[{gap}]))
  unless
  max by (namespace, iothub, group, partition) (max_over_time({readers}[{gap}])) > 0
)
> {}",
            threshold.0.as_secs()
        ),
        lasts: SETTLING.to_owned(),
        severity: Severity::Warning,
        summary: format!("Nobody reads events of the hub {}/{} in the consumer group {{{{ $labels.group }}}}", hub.namespace, hub.name),
        description: format!(
            "Events of the hub {}/{} that the consumer group {{{{ $labels.group }}}} has not been given are up to {{{{ $value | humanizeDuration }}}} \
             old, and nobody reads them. They go once the hub's retention is over. The group is behind by \
             {lag}{{{{ . | first | value | printf \"%.0f\" }}}}{{{{ else }}}}?{{{{ end }}}} events in all. The alert fires from {threshold}.",
            hub.namespace, hub.name,
        ),
    }
}

/// What a query says at the moment of the alert, as a whole number, in the language of Prometheus's annotations.
fn number(query: &str) -> String {
    format!("{{{{ with query `{query}` }}}}{{{{ . | first | value | printf \"%.0f\" }}}}{{{{ else }}}}?{{{{ end }}}}")
}

/// What Prometheus can write, which knows no fractions of a second; never less than was asked for.
pub(super) fn whole_seconds(duration: GoDuration) -> GoDuration {
    let seconds = duration.0.as_secs().saturating_add(u64::from(duration.0.subsec_nanos() > 0));
    GoDuration(std::time::Duration::from_secs(seconds))
}

/// Prometheus's names of labels: `[a-zA-Z_][a-zA-Z0-9_]*`.
fn is_label_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rules(monitoring: &Monitoring) -> Vec<Value> {
        rules_file("plant", "plants", monitoring)["groups"][0]["rules"].as_array().unwrap().clone()
    }

    #[test]
    fn an_alert_is_labelled_with_its_hub_and_points_to_its_page() {
        let mut monitoring = Monitoring::default();
        let labels = [("team", "field"), ("iothub", "another"), ("example.com/team", "field"), ("7", "seven"), ("", "empty")];
        monitoring.alerts.labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        for rule in rules(&monitoring) {
            let severity = rule["labels"]["severity"].clone();
            assert_eq!(rule["labels"], json!({ "namespace": "plants", "iothub": "plant", "severity": severity, "team": "field" }));
            assert!(severity == "critical" || severity == "warning", "{severity}");
            let page = format!("{}/../docs/runbooks/{}.md", env!("CARGO_MANIFEST_DIR"), rule["alert"].as_str().unwrap());
            assert!(std::fs::exists(&page).unwrap(), "{page} is missing");
            assert_eq!(rule["annotations"]["runbook_url"], format!("{RUNBOOKS}{}", rule["alert"].as_str().unwrap()));
        }
    }

    #[test]
    fn thresholds_are_the_manifests() {
        let mut monitoring = Monitoring::default();
        monitoring.alerts.hub_absent_for = GoDuration(Duration::from_millis(90_500));
        monitoring.alerts.fleet_drop_percent = 7;
        monitoring.alerts.devices_offline_more_than = 12;
        monitoring.alerts.refusals_more_than = 3;
        monitoring.alerts.certificate_expires_within = GoDuration::hours(36);
        monitoring.alerts.consumer_group_unread_for = GoDuration::minutes(2);
        let rules = rules(&monitoring);
        assert_eq!(rules[0]["for"], "1m31s");
        for (rule, end) in rules[1..].iter().zip(["<= 0.93", "> 12", "> 3", "< 129600", "> 120"]) {
            assert!(rule["expr"].as_str().unwrap().ends_with(end), "{rule}");
        }
        monitoring.alerts.fleet_drop_percent = 100;
        assert!(self::rules(&monitoring)[1]["expr"].as_str().unwrap().ends_with("<= 0"), "all of them");
    }

    #[test]
    fn a_hub_that_is_rarely_scraped_is_looked_back_at_for_longer() {
        let mut monitoring = Monitoring::default();
        let expressions = |monitoring: &Monitoring| rules(monitoring).iter().map(|rule| rule["expr"].to_string()).collect::<String>();
        let usual = expressions(&monitoring);
        assert!(["[3m]", "[15m]", "[5m]", "absent(mooring_build_info{"].iter().all(|part| usual.contains(part)), "{usual}");
        monitoring.prometheus.interval = Some(GoDuration::minutes(1));
        assert_eq!(expressions(&monitoring), usual);
        monitoring.prometheus.interval = Some(GoDuration::minutes(10));
        let rare = expressions(&monitoring);
        assert!(["[30m]", "[1h20m]", "absent_over_time(mooring_build_info{"].iter().all(|part| rare.contains(part)), "{rare}");
    }

    #[test]
    fn both_forms_say_the_same() {
        let mut monitoring = Monitoring::default();
        monitoring.prometheus.labels = [("release".to_owned(), "kube-prometheus-stack".to_owned())].into();
        let object = prometheus_rule("plant", "plants", &monitoring);
        assert_eq!(object.data["spec"], rules_file("plant", "plants", &monitoring));
        assert_eq!(object.metadata.labels.as_ref().unwrap()["release"], "kube-prometheus-stack");
        assert_eq!(object.types.as_ref().unwrap().kind, "PrometheusRule");
        assert_eq!(
            serde_json::to_string(&object).unwrap(),
            serde_json::to_string(&prometheus_rule("plant", "plants", &monitoring)).unwrap()
        );
    }
}
