//! What is counted, by one list of names, and its page for Prometheus.
//!
//! Labels come from closed sets that the program itself knows: connector, outcome, lane, result.
//! Never a connection, a partner, an id or anything of a person.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::clock::Millis;
use crate::errors::{Error, Result};
use crate::model::{ChangeOutcome, ShareStatus};

/// Everything that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metric {
    VendorRequests,
    VendorWaits,
    TokenRefreshes,
    Webhooks,
    HintsRaised,
    Changes,
    Deliveries,
    DeliverySeconds,
    ShareSteps,
    LedgerSealed,
    LedgerUnsealed,
    DeliveriesDue,
    ConnectionsNeedingPerson,
    ClockOffsetSeconds,
    WalBytes,
    FreeDiskBytes,
    Build,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Only ever grows.
    Counter,
    /// Stands somewhere.
    Gauge,
    /// Seconds, spread over buckets.
    Seconds,
}

/// Bounds of the buckets, seconds: from "at once" to "tomorrow".
const BUCKETS: [f64; 12] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0, 86_400.0];

impl Metric {
    const ALL: [Self; 17] = [
        Self::VendorRequests,
        Self::VendorWaits,
        Self::TokenRefreshes,
        Self::Webhooks,
        Self::HintsRaised,
        Self::Changes,
        Self::Deliveries,
        Self::DeliverySeconds,
        Self::ShareSteps,
        Self::LedgerSealed,
        Self::LedgerUnsealed,
        Self::DeliveriesDue,
        Self::ConnectionsNeedingPerson,
        Self::ClockOffsetSeconds,
        Self::WalBytes,
        Self::FreeDiskBytes,
        Self::Build,
    ];

    /// Name, kind and meaning.
    fn facts(self) -> (&'static str, Kind, &'static str) {
        use Kind::{Counter, Gauge, Seconds};
        match self {
            Self::VendorRequests => ("leadshare_vendor_requests_total", Counter, "Requests sent to vendors, by how they were answered"),
            Self::VendorWaits => ("leadshare_vendor_waits_total", Counter, "Times that work waited for a budget of the vendor"),
            Self::TokenRefreshes => ("leadshare_token_refreshes_total", Counter, "Token refreshes, by how they ended"),
            Self::Webhooks => ("leadshare_webhooks_total", Counter, "Webhooks received, by what became of them"),
            Self::HintsRaised => ("leadshare_hints_total", Counter, "Records that webhooks and polls asked to look at"),
            Self::Changes => ("leadshare_changes_total", Counter, "Changes taken in, by their outcome"),
            Self::Deliveries => ("leadshare_deliveries_total", Counter, "Tries of a delivery, by way and how they ended"),
            Self::DeliverySeconds => {
                ("leadshare_delivery_seconds", Seconds, "From taking a change in to having it in the recipient's system")
            }
            Self::ShareSteps => ("leadshare_share_steps_total", Counter, "Shares that moved, by where to"),
            Self::LedgerSealed => ("leadshare_ledger_sealed_total", Counter, "Ledger entries sealed"),
            Self::LedgerUnsealed => {
                ("leadshare_ledger_unsealed_entries", Gauge, "Ledger entries that wait to be sealed: none, or 2,000 when there are many")
            }
            Self::DeliveriesDue => {
                ("leadshare_deliveries_due", Gauge, "Deliveries that are open, by way: out to recipients, back to sharers")
            }
            Self::ConnectionsNeedingPerson => {
                ("leadshare_connections_needing_person", Gauge, "Connections that wait for somebody to reconnect or repair them")
            }
            Self::ClockOffsetSeconds => {
                ("leadshare_clock_offset_seconds", Gauge, "The vendor's clock minus ours, the largest of its connections")
            }
            Self::WalBytes => ("leadshare_wal_bytes", Gauge, "Size of the embedded database's write-ahead log"),
            Self::FreeDiskBytes => ("leadshare_free_disk_bytes", Gauge, "Free space where the data is"),
            Self::Build => ("leadshare_build_info", Gauge, "1, with the version as label"),
        }
    }

