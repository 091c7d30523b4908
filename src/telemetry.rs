//! Log lines: JSON for a service, text for people, and never more than was asked for.

use std::io::IsTerminal as _;

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::{EnvFilter, Registry, fmt};

use crate::config::{Log, LogFormat};
use crate::errors::{Error, Result};

/// Starts logging to standard error for the whole process; once. From then on a panic is a log line
/// too, with its place and without its message: that could hold what must not be logged.
///
/// # Errors
/// [`Error::BadRequest`] for a filter that cannot be read, [`Error::System`] when logging has started already.
pub fn init(log: &Log) -> Result<()> {
    let json = match log.format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let subscriber = subscriber(log, json, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|e| Error::System(format!("logging: {e}")))?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panicked");
    }));
    Ok(())
}

fn subscriber<W>(log: &Log, json: bool, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let asked = EnvFilter::try_new(&log.filter).map_err(|e| Error::BadRequest(format!("log.filter: {e}")))?;
    // Below `info`, libraries write headers and bodies: tokens and people's data.
    let ours_or_harmless = filter_fn(|event| event.target().starts_with("leadshare") || *event.level() <= Level::INFO);
    let filter = asked.and(ours_or_harmless);
    Ok(if json {
        let lines = fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(writer);
        Box::new(Registry::default().with(lines.with_filter(filter)))
    } else {
        let lines = fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(writer);
        Box::new(Registry::default().with(lines.with_filter(filter)))
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, json: bool, events: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = Log { filter: filter.to_owned(), ..Log::default() };
        let subscriber = subscriber(&log, json, move || writer.clone()).expect("a subscriber");
        tracing::subscriber::with_default(subscriber, events);
        let bytes = lines.0.lock().expect("lock").clone();
        String::from_utf8(bytes).expect("text")
    }

    // Breaks when a log collector cannot read the lines, or fields end up nested where nobody looks.
    #[test]
    fn a_service_logs_json() {
        let text =
            logged("info", true, || tracing::info!(target: "leadshare::x", connection = "northwind", took_ms = 3, "asked the vendor"));
        let line: serde_json::Value = serde_json::from_str(text.trim()).expect("one JSON object");
        assert_eq!(line["message"], "asked the vendor");
        assert_eq!(line["connection"], "northwind");
        assert_eq!(line["took_ms"], 3);
        assert_eq!(line["level"], "INFO");
    }

    // Breaks when asking for more detail makes libraries write out tokens.
    #[test]
    fn libraries_never_log_below_info() {
        let text = logged("trace", false, || {
            tracing::trace!(target: "h2::codec", "authorization: Bearer abc");
            tracing::debug!(target: "hyper", "Bearer abc");
            tracing::debug!(target: "leadshare::http", "ours");
            tracing::warn!(target: "sqlx", "slow");
        });
        assert!(!text.contains("abc") && text.contains("ours") && text.contains("slow"), "{text}");
    }

    // Breaks when the filter in the configuration is not obeyed.
    #[test]
    fn the_filter_is_obeyed() {
        let events = || {
            tracing::debug!(target: "leadshare::http", "wanted");
            tracing::debug!(target: "leadshare::store", "unwanted");
        };
        let text = logged("warn,leadshare::http=debug", false, events);
        assert!(text.contains("wanted") && !text.contains("unwanted"), "{text}");
    }
}