    fn name(self) -> &'static str {
        self.facts().0
    }

    /// Tells the recorder what a name means.
    fn describe(self) {
        let (name, kind, help) = self.facts();
        match kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Seconds => describe_histogram!(name, help),
        }
    }
}

/// The page that Prometheus reads.
#[derive(Clone)]
pub struct Page(PrometheusHandle);

impl Page {
    /// Starts counting for the whole process; once.
    ///
    /// # Errors
    /// [`Error::System`] when something in this process counts already.
    pub fn install() -> Result<Self> {
        let recorder = recorder()?;
        let page = Self(recorder.handle());
        metrics::set_global_recorder(recorder).map_err(|e| Error::System(format!("metrics: {e}")))?;
        describe();
        Ok(page)
    }

    /// The page as it is now.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Tidies up; to be called every few seconds, or memory grows while nobody reads the page.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

fn recorder() -> Result<PrometheusRecorder> {
    let builder = PrometheusBuilder::new().set_buckets(&BUCKETS).map_err(|e| Error::System(format!("metrics: {e}")))?;
    Ok(builder.build_recorder())
}

fn describe() {
    Metric::ALL.into_iter().for_each(Metric::describe);
    gauge!(Metric::Build.name(), "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// A request to a vendor was answered, or not: `ok`, `throttled`, `refused`, `failed`, `no_answer`.
pub fn vendor_request(connector: &'static str, class: &'static str) {
    counter!(Metric::VendorRequests.name(), "connector" => connector, "result" => class).increment(1);
}

/// Work had to wait for a vendor's budget.
pub fn vendor_wait(connector: &'static str) {
    counter!(Metric::VendorWaits.name(), "connector" => connector).increment(1);
}

/// A token was refreshed, or not: `ok`, `recovered` (from the spool), `refused`, `app` (our app is refused), `passing`.
pub fn token_refresh(connector: &'static str, result: &'static str) {
    counter!(Metric::TokenRefreshes.name(), "connector" => connector, "result" => result).increment(1);
}

/// A webhook's hint was raised or dropped, or the webhook refused.
pub fn webhook(connector: &'static str, result: &'static str) {
    counter!(Metric::Webhooks.name(), "connector" => connector, "result" => result).increment(1);
}

/// Records were asked to be looked at, by `webhook` or `poll`.
pub fn hints(connector: &'static str, by: &'static str, count: u64) {
    counter!(Metric::HintsRaised.name(), "connector" => connector, "by" => by).increment(count);
}

/// A change ended.
pub fn change(connector: &'static str, outcome: ChangeOutcome) {
    counter!(Metric::Changes.name(), "connector" => connector, "outcome" => outcome.word()).increment(1);
}

/// A try of a delivery, `out` or `back`, ended: `written`, `exists`, `moved`, `gone`, `refused`, `unknown`, `not_done`.
pub fn delivery(connector: &'static str, way: &'static str, result: &'static str) {
    counter!(Metric::Deliveries.name(), "connector" => connector, "way" => way, "result" => result).increment(1);
}

/// A new lead is in the recipient's system, so long after its change was taken in.
pub fn delivered_after(connector: &'static str, took: Millis) {
    histogram!(Metric::DeliverySeconds.name(), "connector" => connector).record(took.max(0) as f64 / 1_000.0);
}

/// A share moved to a status.
pub fn share_step(status: ShareStatus) {
    counter!(Metric::ShareSteps.name(), "status" => status.word()).increment(1);
}

/// Ledger entries were sealed; so many still wait.
pub fn ledger(sealed: u64, unsealed: u64) {
    counter!(Metric::LedgerSealed.name()).increment(sealed);
    gauge!(Metric::LedgerUnsealed.name()).set(unsealed as f64);
}

/// So many deliveries of a way, `out` or `back`, are open.
pub fn deliveries_due(way: &'static str, count: u64) {
    gauge!(Metric::DeliveriesDue.name(), "way" => way).set(count as f64);
}

/// So many connections wait for a person.
pub fn connections_needing_person(count: u64) {
    gauge!(Metric::ConnectionsNeedingPerson.name()).set(count as f64);
}

/// The vendor's clock minus ours.
pub fn clock_offset(connector: &'static str, offset: Millis) {
    gauge!(Metric::ClockOffsetSeconds.name(), "connector" => connector).set(offset as f64 / 1_000.0);
}

/// Sizes on disk: the write-ahead log, and the space that is left.
pub fn disk(wal_bytes: u64, free_bytes: u64) {
    gauge!(Metric::WalBytes.name()).set(wal_bytes as f64);
    gauge!(Metric::FreeDiskBytes.name()).set(free_bytes as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(count: impl FnOnce()) -> String {
        let recorder = recorder().expect("a recorder");
        metrics::with_local_recorder(&recorder, || {
            describe();
            count();
        });
        recorder.handle().render()
    }

    // Breaks when a dashboard or an alert looks for a name, a label or a unit that is not there.
    #[test]
    fn the_page_says_what_happened() {
        let page = page(|| {
            vendor_request("hubspot", "ok");
            vendor_request("hubspot", "ok");
            vendor_wait("hubspot");
            token_refresh("salesforce", "passing");
            webhook("hubspot", "dropped");
            hints("hubspot", "poll", 40);
            change("hubspot", ChangeOutcome::NoConsent);
            delivery("salesforce", "out", "written");
            delivered_after("salesforce", 1_500);
            share_step(ShareStatus::Delivered);
            ledger(7, 2);
            deliveries_due("back", 9);
            connections_needing_person(1);
            clock_offset("tryton", -250);
            disk(4096, 1 << 30);
        });
        for line in [
            r#"leadshare_vendor_requests_total{connector="hubspot",result="ok"} 2"#,
            r#"leadshare_vendor_waits_total{connector="hubspot"} 1"#,
            r#"leadshare_token_refreshes_total{connector="salesforce",result="passing"} 1"#,
            r#"leadshare_webhooks_total{connector="hubspot",result="dropped"} 1"#,
            r#"leadshare_hints_total{connector="hubspot",by="poll"} 40"#,
            r#"leadshare_changes_total{connector="hubspot",outcome="no_consent"} 1"#,
            r#"leadshare_deliveries_total{connector="salesforce",way="out",result="written"} 1"#,
            r#"leadshare_delivery_seconds_bucket{connector="salesforce",le="1"} 0"#,
            r#"leadshare_delivery_seconds_bucket{connector="salesforce",le="2.5"} 1"#,
            r#"leadshare_share_steps_total{status="delivered"} 1"#,
            "leadshare_ledger_sealed_total 7",
            "leadshare_ledger_unsealed_entries 2",
            r#"leadshare_deliveries_due{way="back"} 9"#,
            "leadshare_connections_needing_person 1",
            r#"leadshare_clock_offset_seconds{connector="tryton"} -0.25"#,
            "leadshare_wal_bytes 4096",
            "leadshare_free_disk_bytes 1073741824",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in:\n{page}");
        }
        for metric in Metric::ALL {
            assert!(page.contains(&format!("# HELP {} ", metric.name())), "{metric:?} is not explained in:\n{page}");
        }
    }

    // Breaks when a name does not tell its unit, so that a chart shows the wrong thing.
    #[test]
    fn names_tell_their_kind() {
        for metric in Metric::ALL {
            let (name, kind, _) = metric.facts();
            assert!(name.starts_with("leadshare_"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            assert!(kind != Kind::Seconds || name.ends_with("_seconds"), "{name}");
        }
    }
}
